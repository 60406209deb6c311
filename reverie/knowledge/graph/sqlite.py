"""The embedded graph store: SQLite for the graph, brute-force numpy for the vectors.

Exact search over 50,000 vectors of 384 numbers takes 2 ms, so there is no index to keep in step.
The matrix is cached and brought up to date when this or another process has written.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Database, Schema, open_database, storable
from reverie.knowledge.graph.records import Status
from reverie.knowledge.graph.store import Match
from reverie.knowledge.graph.triplet import Triplet
from reverie.knowledge.graph.vectors import VectorCache, checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GRAPH_SCHEMA: Final = Schema(
    kind="graph store",
    application_id=0x52564752,  # "RVGR"
    migrations=(
        """
        CREATE TABLE nodes (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,  -- normalised, see node_name
            label TEXT NOT NULL,        -- as first written
            kind TEXT NOT NULL CHECK (kind IN ('entity', 'outcome'))
        );
        -- AUTOINCREMENT: ids only grow, so "what is new" is "ids above the largest seen".
        CREATE TABLE edges (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            what_id INTEGER NOT NULL REFERENCES nodes (id),
            result_id INTEGER NOT NULL REFERENCES nodes (id),
            what TEXT NOT NULL,
            action TEXT NOT NULL,
            result TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('fact', 'hypothesis')),
            source TEXT NOT NULL,
            run TEXT NOT NULL,
            branch INTEGER,
            expert TEXT NOT NULL,
            model TEXT NOT NULL,
            confidence REAL,
            created REAL NOT NULL,      -- seconds since 1970, as the two below
            valid_from REAL NOT NULL,
            valid_to REAL               -- NULL: valid
        );
        -- Over valid edges only: what was invalidated and is stated again is a new edge, and the
        -- old one stays as history.
        CREATE UNIQUE INDEX edges_identity
            ON edges (what_id, result_id, action, status, source, run) WHERE valid_to IS NULL;
        CREATE INDEX edges_result ON edges (result_id);
        CREATE INDEX edges_source ON edges (source);
        CREATE TABLE vectors (
            edge_id INTEGER PRIMARY KEY REFERENCES edges (id),
            vector BLOB NOT NULL        -- float32, little-endian, length one
        );
        CREATE TABLE embedder (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            name TEXT NOT NULL,
            dimension INTEGER NOT NULL
        );
        CREATE TABLE sources (
            name TEXT PRIMARY KEY,
            version TEXT NOT NULL,
            loaded REAL NOT NULL
        );
        """,
    ),
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    id: str
    triplet: Triplet
    hops: int


class SqliteGraph:
    """``GraphStore`` in one SQLite file. Get one with ``SqliteGraph.open``; ``close`` it."""

    def __init__(self, database: Database, embedder: str, dimension: int) -> None:
        self._database = database
        self._embedder = embedder
        self._dimension = dimension
        self._cache = VectorCache(dimension)

    @classmethod
    async def open(cls, path: Path, *, embedder: str, dimension: int) -> SqliteGraph:
        """Opens or creates the store for vectors of ``embedder``, ``dimension`` numbers each.

        Raises ``KnowledgeUnavailable``, also when the file holds another embedder's vectors.
        """
        return await asyncio.to_thread(cls._open, path, embedder, dimension)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        return tuple(self._database.notices)

    async def upsert(self, triplets: Sequence[Triplet], vectors: NDArray[np.float32]) -> list[str]:
        """See ``GraphStore.upsert``."""
        return await asyncio.to_thread(self._upsert, triplets, vectors)

    async def similar(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 3,
        minimum: float = 0.5,
        statuses: Sequence[Status] = ("fact",),
    ) -> list[Match]:
        """See ``GraphStore.similar``."""
        return await asyncio.to_thread(self._similar, vector, limit, minimum, statuses)

    async def expand(
        self,
        ids: Sequence[str],
        *,
        hops: int = 1,
        limit: int = 32,
        statuses: Sequence[Status] = ("fact",),
    ) -> list[Neighbour]:
        """See ``GraphStore.expand``."""
        return await asyncio.to_thread(self._expand, ids, hops, limit, statuses)

    async def count(self, *, status: Status | None = None) -> int:
        """See ``GraphStore.count``."""
        return await asyncio.to_thread(self._count, status)

    async def invalidate(self, ids: Sequence[str]) -> int:
        """See ``GraphStore.invalidate``."""
        return await asyncio.to_thread(self._invalidate, ids)

    async def source_version(self, source: str) -> str | None:
        """See ``GraphStore.source_version``."""
        return await asyncio.to_thread(self._source_version, source)

    async def replace_source(
        self,
        source: str,
        version: str,
        triplets: Sequence[Triplet],
        vectors: NDArray[np.float32],
    ) -> bool:
        """See ``GraphStore.replace_source``."""
        return await asyncio.to_thread(self._replace_source, source, version, triplets, vectors)

    async def close(self) -> None:
        """See ``GraphStore.close``."""
        await asyncio.to_thread(self._database.close)

    @classmethod
    def _open(cls, path: Path, embedder: str, dimension: int) -> SqliteGraph:
        database = open_database(path, GRAPH_SCHEMA)
        store = cls(database, embedder, dimension)
        try:
            with database.reading() as connection:
                store._same_embedder(connection)
        except BaseException:
            database.close()
            raise
        return store

    def _upsert(self, triplets: Sequence[Triplet], vectors: NDArray[np.float32]) -> list[str]:
        rows = self._rows(triplets, vectors)
        if not rows:
            return []
        with self._database.writing() as connection:
            return [str(edge) for edge in self._write(connection, rows)]

    def _replace_source(
        self,
        source: str,
        version: str,
        triplets: Sequence[Triplet],
        vectors: NDArray[np.float32],
    ) -> bool:
        if any(t.source != source or t.status != "fact" for t in triplets):
            raise ConfigError(f"Only facts whose source is {source!r} can replace that source")
        rows = self._rows(triplets, vectors)
        with self._database.writing() as connection:
            if self._version(connection, source) == version:
                return False
            kept = set(self._write(connection, rows))
            valid = connection.execute(
                "SELECT id FROM edges WHERE source = ? AND status = 'fact' AND valid_to IS NULL",
                (source,),
            )
            self._end(connection, [edge for (edge,) in valid if edge not in kept])
            connection.execute(
                "INSERT INTO sources (name, version, loaded) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET version = excluded.version, "
                "loaded = excluded.loaded",
                (source, version, time.time()),
            )
        return True

    def _rows(
        self, triplets: Sequence[Triplet], vectors: NDArray[np.float32]
    ) -> list[tuple[Triplet, bytes]]:
        unit = checked(vectors, (len(triplets), self._dimension))
        triplets = [_storable(t) for t in triplets]
        for triplet in triplets:
            if not all(map(node_name, (triplet.what, triplet.action, triplet.result))):
                raise ConfigError(
                    f"A triplet has an empty field: {triplet.what!r}, {triplet.action!r}, "
                    f"{triplet.result!r}",
                    hint="what, action and result each need at least one word",
                )
        return [(t, row.tobytes()) for t, row in zip(triplets, unit, strict=True)]

    def _write(
        self, connection: sqlite3.Connection, rows: Sequence[tuple[Triplet, bytes]]
    ) -> list[int]:
        """Inserts what is new and returns every row's edge id. Runs inside a transaction."""
        connection.execute(
            "INSERT OR IGNORE INTO embedder (only, name, dimension) VALUES (1, ?, ?)",
            (self._embedder, self._dimension),
        )
        self._same_embedder(connection)
        names = [(t.what, "entity") for t, _ in rows] + [(t.result, "outcome") for t, _ in rows]
        connection.executemany(
            "INSERT OR IGNORE INTO nodes (name, label, kind) VALUES (?, ?, ?)",
            [(node_name(text), text, kind) for text, kind in names],
        )
        now = time.time()
        connection.executemany(
            "INSERT INTO edges (what_id, result_id, what, action, result, status, source, run, "
            "branch, expert, model, confidence, created, valid_from) "
            "SELECT w.id, r.id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM nodes w, nodes r "
            "WHERE w.name = ? AND r.name = ? "
            "ON CONFLICT (what_id, result_id, action, status, source, run) "
            "WHERE valid_to IS NULL "
            "DO UPDATE SET confidence = coalesce(excluded.confidence, confidence)",
            [
                (
                    *(t.what, t.action, t.result, t.status, t.source, t.run),
                    *(t.branch, t.expert, t.model, t.confidence, now, now),
                    *(node_name(t.what), node_name(t.result)),
                )
                for t, _ in rows
            ],
        )
        edges = [_edge_id(connection, t) for t, _ in rows]
        connection.executemany(
            "INSERT OR IGNORE INTO vectors (edge_id, vector) VALUES (?, ?)",
            [(edge, vector) for edge, (_, vector) in zip(edges, rows, strict=True)],
        )
        return edges

    def _same_embedder(self, connection: sqlite3.Connection) -> None:
        stored = connection.execute("SELECT name, dimension FROM embedder").fetchone()
        if stored is not None and stored != (self._embedder, self._dimension):
            raise KnowledgeUnavailable(
                f"{self._database.path} holds vectors of the embedder {stored[0]} "
                f"({stored[1]} numbers), not of {self._embedder} ({self._dimension})",
                hint="Vectors of two embedders cannot be compared: use the first one again "
                "(embedder.name), or move the file away so that its facts are embedded anew",
            )

    def _similar(
        self,
        vector: NDArray[np.float32],
        limit: int,
        minimum: float,
        statuses: Sequence[Status],
    ) -> list[Match]:
        query = checked(vector[None, :], (1, self._dimension))[0]
        with self._database.reading() as connection:
            # Another process may have begun the file with another embedder since it was opened.
            self._same_embedder(connection)
            self._cache.refresh(connection, self._database.revision(connection))
            matches: list[Match] = []
            seen: set[tuple[str, ...]] = set()
            for edge, similarity in self._cache.ranked(query, minimum, statuses):
                if len(matches) >= limit:
                    break
                triplet = _triplets(connection, [edge])[edge]
                said = tuple(map(node_name, (triplet.what, triplet.action, triplet.result)))
                if said not in seen:
                    seen.add(said)
                    matches.append(Match(str(edge), triplet, similarity))
        return matches

    def _expand(
        self, ids: Sequence[str], hops: int, limit: int, statuses: Sequence[Status]
    ) -> list[Neighbour]:
        start = _numbers(ids)
        found: dict[int, int] = {}
        with self._database.reading() as connection:
            frontier, seen = start, set(start)
            for hop in range(1, hops + 1):
                rows = connection.execute(
                    "WITH near AS (SELECT what_id, result_id FROM edges "
                    "WHERE id IN (SELECT value FROM json_each(?1))), "
                    "ends (node) AS (SELECT what_id FROM near UNION SELECT result_id FROM near) "
                    "SELECT id FROM edges WHERE valid_to IS NULL "
                    "AND status IN (SELECT value FROM json_each(?2)) "
                    "AND (what_id IN (SELECT node FROM ends) "
                    "OR result_id IN (SELECT node FROM ends))",
                    (json.dumps(frontier), json.dumps(list(statuses))),
                )
                reached = {edge for (edge,) in rows}
                frontier = sorted(reached - seen)
                seen.update(frontier)
                found.update((edge, hop) for edge in frontier)
                if not frontier or len(found) >= limit:
                    break
            chosen = list(found)[: max(limit, 0)]
            triplets = _triplets(connection, chosen)
        return [Neighbour(str(edge), triplets[edge], found[edge]) for edge in chosen]

    def _count(self, status: Status | None) -> int:
        with self._database.reading() as connection:
            (number,) = connection.execute(
                "SELECT count(*) FROM edges "
                "WHERE valid_to IS NULL AND status = coalesce(?, status)",
                (status,),
            ).fetchone()
        return int(number)

    def _invalidate(self, ids: Sequence[str]) -> int:
        with self._database.writing() as connection:
            return self._end(connection, _numbers(ids))

    def _end(self, connection: sqlite3.Connection, edges: Sequence[int]) -> int:
        now = time.time()
        return connection.executemany(
            "UPDATE edges SET valid_to = max(?, valid_from) WHERE id = ? AND valid_to IS NULL",
            [(now, edge) for edge in edges],
        ).rowcount

    def _source_version(self, source: str) -> str | None:
        with self._database.reading() as connection:
            return self._version(connection, source)

    def _version(self, connection: sqlite3.Connection, source: str) -> str | None:
        row = connection.execute("SELECT version FROM sources WHERE name = ?", (source,)).fetchone()
        return None if row is None else str(row[0])


def node_name(text: str) -> str:
    """The name under which a thing is one node: "The  Ball." and "a ball" are both "ball"."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .,;:!?")
    return re.sub(r"^(?:an?|the) (?=\S)", "", plain)


def _storable(t: Triplet) -> Triplet:
    return replace(
        t,
        what=storable(t.what),
        action=storable(t.action),
        result=storable(t.result),
        source=storable(t.source),
    )


def _edge_id(connection: sqlite3.Connection, t: Triplet) -> int:
    (edge,) = connection.execute(
        "SELECT e.id FROM edges e JOIN nodes w ON w.id = e.what_id "
        "JOIN nodes r ON r.id = e.result_id WHERE w.name = ? AND r.name = ? AND e.action = ? "
        "AND e.status = ? AND e.source = ? AND e.run = ? AND e.valid_to IS NULL",
        (node_name(t.what), node_name(t.result), t.action, t.status, t.source, t.run),
    ).fetchone()
    return int(edge)


def _triplets(connection: sqlite3.Connection, edges: Sequence[int]) -> dict[int, Triplet]:
    # A JSON array is one parameter, however many ids it holds.
    rows = connection.execute(
        "SELECT id, what, action, result, status, source, run, branch, expert, model, confidence "
        "FROM edges WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(edges)),),
    )
    return {row[0]: Triplet(*row[1:]) for row in rows}


def _numbers(ids: Iterable[str]) -> list[int]:
    """Edge ids as this store counts them; other stores' ids match nothing here."""
    return [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) < 19]
