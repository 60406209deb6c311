"""The book of procedures: every version of every one, in one SQLite file."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Database, open_database
from reverie.knowledge.sops.file import packaged_sops
from reverie.knowledge.sops.records import Added, StoredSop
from reverie.knowledge.sops.schema import SOP_SCHEMA
from reverie.knowledge.sops.sop import Sop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

PACKAGED: Final = "packaged"
"""The source of what comes with Reverie."""

_COLUMNS: Final = "v.name, v.version, v.number, v.document, v.source, v.added, s.current"


class SopBook:
    """Get one with ``SopBook.open``; ``close`` it. Several processes may use one file.

    Every method may raise ``KnowledgeUnavailable``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> SopBook:
        """Opens or creates the book, with the packaged procedures in it. A packaged one that was
        removed stays so, and one that was replaced by a version of the user's own stays replaced.
        """
        return await asyncio.to_thread(cls._open, path)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told, such as a damaged file set aside."""
        return self._database.notices

    async def add(self, sops: Iterable[Sop], source: str) -> list[Added]:
        """Stores procedures, all or none, and makes them current. Other content under a known name
        is a new version; the old ones stay.
        """
        return await self.add_all([(sop, source) for sop in sops])

    async def add_all(self, sops: Sequence[tuple[Sop, str]]) -> list[Added]:
        """As ``add``, each with the source that it is from."""
        return await self._write(lambda c: [_add(c, sop, source) for sop, source in sops])

    async def remove(self, name: str) -> StoredSop:
        """Takes a procedure out of use; its versions, and what is known of them, stay. Raises
        ConfigError for an unknown one.
        """

        def remove(connection: sqlite3.Connection) -> StoredSop:
            stored = _require(connection, name)
            connection.execute("UPDATE sops SET removed = 1 WHERE name = ?", (name,))
            return stored

        return await self._write(remove)

    async def get(self, name: str) -> StoredSop:
        """The current version of ``name``, or the one that ``NAME@VERSION`` names, by number or
        the beginning of its content's hash, removed or not. Raises ConfigError that names the
        nearest known one.
        """
        return await self._read(lambda c: _require(c, name))

    async def versions(self, name: str) -> list[StoredSop]:
        """Every version of ``name``, oldest first; none for an unknown one."""
        query = (
            f"SELECT {_COLUMNS} FROM versions v JOIN sops s ON s.name = v.name "  # noqa: S608  # no value in it
            "WHERE v.name = ? ORDER BY v.number"
        )
        return await self._read(lambda c: _stored(c.execute(query, (name,))))

    async def current(self) -> list[StoredSop]:
        """The procedures in use, by name."""
        return await self._read(_current)

    async def removed(self) -> list[str]:
        """The names of the procedures that were taken out of use."""
        query = "SELECT name FROM sops WHERE removed ORDER BY name"
        return await self._read(lambda c: [name for (name,) in c.execute(query)])

    async def vectors(self, embedder: str) -> dict[str, NDArray[np.float32]]:
        """The vectors [D] of ``embedder`` that are stored, by the procedure's key."""
        return await self._read(lambda c: _vectors(c, embedder))

    async def keep_vectors(self, embedder: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Stores vectors [D] of length one, by the procedure's key."""
        rows = [
            (*key.split("@"), embedder, vector.astype("<f4").tobytes())
            for key, vector in vectors.items()
        ]

        def keep(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

        await self._write(keep)

    async def close(self) -> None:
        """Closes the file; a second call does nothing."""
        await asyncio.to_thread(self._database.close)

    # -- inside ------------------------------------------------------------------------------------

    @classmethod
    def _open(cls, path: Path) -> SopBook:
        database = open_database(path, SOP_SCHEMA)
        try:
            _put_in_packaged(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    async def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            with self._database.reading() as connection:
                return ask(connection)

        return await asyncio.to_thread(read)

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def write() -> T:
            with self._database.writing() as connection:
                return change(connection)

        return await asyncio.to_thread(write)


def _add(connection: sqlite3.Connection, sop: Sop, source: str) -> Added:
    known = connection.execute(
        "SELECT current, removed FROM sops WHERE name = ?", (sop.name,)
    ).fetchone()
    version = sop.version
    if known is None:
        connection.execute("INSERT INTO sops (name, current) VALUES (?, ?)", (sop.name, version))
    stored = _insert(connection, sop, source)
    connection.execute(
        "UPDATE sops SET current = ?, removed = 0 WHERE name = ?", (version, sop.name)
    )
    now = _one(connection, sop.name, version)
    if known is None:
        return Added(now, "new")
    if stored:
        return Added(now, "version")
    return Added(now, "same" if tuple(known) == (version, 0) else "again")


def _insert(connection: sqlite3.Connection, sop: Sop, source: str) -> bool:
    """Stores a version; says whether it was not there."""
    done = connection.execute(
        "INSERT OR IGNORE INTO versions (name, version, number, document, source, added) "
        "SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4, ?5 FROM versions WHERE name = ?1",
        (
            sop.name,
            sop.version,
            json.dumps(sop.document(), ensure_ascii=False),
            source,
            time.time(),
        ),
    )
    return done.rowcount > 0


def _put_in_packaged(database: Database) -> None:
    content = _packaged_content()
    with database.reading() as connection:
        if connection.execute("SELECT 1 FROM packaged WHERE content = ?", (content,)).fetchone():
            return
    sops = packaged_sops()
    with database.writing() as connection:
        for sop in sops:
            row = connection.execute(
                "SELECT s.removed, v.source FROM sops s JOIN versions v "
                "ON v.name = s.name AND v.version = s.current WHERE s.name = ?",
                (sop.name,),
            ).fetchone()
            if row is None:
                _add(connection, sop, PACKAGED)
            else:
                _insert(connection, sop, PACKAGED)
                if row[1] == PACKAGED:  # else the user's own stays in use
                    connection.execute(
                        "UPDATE sops SET current = ? WHERE name = ?", (sop.version, sop.name)
                    )
        connection.execute("INSERT OR IGNORE INTO packaged VALUES (?)", (content,))


def _packaged_content() -> str:
    folder = files("reverie.knowledge.sops").joinpath("packaged")
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _current(connection: sqlite3.Connection) -> list[StoredSop]:
    return _stored(
        connection.execute(
            f"SELECT {_COLUMNS} FROM sops s JOIN versions v "  # noqa: S608  # no value in it
            "ON v.name = s.name AND v.version = s.current WHERE NOT s.removed ORDER BY v.name"
        )
    )


def _one(connection: sqlite3.Connection, name: str, version: str) -> StoredSop:
    (stored,) = _stored(
        connection.execute(
            f"SELECT {_COLUMNS} FROM versions v JOIN sops s ON s.name = v.name "  # noqa: S608  # no value in it
            "WHERE v.name = ? AND v.version = ?",
            (name, version),
        )
    )
    return stored


def _require(connection: sqlite3.Connection, given: str) -> StoredSop:
    name, _, wanted = given.partition("@")
    row = connection.execute("SELECT current, removed FROM sops WHERE name = ?", (name,)).fetchone()
    if row is None or (row[1] and not wanted):
        names = [
            n
            for (n,) in connection.execute("SELECT name FROM sops WHERE NOT removed ORDER BY name")
        ]
        near = get_close_matches(name, names, n=1)
        gone = " any more: it was removed" if row is not None else ""
        raise ConfigError(
            f"there is no SOP called {name!r}{gone}",
            hint=(f"did you mean {near[0]}? " if near else "")
            + "`reverie sop list` shows what there is",
        )
    if not wanted:
        return _one(connection, name, row[0])
    versions = connection.execute(
        "SELECT version, number FROM versions WHERE name = ? ORDER BY number", (name,)
    ).fetchall()
    fitting = [v for v, n in versions if wanted == str(n)] or [
        v for v, _ in versions if v.startswith(wanted)
    ]
    if len(fitting) != 1:
        raise ConfigError(
            f"{name} has no version {wanted!r}",
            hint=f"it has {', '.join(f'{n} ({v})' for v, n in versions)}",
        )
    return _one(connection, name, fitting[0])


def _stored(rows: Iterable[tuple[str, str, int, str, str, float, str]]) -> list[StoredSop]:
    found = []
    for name, version, number, document, source, added, current in rows:
        try:
            sop = Sop.model_validate_json(document)
        except ValidationError as error:
            raise KnowledgeUnavailable(
                f"the SOP {name}, version {number}, was written by another Reverie and cannot be "
                f"read by this one: {error.error_count()} of its fields are wrong",
                hint=f"remove it (`reverie sop remove {name}`) and add it again from its file",
            ) from error
        found.append(StoredSop(sop, number, source, added, current=version == current))
    return found


def _vectors(connection: sqlite3.Connection, embedder: str) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    rows = connection.execute(
        "SELECT name, version, vector FROM vectors WHERE embedder = ?", (embedder,)
    )
    return {
        f"{name}@{version}": np.frombuffer(blob, dtype="<f4").astype(np.float32)
        for name, version, blob in rows
    }
