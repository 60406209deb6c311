"""The embedded graph store: ``GraphStore`` in one SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
)
from reverie.knowledge.graph.sqlite.core import SqliteGraphCore
from reverie.knowledge.graph.sqlite.paging import BEGINNING
from reverie.knowledge.graph.store import Match

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SqliteGraph:
    """``GraphStore`` in one SQLite file. Get one with ``SqliteGraph.open``; ``close`` it.

    Each method runs that of ``SqliteGraphCore`` in a thread.
    """

    def __init__(self, core: SqliteGraphCore) -> None:
        self.core = core
        """The same store without asyncio. It blocks."""

    @classmethod
    async def open(cls, path: Path, *, embedder: str, dimension: int) -> SqliteGraph:
        """Opens or creates the store for vectors of ``embedder``, ``dimension`` numbers each.

        Raises ``KnowledgeUnavailable``, also when the file holds another embedder's vectors.
        """
        return cls(
            await asyncio.to_thread(SqliteGraphCore, path, embedder=embedder, dimension=dimension)
        )

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        return self.core.notices

    async def write(self, batch: Batch) -> list[str]:
        """See ``GraphStore.write``."""
        return await asyncio.to_thread(self.core.write, batch)

    async def replace_source(self, source: str, version: str, batch: Batch) -> bool:
        """See ``GraphStore.replace_source``."""
        return await asyncio.to_thread(self.core.replace_source, source, version, batch)

    async def source_version(self, source: str) -> str | None:
        """See ``GraphStore.source_version``."""
        return await asyncio.to_thread(self.core.source_version, source)

    async def delete_source(self, source: str) -> int:
        """See ``GraphStore.delete_source``."""
        return await asyncio.to_thread(self.core.delete_source, source)

    async def invalidate(self, ids: Sequence[str], *, at: float | None = None) -> int:
        """See ``GraphStore.invalidate``."""
        return await asyncio.to_thread(self.core.invalidate, ids, at=at)

    async def confirm(self, ids: Sequence[str]) -> int:
        """See ``GraphStore.confirm``."""
        return await asyncio.to_thread(self.core.confirm, ids)

    async def add_aliases(self, aliases: Mapping[str, str]) -> None:
        """See ``GraphStore.add_aliases``."""
        await asyncio.to_thread(self.core.add_aliases, aliases)

    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        """See ``GraphStore.nodes``."""
        return await asyncio.to_thread(self.core.nodes, ids)

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
        return await asyncio.to_thread(
            self.core.edges,
            run=run,
            source=source,
            relations=relations,
            statuses=statuses,
            ended=ended,
            limit=limit,
        )

    async def resolve(self, names: Sequence[str]) -> dict[str, str]:
        """See ``GraphStore.resolve``."""
        return await asyncio.to_thread(self.core.resolve, names)

    async def similar(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 3,
        minimum: float = 0.5,
        statuses: Sequence[Status] = ("fact",),
    ) -> list[Match]:
        """See ``GraphStore.similar``."""
        return await asyncio.to_thread(
            self.core.similar, vector, limit=limit, minimum=minimum, statuses=statuses
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
        return await asyncio.to_thread(
            self.core.similar_nodes, vector, limit=limit, minimum=minimum, kinds=kinds
        )

    async def find(
        self, text: str, *, limit: int = 10, kinds: Sequence[NodeKind] = ()
    ) -> list[ScoredNode]:
        """See ``GraphStore.find``."""
        return await asyncio.to_thread(self.core.find, text, limit=limit, kinds=kinds)

    async def neighbourhood(
        self, ids: Sequence[str], *, hops: int = 1, along: EdgeFilter = FACTS, limit: int = 256
    ) -> Subgraph:
        """See ``GraphStore.neighbourhood``."""
        return await asyncio.to_thread(
            self.core.neighbourhood, ids, hops=hops, along=along, limit=limit
        )

    async def shortest_path(
        self, start: str, end: str, *, most_hops: int = 6, along: EdgeFilter = FACTS
    ) -> Subgraph | None:
        """See ``GraphStore.shortest_path``."""
        return await asyncio.to_thread(
            self.core.shortest_path, start, end, most_hops=most_hops, along=along
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
        return await asyncio.to_thread(
            self.core.walk,
            seeds,
            limit=limit,
            kinds=kinds,
            along=along,
            restart=restart,
            hops=hops,
            most_nodes=most_nodes,
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
        return await asyncio.to_thread(
            self.core.sample, seeds, tokens=tokens, seed=seed, along=along, hops=hops
        )

    async def count(self, *, status: Status | None = None) -> int:
        """See ``GraphStore.count``."""
        return await asyncio.to_thread(self.core.count, status=status)

    async def size(self) -> GraphSize:
        """See ``GraphStore.size``."""
        return await asyncio.to_thread(self.core.size)

    async def pages(self, *, size: int = 1000) -> AsyncIterator[Batch]:
        """See ``GraphStore.pages``."""
        place = BEGINNING
        while (found := await asyncio.to_thread(self.core.page, place, size=size)) is not None:
            batch, place = found
            yield batch

    async def close(self) -> None:
        """See ``GraphStore.close``."""
        await asyncio.to_thread(self.core.close)
