"""A procedure in the graph: a node ``sop:NAME``, and ``has_step`` to each of its actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reverie.knowledge.graph.records import Batch, Edge, Node, thing_id
from reverie.knowledge.sops.sop import Sop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.knowledge.graph.store import GraphStore
    from reverie.knowledge.sops.book import SopBook


def sop_id(name: str) -> str:
    """The id of a procedure's node, and the source of all that it says."""
    return f"sop:{name}"


def sop_batch(sop: Sop, vector: NDArray[np.float32] | None = None) -> Batch:
    """All that the graph says of a procedure; ``vector`` [D] is that of ``Sop.text``."""
    identity = sop_id(sop.name)
    node = Node(
        identity,
        "sop",
        sop.name,
        text=sop.text,
        source=identity,
        properties={"category": sop.category, "priority": sop.priority, "version": sop.version},
    )
    actions: dict[str, Node] = {}
    edges = []
    for number, step in enumerate(sop.steps, 1):
        action = thing_id(step.action) or f"{identity}:{number}"
        actions.setdefault(action, Node(action, "action", step.action))
        edges.append(Edge(identity, "has_step", action, text=f"step {number}", source=identity))
    vectors = {} if vector is None else {identity: vector}
    return Batch((node, *actions.values()), tuple(edges), node_vectors=vectors)


async def write_sop(store: GraphStore, sop: Sop, vector: NDArray[np.float32] | None = None) -> bool:
    """Makes the graph say what ``sop`` says; False when it does already."""
    batch = sop_batch(sop, vector)
    return await store.replace_source(sop_id(sop.name), sop.version, batch)


async def sync_sops(store: GraphStore, book: SopBook) -> int:
    """Makes the graph say what the book does; returns how many procedures changed there."""
    changed = 0
    for stored in await book.current():
        changed += await write_sop(store, stored.sop)
    for name in await book.removed():
        if await store.source_version(sop_id(name)) is not None:
            await store.delete_source(sop_id(name))
            changed += 1
    return changed
