"""``GraphStore`` on a Neo4j server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from reverie.errors import ConfigError
from reverie.knowledge.graph.checks import checked_batch, plain
from reverie.knowledge.graph.neo4j import ending, expansion, paging, searching, writing
from reverie.knowledge.graph.neo4j.connection import Connection, Transaction
from reverie.knowledge.graph.neo4j.rows import EDGE, RELATION, VALID_NOW, edge_of, numbers
from reverie.knowledge.graph.neo4j.schema import index_types, index_vectors, prepare
from reverie.knowledge.graph.neo4j.types import type_of, types_of
from reverie.knowledge.graph.neo4j.writing import Opened
from reverie.knowledge.graph.records import (
    CAUSES,
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
)
from reverie.knowledge.graph.store import Match
from reverie.knowledge.graph.vectors import checked
from reverie.settings import Neo4jSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Neo4jGraph:
    """``GraphStore`` in a Neo4j database. Get one with ``Neo4jGraph.open``; ``close`` it.

    May be used from any event loop and thread. Other data in the database is neither touched nor
    seen. A server that goes away and comes back needs no opening again.
    """

    def __init__(self, connection: Connection, opened: Opened, types: set[str]) -> None:
        self._connection = connection
        self._opened = opened
        self._types = types
        """Those that have indexes."""

    @classmethod
    async def open(cls, settings: Neo4jSettings, *, embedder: str, dimension: int) -> Neo4jGraph:
        """Connects to ``settings.uri``, and makes constraints and indexes that are missing, for
        vectors of ``embedder``, ``dimension`` numbers each.

        Raises ``KnowledgeUnavailable`` for a server that is not there, refuses, is too old, was
        written by a newer Reverie or holds another embedder's vectors, and ``ConfigError`` without
        the driver.
        """
        connection = await Connection.open(settings)
        try:
            types = await prepare(connection, embedder, dimension)
        except BaseException:
            await connection.close()
            raise
        return cls(connection, Opened(embedder, dimension), types)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it: nothing."""
        return ()

    async def close(self) -> None:
        """See ``GraphStore.close``."""
        await self._connection.close()

    # -- writing ---------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> list[str]:
        """See ``GraphStore.write``."""
        first = False

        async def work(tx: Transaction) -> list[str]:
            nonlocal first
            clean = checked_batch(batch, self._opened.dimension)
            newest, first = await writing.lock(tx, self._opened, vectors=_has_vectors(clean))
            return await writing.write(tx, clean, newest)

        await self._index_types(batch)
        ids = await self._connection.write(work)
        await self._index_vectors(first)
        return ids

    async def replace_source(self, source: str, version: str, batch: Batch) -> bool:
        """See ``GraphStore.replace_source``."""
        source, version = _named(source), plain(version)
        first = False

        async def work(tx: Transaction) -> bool:
            nonlocal first
            clean = checked_batch(batch, self._opened.dimension)
            _check_source(source, clean)
            newest, first = await writing.lock(tx, self._opened, vectors=_has_vectors(clean))
            if await _version(tx, source) == version:
                return False
            ids = await writing.write(tx, clean, newest)
            await ending.delete_nodes(tx, source, [node.id for node in clean.nodes])
            await ending.end_others(tx, source, numbers(ids))
            await writing.record_version(tx, source, version)
            return True

        await self._index_types(batch)
        wrote = await self._connection.write(work)
        await self._index_vectors(first)
        return wrote

    async def source_version(self, source: str) -> str | None:
        """See ``GraphStore.source_version``."""
        return await self._connection.read(lambda tx: _version(tx, plain(source)))

    async def delete_source(self, source: str) -> int:
        """See ``GraphStore.delete_source``."""
        source = _named(source)

        async def work(tx: Transaction) -> int:
            await writing.lock(tx, self._opened)
            gone = await ending.delete_edges(tx, source)
            gone += await ending.delete_nodes(tx, source, ())
            await tx.rows("MATCH (s:ReverieSource {name: $source}) DELETE s", source=source)
            return gone

        return await self._connection.write(work)

    async def invalidate(self, ids: Sequence[str], *, at: float | None = None) -> int:
        """See ``GraphStore.invalidate``."""

        async def work(tx: Transaction) -> int:
            await writing.lock(tx, self._opened)
            return await ending.end_edges(tx, numbers(ids), time.time() if at is None else at)

        return await self._connection.write(work)

    async def confirm(self, ids: Sequence[str]) -> int:
        """See ``GraphStore.confirm``."""

        async def work(tx: Transaction) -> int:
            await writing.lock(tx, self._opened)
            return await ending.confirm(tx, numbers(ids))

        return await self._connection.write(work)

    async def add_aliases(self, aliases: Mapping[str, str]) -> None:
        """See ``GraphStore.add_aliases``."""
        await self.write(Batch(aliases=aliases))

    # -- reading ---------------------------------------------------------------------------------

    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        """See ``GraphStore.nodes``. In the order asked for."""
        return await self._connection.read(lambda tx: expansion.nodes_of(tx, map(plain, ids)))

    async def edges(
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
        conditions = ["e.number IS NOT NULL", "e.status IN $statuses"]
        conditions += [_is("run", run)] * (run is not None)
        conditions += [_is("source", source)] * (source is not None)
        conditions += [f"{RELATION} IN $relations"] * bool(relations)
        conditions += [VALID_NOW] * (not ended)
        query = (
            f"MATCH (a:ReverieNode)-[e:{types_of(relations)}]->(b:ReverieNode) "
            f"WHERE {' AND '.join(conditions)} "
            f"WITH a, e, b ORDER BY e.number LIMIT $limit RETURN {EDGE} ORDER BY e.number"
        )

        async def work(tx: Transaction) -> list[Edge]:
            rows = await tx.rows(
                query,
                run=None if run is None else plain(run),
                source=None if source is None else plain(source),
                relations=list(relations),
                statuses=list(statuses),
                limit=max(limit, 0),
                now=time.time(),
            )
            return [edge_of(row) for row in rows]

        return await self._connection.read(work)

    async def resolve(self, names: Sequence[str]) -> dict[str, str]:
        """See ``GraphStore.resolve``."""
        return await self._connection.read(lambda tx: searching.resolve(tx, names))

    async def similar(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 3,
        minimum: float = 0.5,
        statuses: Sequence[Status] = ("fact",),
    ) -> list[Match]:
        """See ``GraphStore.similar``."""
        query = self._query(vector)
        return await self._connection.read(
            lambda tx: searching.similar(
                tx, query, self._opened, limit=limit, minimum=minimum, statuses=statuses
            )
        )

    async def similar_nodes(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 10,
        minimum: float = 0.0,
        kinds: Sequence[NodeKind] = (),
    ) -> list[ScoredNode]:
        """See ``GraphStore.similar_nodes``."""
        query = self._query(vector)
        return await self._connection.read(
            lambda tx: searching.similar_nodes(
                tx, query, self._opened, limit=limit, minimum=minimum, kinds=kinds
            )
        )

    async def find(
        self, text: str, *, limit: int = 10, kinds: Sequence[NodeKind] = ()
    ) -> list[ScoredNode]:
        """See ``GraphStore.find``."""
        return await self._connection.read(
            lambda tx: searching.find(tx, text, limit=limit, kinds=kinds)
        )

    async def neighbourhood(
        self, ids: Sequence[str], *, hops: int = 1, along: EdgeFilter = FACTS, limit: int = 256
    ) -> Subgraph:
        """See ``GraphStore.neighbourhood``."""
        seeds = [plain(identity) for identity in ids]
        return await self._connection.read(
            lambda tx: expansion.neighbourhood(tx, seeds, hops=hops, along=along, limit=limit)
        )

    async def shortest_path(
        self, start: str, end: str, *, most_hops: int = 6, along: EdgeFilter = FACTS
    ) -> Subgraph | None:
        """See ``GraphStore.shortest_path``."""
        return await self._connection.read(
            lambda tx: expansion.shortest_path(
                tx, plain(start), plain(end), most_hops=most_hops, along=along
            )
        )

    async def walk(
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
        return await self._connection.read(
            lambda tx: expansion.walk(
                tx,
                _plain_keys(seeds),
                limit=limit,
                kinds=kinds,
                along=along,
                restart=restart,
                hops=hops,
                most_nodes=most_nodes,
            )
        )

    async def sample(
        self,
        seeds: Mapping[str, float],
        *,
        tokens: int,
        seed: int = 0,
        along: EdgeFilter = FACTS,
        hops: int = 2,
    ) -> Subgraph:
        """See ``GraphStore.sample``."""
        return await self._connection.read(
            lambda tx: expansion.sample(
                tx, _plain_keys(seeds), tokens=tokens, seed=seed, along=along, hops=hops
            )
        )

    async def count(self, *, status: Status | None = None) -> int:
        """See ``GraphStore.count``."""

        async def work(tx: Transaction) -> int:
            number = await tx.one(
                f"MATCH (:ReverieNode)-[e:{type_of(CAUSES)}]->(:ReverieNode) "
                f"WHERE ($status IS NULL OR e.status = $status) AND {VALID_NOW} RETURN count(e)",
                status=status,
                now=time.time(),
            )
            return int(number)

        return await self._connection.read(work)

    async def size(self) -> GraphSize:
        """See ``GraphStore.size``."""
        return await self._connection.read(paging.size_of)

    def pages(self, *, size: int = 1000) -> AsyncIterator[Batch]:
        """See ``GraphStore.pages``."""
        return paging.pages(self._connection, size=size)

    async def cypher(
        self, query: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a query in Cypher, by the names of their columns; for people and programs
        that know what is in the database. It may only read. Raises ``KnowledgeUnavailable``, also
        for a query that the server refuses.
        """
        return await self._connection.read(lambda tx: tx.records(query, parameters or {}))

    def _query(self, vector: NDArray[np.float32]) -> list[float]:
        numbers_: list[float] = checked(vector[None, :], (1, self._opened.dimension))[0].tolist()
        return numbers_

    async def _index_types(self, batch: Batch) -> None:
        new = {type_of(edge.relation) for edge in batch.edges} - self._types
        if new:
            await index_types(self._connection, sorted(new))
            self._types |= new

    async def _index_vectors(self, first: bool) -> None:
        """After the ``first`` vectors: whoever opened the empty store last had its indexes made."""
        if first:
            await index_vectors(self._connection, self._opened.dimension)


def _is(key: Literal["run", "source"], text: str | None) -> str:
    """A condition; what is empty is not stored."""
    return f"e.{key} = ${key}" if text else f"e.{key} IS NULL"


async def _version(tx: Transaction, source: str) -> str | None:
    rows = await tx.rows("MATCH (s:ReverieSource {name: $source}) RETURN s.version", source=source)
    return str(rows[0][0]) if rows else None


def _has_vectors(batch: Batch) -> bool:
    return bool(batch.node_vectors or batch.edge_vectors)


def _check_source(source: str, batch: Batch) -> None:
    strange = [edge.source for edge in batch.edges if edge.source != source]
    strange += [node.source for node in batch.nodes if node.source not in ("", source)]
    if strange:
        raise ConfigError(
            f"Only what {source!r} says can replace that source, not what {strange[0]!r} says"
        )


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
