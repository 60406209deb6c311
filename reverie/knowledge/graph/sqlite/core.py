"""The graph store in one SQLite file, without asyncio: every method blocks."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Database, open_database
from reverie.knowledge.graph.checks import checked_batch, checked_time, plain
from reverie.knowledge.graph.records import (
    FACTS,
    Batch,
    Edge,
    EdgeFilter,
    GraphSize,
    Node,
    NodeKind,
    ScoredNode,
    Status,
    Subgraph,
    thing_id,
)
from reverie.knowledge.graph.sqlite import (
    bookkeeping,
    expansion,
    lookup,
    paging,
    removal,
    searching,
    writing,
)
from reverie.knowledge.graph.sqlite.rows import (
    NODES_BY_ID,
    Names,
    edge_numbers,
    edges_by_number,
    node_of,
    nodes_by_number,
)
from reverie.knowledge.graph.sqlite.schema import GRAPH_SCHEMA
from reverie.knowledge.graph.sqlite.vectors import VectorCache
from reverie.knowledge.graph.store import Match
from reverie.knowledge.graph.triplet import triplet_of
from reverie.knowledge.graph.vectors import checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_CACHE_KIB: Final = 65_536
"""Of the file that SQLite holds in memory at most. Edges between any nodes go to any page of the
indexes: with the usual 2 MiB a million of them take twice as long to write."""


class SqliteGraphCore:
    """What ``SqliteGraph`` does, for callers without an event loop, from any thread.

    The methods are those of ``GraphStore``, and may raise what they may.
    """

    def __init__(self, path: Path, *, embedder: str, dimension: int) -> None:
        """Opens or creates the file for vectors of ``embedder``, ``dimension`` numbers each.

        Raises ``KnowledgeUnavailable``, also when the file holds another embedder's vectors.
        """
        self._embedder = embedder
        self._dimension = dimension
        self._names = Names()
        self._edge_vectors = VectorCache(dimension, "edge_vectors")
        self._node_vectors = VectorCache(dimension, "node_vectors")
        self._database: Database = open_database(path, GRAPH_SCHEMA)
        try:
            with self._reading() as connection:
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self._same_embedder(connection)
        except BaseException:
            self._database.close()
            raise

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        return tuple(self._database.notices)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, batch: Batch) -> list[str]:
        """See ``GraphStore.write``."""
        clean = checked_batch(batch, self._dimension)
        with self._writing(clean) as connection:
            return [str(number) for number in writing.write(connection, clean)]

    def replace_source(self, source: str, version: str, batch: Batch) -> bool:
        """See ``GraphStore.replace_source``."""
        source = _named(source)
        clean = checked_batch(batch, self._dimension)
        strange = [edge.source for edge in clean.edges if edge.source != source]
        strange += [node.source for node in clean.nodes if node.source not in ("", source)]
        if strange:
            raise ConfigError(
                f"Only what {source!r} says can replace that source, not what {strange[0]!r} says"
            )
        with self._writing(clean) as connection:
            return removal.replace_source(connection, source, plain(version), clean)

    def source_version(self, source: str) -> str | None:
        """See ``GraphStore.source_version``."""
        with self._reading() as connection:
            return bookkeeping.version_of(connection, plain(source))

    def delete_source(self, source: str) -> int:
        """See ``GraphStore.delete_source``."""
        source = _named(source)
        with self._database.writing() as connection:
            return removal.delete_source(connection, source)

    def invalidate(self, ids: Sequence[str], *, at: float | None = None) -> int:
        """See ``GraphStore.invalidate``."""
        when = None if at is None else checked_time(at)
        with self._database.writing() as connection:
            return removal.end_edges(
                connection, edge_numbers(ids), time.time() if when is None else when
            )

    def confirm(self, ids: Sequence[str]) -> int:
        """See ``GraphStore.confirm``."""
        with self._database.writing() as connection:
            return removal.confirm(connection, edge_numbers(ids))

    def add_aliases(self, aliases: Mapping[str, str]) -> None:
        """See ``GraphStore.add_aliases``."""
        self.write(Batch(aliases=aliases))

    # -- reading ---------------------------------------------------------------------------------

    def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        """See ``GraphStore.nodes``. In the order asked for."""
        wanted = {plain(identity): None for identity in ids}
        with self._reading() as connection:
            rows = connection.execute(NODES_BY_ID, (json.dumps(list(wanted)),))
            found = {row[1]: node_of(row) for row in rows}
        return {identity: found[identity] for identity in wanted if identity in found}

    def edges(
        self,
        *,
        run: str | None = None,
        source: str | None = None,
        relations: Sequence[str] = (),
        statuses: Sequence[Status] = ("fact", "hypothesis"),
        ended: bool = False,
        limit: int = 1000,
    ) -> list[Edge]:
        """See ``GraphStore.edges``."""
        with self._reading() as connection:
            return lookup.edges(
                connection,
                run=None if run is None else plain(run),
                source=None if source is None else plain(source),
                relations=relations,
                statuses=statuses,
                ended=ended,
                limit=limit,
            )

    def resolve(self, names: Sequence[str]) -> dict[str, str]:
        """See ``GraphStore.resolve``."""
        with self._reading() as connection:
            return lookup.resolve(connection, names)

    def similar(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 3,
        minimum: float = 0.5,
        statuses: Sequence[Status] = ("fact",),
    ) -> list[Match]:
        """See ``GraphStore.similar``."""
        query = self._query(vector)
        matches: list[Match] = []
        seen: set[tuple[str, ...]] = set()
        with self._reading(self._edge_vectors) as connection:
            for number, similarity in self._edge_vectors.edges(query, minimum, statuses):
                if len(matches) >= limit:
                    break
                edge = edges_by_number(connection, [number])[number]
                said = (edge.start, thing_id(edge.text), edge.end)
                if said not in seen:
                    seen.add(said)
                    matches.append(Match(edge.id, triplet_of(edge), similarity))
        return matches

    def similar_nodes(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 10,
        minimum: float = 0.0,
        kinds: Sequence[NodeKind] = (),
    ) -> list[ScoredNode]:
        """See ``GraphStore.similar_nodes``."""
        query = self._query(vector)
        with self._reading(self._node_vectors) as connection:
            ranked = self._node_vectors.nodes(query, minimum, kinds)
            best = [found for found, _ in zip(ranked, range(limit), strict=False)]
            nodes = nodes_by_number(connection, [number for number, _ in best], self._names)
        return [ScoredNode(nodes[number], similarity) for number, similarity in best]

    def find(
        self, text: str, *, limit: int = 10, kinds: Sequence[NodeKind] = ()
    ) -> list[ScoredNode]:
        """See ``GraphStore.find``."""
        with self._reading() as connection:
            return searching.find(
                connection, plain(text), limit=limit, kinds=kinds, names=self._names
            )

    def neighbourhood(
        self, ids: Sequence[str], *, hops: int = 1, along: EdgeFilter = FACTS, limit: int = 256
    ) -> Subgraph:
        """See ``GraphStore.neighbourhood``."""
        with self._reading() as connection:
            return expansion.neighbourhood(
                connection,
                list(map(plain, ids)),
                hops=hops,
                along=along,
                limit=limit,
                names=self._names,
            )

    def reach(
        self, ids: Sequence[str], *, hops: int = 1, along: EdgeFilter = FACTS, limit: int = 256
    ) -> dict[str, int]:
        """The ids of the nodes of ``neighbourhood`` and how far they are, nearest first: a fraction
        of the time, as no records are read.
        """
        with self._reading() as connection:
            return expansion.reached_ids(
                connection, list(map(plain, ids)), hops=hops, along=along, limit=limit
            )

    def shortest_path(
        self, start: str, end: str, *, most_hops: int = 6, along: EdgeFilter = FACTS
    ) -> Subgraph | None:
        """See ``GraphStore.shortest_path``."""
        with self._reading() as connection:
            return expansion.shortest_path(
                connection,
                plain(start),
                plain(end),
                most_hops=most_hops,
                along=along,
                names=self._names,
            )

    def walk(
        self,
        seeds: Mapping[str, float],
        *,
        limit: int = 20,
        kinds: Sequence[NodeKind] = (),
        along: EdgeFilter = FACTS,
        restart: float = 0.5,
        hops: int = 3,
        most_nodes: int = 5000,
    ) -> list[ScoredNode]:
        """See ``GraphStore.walk``."""
        with self._reading() as connection:
            return searching.walk(
                connection,
                _plain_keys(seeds),
                limit=limit,
                kinds=kinds,
                along=along,
                restart=restart,
                hops=hops,
                most_nodes=most_nodes,
                names=self._names,
            )

    def sample(
        self,
        seeds: Mapping[str, float],
        *,
        tokens: int,
        seed: int = 0,
        along: EdgeFilter = FACTS,
        hops: int = 2,
    ) -> Subgraph:
        """See ``GraphStore.sample``."""
        with self._reading() as connection:
            return searching.sample(
                connection,
                _plain_keys(seeds),
                tokens=tokens,
                seed=seed,
                along=along,
                hops=hops,
                names=self._names,
            )

    def count(self, *, status: Status | None = None) -> int:
        """See ``GraphStore.count``."""
        with self._reading() as connection:
            return lookup.count(connection, status)

    def size(self) -> GraphSize:
        """See ``GraphStore.size``."""
        with self._reading() as connection:
            return paging.size(connection)

    def page(self, after: paging.Place, *, size: int = 1000) -> tuple[Batch, paging.Place] | None:
        """One of ``GraphStore.pages``, and where the next one begins; None after the last."""
        if size < 1:
            raise ConfigError(f"A page has at least 1 row, not {size}")
        with self._reading() as connection:
            return paging.page(connection, after, size, self._dimension)

    def close(self) -> None:
        """See ``GraphStore.close``."""
        self._database.close()

    # -- transactions ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self, cache: VectorCache | None = None) -> Iterator[sqlite3.Connection]:
        """One view of the file, with ``cache`` brought up to it."""
        with self._database.reading() as connection:
            if cache is not None:
                # Another process may have begun the file with another embedder since it was opened.
                self._same_embedder(connection)
                cache.refresh(connection, self._database.revision(connection))
            try:
                yield connection
            except (KeyError, json.JSONDecodeError) as error:
                # Rows that name others which are not there: nothing but damage makes them.
                raise KnowledgeUnavailable(
                    f"{self._database.path} is damaged: what is in it does not fit together",
                    hint="Move it away, so that a new one is begun",
                ) from error

    @contextlib.contextmanager
    def _writing(self, batch: Batch) -> Iterator[sqlite3.Connection]:
        with self._database.writing() as connection:
            if batch.node_vectors or batch.edge_vectors:
                connection.execute(
                    "INSERT OR IGNORE INTO embedder (only, name, dimension) VALUES (1, ?, ?)",
                    (self._embedder, self._dimension),
                )
            self._same_embedder(connection)
            yield connection

    def _same_embedder(self, connection: sqlite3.Connection) -> None:
        stored = connection.execute("SELECT name, dimension FROM embedder").fetchone()
        if stored is not None and stored != (self._embedder, self._dimension):
            raise KnowledgeUnavailable(
                f"{self._database.path} holds vectors of the embedder {stored[0]} "
                f"({stored[1]} numbers), not of {self._embedder} ({self._dimension})",
                hint="Vectors of two embedders cannot be compared: use the first one again "
                "(embedder.name), or move the file away so that its facts are embedded anew",
            )

    def _query(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        unit: NDArray[np.float32] = checked(vector[None, :], (1, self._dimension))[0]
        return unit


def _named(source: str) -> str:
    cleaned = plain(source)
    if not cleaned:
        raise ConfigError("A source needs a name", hint="Things of no source are not a source")
    return cleaned


def _plain_keys(seeds: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for node, weight in seeds.items():
        found[plain(node)] = found.get(plain(node), 0.0) + weight
    return found
