"""One graph store copied into another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from reverie.knowledge.graph.store import GraphStore

CopyProgress = Callable[[int, int], None]
"""Called in the event loop with the nodes and edges copied so far, and how many there are."""

_PAGE: Final = 1000
"""Nodes or edges per transaction."""


async def copy_graph(
    source: GraphStore,
    target: GraphStore,
    *,
    progress: CopyProgress | None = None,
    size: int = _PAGE,
) -> int:
    """Writes everything that ``source`` holds to ``target``, in transactions of ``size`` nodes or
    edges; returns how many nodes and edges. Edges get new ids; what ``target`` holds stays.

    A copy that broke off is completed by running it again, which writes nothing twice. Both have
    to be open for the same embedder. Raises ``KnowledgeUnavailable`` from either.
    """
    there = await source.size()
    total = sum(there.nodes.values()) + sum(there.edges.values()) + there.ended
    copied = 0
    async for batch in source.pages(size=size):
        await target.write(batch)
        copied += len(batch.nodes) + len(batch.edges)
        if progress is not None:
            # More may have been written to the source meanwhile.
            progress(copied, max(copied, total))
    return copied
