"""Search by a walk on a graph store: from what a question names and what other sources found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from reverie.knowledge.extract.mentions import mentions
from reverie.knowledge.graph.records import FACTS, EdgeFilter, NodeKind
from reverie.knowledge.graph.store import GraphStore
from reverie.knowledge.search.document_graph import QUESTION, RESTART
from reverie.knowledge.search.records import Query, Ranked

_HOPS: Final = 2
"""Over a name to another chunk. A third hop found nothing more, in two to three times the time."""


class GraphWalk:
    """A source over a ``GraphStore``: personalised PageRank from the question to the chunks.

    The walk restarts at the things that the question names, and by 1 / rank at the chunks that
    other sources found (Gutierrez et al. 2025, HippoRAG 2, arXiv 2502.14802, which does both).
    """

    name: Final = "graph"
    wants_vector: Final = False
    wants_found: Final = True

    def __init__(
        self,
        store: GraphStore,
        *,
        prefix: str = "chunk:",
        kinds: Sequence[NodeKind] = ("chunk",),
        along: EdgeFilter = FACTS,
        restart: float = RESTART,
        hops: int = _HOPS,
    ) -> None:
        """A text's node is called ``prefix`` + the text's id; ``kinds`` are those of such nodes."""
        self._store = store
        self._prefix = prefix
        self._kinds = tuple(kinds)
        self._along = along
        self._restart = restart
        self._hops = hops

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> list[Ranked]:
        """The chunks where the walk is most often; none where it can start nowhere."""
        names = await asyncio.to_thread(mentions, query.text)
        named = set((await self._store.resolve(names)).values()) if names else set[str]()
        seeds = self._seeds(named, found)
        if not seeds:
            return []
        scored = await self._store.walk(
            seeds,
            limit=limit,
            kinds=self._kinds,
            along=self._along,
            restart=self._restart,
            hops=self._hops,
        )
        return [
            Ranked(one.node.id.removeprefix(self._prefix), one.score)
            for one in scored
            if one.node.id.startswith(self._prefix) and one.score > 0
        ]

    def _seeds(self, named: set[str], found: Mapping[str, Sequence[Ranked]]) -> dict[str, float]:
        """By node, its share of the restarts."""
        hits: dict[str, float] = {}
        for ranked in found.values():
            for rank, one in enumerate(ranked, start=1):
                node = self._prefix + one.id
                hits[node] = hits.get(node, 0.0) + 1 / rank
        share = QUESTION if hits else 1.0
        seeds = {node: share / len(named) for node in sorted(named)}
        rest = (1 - QUESTION if named else 1.0) / (sum(hits.values()) or 1.0)
        for node, weight in hits.items():
            seeds[node] = seeds.get(node, 0.0) + rest * weight
        return seeds
