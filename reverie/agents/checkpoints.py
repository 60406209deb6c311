"""Where runs are checkpointed: one SQLite file for all runs of a home."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from reverie.errors import KnowledgeUnavailable

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

_BUSY_SECONDS = 30.0


@asynccontextmanager
async def open_checkpointer(home: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """A checkpointer for one run: it is bound to the loop that it is opened in.

    Raises KnowledgeUnavailable when the file cannot be opened, read or written.
    """
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    path = home / "checkpoints.sqlite"
    try:
        await asyncio.to_thread(_create, path)
    except OSError as error:
        raise _unavailable(path, error) from error
    try:
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            yield saver
    except sqlite3.Error as error:
        raise _unavailable(path, error) from error


def _create(path: Path) -> None:
    """Make the tables, one process at a time: of several that switch a new file to its journal at
    once, SQLite tells all but one at once that the file is locked, whatever their patience.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    with FileLock(path.with_name(f".{path.name}.lock")):
        try:
            # Threads may share the connection, says the flag; here only this one has it.
            opened = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
            with closing(opened) as connection:
                SqliteSaver(connection).setup()
        except sqlite3.Error as error:
            raise _unavailable(path, error) from error


def _unavailable(path: Path, error: Exception) -> KnowledgeUnavailable:
    return KnowledgeUnavailable(
        f"the run cannot be recorded in {path}: {error}",
        hint="make room, or name another folder with REVERIE_HOME; move a damaged file away",
    )
