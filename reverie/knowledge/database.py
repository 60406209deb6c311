"""SQLite files as Reverie opens them: WAL, migrated, and set aside when they are damaged.

One ``Database`` is one connection behind one lock, so it may be used from any thread
(``asyncio.to_thread`` picks another each time). Several processes may open the same file at once.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from reverie.errors import KnowledgeUnavailable

_BUSY_SECONDS = 30.0
"""How long a writer waits for another process's transaction before it gives up."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds. Version n of it is what the first n ``migrations`` make, in order.

    ``application_id`` marks the file as this kind of store (SQLite's header field, 32 bits), so
    that a file of another kind is refused instead of filled with our tables.
    """

    kind: str
    application_id: int
    migrations: Sequence[str]


class Database:
    """An open SQLite file. Get one with ``open_database``; ``close`` it."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        notices: list[str],
        *,
        writable: bool = True,
    ) -> None:
        self.path = path
        self.writable = writable
        self.notices = notices
        """What the user should be told about opening it, such as a damaged file set aside."""
        self._connection = connection
        self._lock = threading.RLock()
        self._writes = 0
        self._closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view for several queries. Raises ``KnowledgeUnavailable``."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is stored, or, when the body raises, nothing.

        Takes the write lock first, so what the body reads cannot change under it. Raises
        ``KnowledgeUnavailable``.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            self._writes += 1
            yield connection

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """The connection outside of any transaction, for what SQLite runs only there (VACUUM).
        Raises ``KnowledgeUnavailable``.
        """
        with self._lock:
            if self._closed:
                raise KnowledgeUnavailable(f"{self.path} is closed", hint="Open the store again")
            with translated(self.path):
                self._writes += 1
                yield self._connection

    def revision(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Changes whenever the file was written, by this connection or by any other one."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        return int(version), self._writes

    def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise KnowledgeUnavailable(f"{self.path} is closed", hint="Open the store again")
            with translated(self.path):
                self._connection.execute(begin)
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    # Some errors (disk full) have rolled back already.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise


def open_database(path: Path, schema: Schema) -> Database:
    """Opens ``path``, creating or migrating it. Blocks; safe with other processes doing the same.

    A damaged file is renamed to ``NAME.damaged-TIMESTAMP`` and a fresh one begun; ``notices`` says
    so. Raises ``KnowledgeUnavailable``: written by a newer Reverie, holds something else, or the
    folder cannot be written or is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time opens, so that two cannot both migrate, or set aside each other's
        # fresh file. The lock file stays: removing it would split the lock.
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_BUSY_SECONDS):
            return _open_locked(path, schema)
    except Timeout as error:
        raise KnowledgeUnavailable(
            f"{path} is being opened by another process for more than {_BUSY_SECONDS:.0f} s",
            hint="End that process, or set REVERIE_HOME to another folder",
        ) from error
    except OSError as error:
        raise _unusable_folder(path, error.strerror or str(error)) from error


def open_foreign(path: Path, kind: str) -> tuple[sqlite3.Connection, list[str]]:
    """Opens a file whose tables are another library's: in WAL mode, usable from any thread. Blocks.

    A damaged one is set aside as by ``open_database``; the second value says so. Raises
    ``KnowledgeUnavailable``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=_BUSY_SECONDS)
        with lock, translated(path):
            return _open_or_set_aside(path, kind)
    except Timeout as error:
        raise KnowledgeUnavailable(
            f"{path} is being opened by another process for more than {_BUSY_SECONDS:.0f} s",
            hint="End that process, or set REVERIE_HOME to another folder",
        ) from error
    except OSError as error:
        raise _unusable_folder(path, error.strerror or str(error)) from error


def storable(text: str) -> str:
    """``text`` without lone surrogates, which SQLite cannot store (models do emit them)."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _open_locked(path: Path, schema: Schema) -> Database:
    with translated(path):
        connection, notices = _open_or_set_aside(path, schema.kind)
        try:
            _migrate(connection, path, schema)
        except BaseException:
            connection.close()
            raise
    return Database(path, connection, notices)


def _open_or_set_aside(path: Path, kind: str) -> tuple[sqlite3.Connection, list[str]]:
    """A connection to a sound file, and what the user should be told if it had to be begun anew."""
    try:
        return _connect_checked(path), []
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        aside = _set_aside(path)
        notice = (
            f"{path} was damaged ({error}). It is kept as {aside.name}; a new, empty "
            f"{kind} was begun in its place."
        )
        return _connect_checked(path), [notice]


def _connect_checked(path: Path) -> sqlite3.Connection:
    """A connection to a file that SQLite finds no fault in. Raises ``sqlite3.DatabaseError``."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        # Reads the whole file, at every start: 45 ms for 100 MB (50,000 facts with vectors).
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _Damaged(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


class _Damaged(sqlite3.DatabaseError):
    """What ``quick_check`` found."""


def _migrate(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Brings the file to the newest version, in one transaction."""
    known = len(schema.migrations)
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != schema.application_id and (tables or version or application):
            raise KnowledgeUnavailable(
                f"{path} is a SQLite file, but no Reverie {schema.kind}",
                hint="Move it away, or set REVERIE_HOME to another folder",
            )
        if version > known:
            raise KnowledgeUnavailable(
                f"{path} was written by a newer Reverie (its schema is version {version}, this "
                f"one knows versions up to {known})",
                hint="Use the Reverie that wrote it (upgrade this one), or set REVERIE_HOME to "
                "another folder",
            )
        for script in schema.migrations[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        if version < known:
            connection.execute(f"PRAGMA application_id = {schema.application_id:d}")
            connection.execute(f"PRAGMA user_version = {known:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; ``executescript`` would commit the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"unfinished SQL: {statement.strip()}")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # Bytes that are no text, which quick_check does not look at; the sqlite3 module found them.
    if isinstance(error, _Damaged) or "Could not decode to UTF-8" in str(error):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(path: Path) -> Path:
    """Renames the file and what belongs to it; its write-ahead log may hold rows worth saving."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(f"{aside}{suffix}")
    path.replace(aside)
    return aside


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ``KnowledgeUnavailable`` with what to do; our own mistakes as they are."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if _is_damage(error):
            raise KnowledgeUnavailable(
                f"{path} is damaged ({error})",
                hint="Start again: the file is then set aside and a new one begun",
            ) from error
        if code == sqlite3.SQLITE_BUSY:
            raise KnowledgeUnavailable(
                f"{path} is locked by another process for more than {_BUSY_SECONDS:.0f} s",
                hint="End that process, or set REVERIE_HOME to another folder",
            ) from error
        reasons = (
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_PERM,
        )
        if code in reasons:
            raise _unusable_folder(path, str(error)) from error
        raise


def _unusable_folder(path: Path, reason: str) -> KnowledgeUnavailable:
    return KnowledgeUnavailable(
        f"{path.name} cannot be kept in {path.parent}: {reason}",
        hint="Make that folder writable or free some space, or set REVERIE_HOME to another folder",
    )
