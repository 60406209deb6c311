"""Reading a store where nothing may be written: a backup, another user's home, a full disk."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.database import Database, Schema, open_database, translated

if TYPE_CHECKING:
    from pathlib import Path


def open_to_read(path: Path, schema: Schema) -> Database:
    """``open_database`` for what only reads: where the folder cannot be written, the file that is
    there is read as it stands. Blocks.

    Raises ``KnowledgeUnavailable``, also when such a file is damaged or of an older version, since
    it can neither be set aside nor migrated.
    """
    try:
        return open_database(path, schema)
    except KnowledgeUnavailable as error:
        if not isinstance(error.__cause__, OSError) or not os.access(path, os.R_OK):
            raise
        connection = _connect(path)
        if connection is None or not _is_newest(connection, path, schema):
            raise
    return Database(path, connection, [], writable=False)


def _connect(path: Path) -> sqlite3.Connection | None:
    # Whoever has the file open keeps a write-ahead log beside it, which has to be read, too.
    # Without one SQLite would make one, unless it is told that the file does not change.
    log = path.with_name(f"{path.name}-wal")
    fixed = "" if log.exists() else "&immutable=1"
    try:
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro{fixed}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.OperationalError:
        return None


def _is_newest(connection: sqlite3.Connection, path: Path, schema: Schema) -> bool:
    """Whether it is such a store, in its newest form; it is closed if not."""
    try:
        with translated(path):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (application,) = connection.execute("PRAGMA application_id").fetchone()
    except BaseException:
        connection.close()
        raise
    newest = bool(application == schema.application_id and version == len(schema.migrations))
    if not newest:
        connection.close()
    return newest
