"""All of a graph in pages, and how much it is."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError
from reverie.knowledge.graph.neo4j.connection import Connection, Transaction
from reverie.knowledge.graph.neo4j.rows import EDGE, NODE, RELATION, VALID_NOW, edge_of, node_of
from reverie.knowledge.graph.neo4j.types import ALL_TYPES, TYPES
from reverie.knowledge.graph.records import Batch, GraphSize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Every type has an index of its own that is in order; together they are not.
_NEXT_EDGES: Final = " UNION ALL ".join(
    f"MATCH (a:ReverieNode)-[e:{name}]->(b:ReverieNode) "
    "WHERE e.number > $after AND e.number <= $last "
    "RETURN a, e, b ORDER BY e.number LIMIT $size"
    for name in TYPES
)


async def pages(connection: Connection, *, size: int) -> AsyncIterator[Batch]:
    """See ``GraphStore.pages``."""
    if size < 1:
        raise ConfigError(f"A page has at least 1 row, not {size}")

    async def newest(tx: Transaction) -> int:
        rows = await tx.rows("MATCH (s:ReverieStore {name: 'reverie'}) RETURN s.edges")
        return int(rows[0][0]) if rows else 0

    # Edges that are written from here on are left out, for their nodes may be missing.
    last = await connection.read(newest)
    node = ""
    while nodes := await connection.read(functools.partial(_nodes, after=node, size=size)):
        yield Batch(
            nodes=[node_of(row) for row in nodes],
            node_vectors={row[0]: _vector(row[-1]) for row in nodes if row[-1] is not None},
        )
        node = nodes[-1][0]
    number = 0
    while edges := await connection.read(
        functools.partial(_edges, after=number, last=last, size=size)
    ):
        yield Batch(
            edges=[edge_of(row) for row in edges],
            edge_vectors={
                place: _vector(row[-1]) for place, row in enumerate(edges) if row[-1] is not None
            },
        )
        number = edges[-1][-2]
    names = await connection.read(_names)
    if names.aliases or names.versions:
        yield names


async def size_of(tx: Transaction) -> GraphSize:
    """See ``GraphStore.size``."""
    nodes = await tx.rows(
        "MATCH (n:ReverieNode) RETURN n.kind AS kind, count(*), count(n.embedding) ORDER BY kind"
    )
    edges = await tx.rows(
        f"MATCH (:ReverieNode)-[e:{ALL_TYPES}]->(:ReverieNode) WHERE e.number IS NOT NULL "
        f"RETURN {RELATION} AS relation, {VALID_NOW} AS valid, count(*), count(e.embedding) "
        "ORDER BY relation",
        now=time.time(),
    )
    return GraphSize(
        nodes={kind: number for kind, number, _ in nodes},
        edges={relation: number for relation, valid, number, _ in edges if valid},
        ended=sum(number for _, valid, number, _ in edges if not valid),
        vectors=sum(row[-1] for row in (*nodes, *edges)),
    )


async def _nodes(tx: Transaction, after: str, size: int) -> list[list[Any]]:
    return await tx.rows(
        f"MATCH (n:ReverieNode) WHERE n.id > $after WITH n ORDER BY n.id LIMIT $size "
        f"RETURN {NODE}, n.embedding ORDER BY n.id",
        after=after,
        size=size,
    )


async def _edges(tx: Transaction, after: int, last: int, size: int) -> list[list[Any]]:
    return await tx.rows(
        f"CALL () {{ {_NEXT_EDGES} }} WITH a, e, b ORDER BY e.number LIMIT $size "
        f"RETURN {EDGE}, e.embedding ORDER BY e.number",
        after=after,
        last=last,
        size=size,
    )


async def _names(tx: Transaction) -> Batch:
    aliases = await tx.rows("MATCH (a:ReverieAlias) RETURN a.name, a.node ORDER BY a.name")
    versions = await tx.rows("MATCH (s:ReverieSource) RETURN s.name, s.version ORDER BY s.name")
    return Batch(
        aliases=dict(aliases),
        versions=dict(versions),
    )


def _vector(numbers: Sequence[float]) -> NDArray[np.float32]:
    import numpy as np

    return np.array(numbers, dtype=np.float32)
