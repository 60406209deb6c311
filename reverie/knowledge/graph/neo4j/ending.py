"""What ends, and what goes, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from reverie.knowledge.graph.neo4j.connection import Transaction
from reverie.knowledge.graph.neo4j.rows import EDGE, VALID_NOW, edge_of, identity
from reverie.knowledge.graph.neo4j.types import ALL_TYPES, type_of
from reverie.knowledge.graph.neo4j.writing import parts
from reverie.knowledge.graph.records import RESOLVED, SAME_AS

_ROWS: Final = 2000

_EDGES: Final = f"MATCH (a:ReverieNode)-[e:{ALL_TYPES}]->(b:ReverieNode) "
_END: Final = (
    "SET e.valid_to = CASE WHEN e.valid_from > $at THEN e.valid_from ELSE $at END RETURN count(e)"
)


async def end_edges(tx: Transaction, numbers: Sequence[int], at: float) -> int:
    """Ends edges that are valid, or end later. Returns how many."""
    ended = 0
    for some in parts(numbers, _ROWS):
        ended += await tx.one(
            f"{_EDGES} WHERE e.number IN $numbers AND (e.valid_to IS NULL OR e.valid_to > $at "
            f"AND e.valid_to > e.valid_from) {_END}",
            numbers=list(some),
            at=at,
        )
    return ended


async def end_others(tx: Transaction, source: str, kept: Sequence[int]) -> None:
    """Ends the edges of a source but for those of these numbers."""
    keep = set(kept)
    rows = await tx.rows(
        f"{_EDGES} WHERE e.source = $source AND e.valid_to IS NULL RETURN e.number", source=source
    )
    await end_edges(tx, [number for (number,) in rows if number not in keep], time.time())


async def confirm(tx: Transaction, numbers: Sequence[int]) -> int:
    """See ``GraphStore.confirm``."""
    now = time.time()
    confirmed = 0
    for some in parts(numbers, _ROWS):
        rows = await tx.rows(
            f"{_EDGES} WHERE e.number IN $numbers AND e.status = 'hypothesis' AND {VALID_NOW} "
            f"RETURN {EDGE} ORDER BY e.number",
            numbers=list(some),
            now=now,
        )
        for row in rows:
            confirmed += await _confirm_one(tx, row, now)
    return confirmed


async def _confirm_one(tx: Transaction, row: Sequence[Any], now: float) -> bool:
    edge = edge_of(row)
    # The labels of a row are filled in, but they are no part of an identity.
    fact, name = identity(edge, "fact"), type_of(edge.relation)
    known = await tx.one(
        f"MATCH ()-[e:{name} {{identity: $fact}}]->() WHERE e.valid_to IS NULL RETURN count(e)",
        fact=fact,
    )
    if known:
        await end_edges(tx, [int(edge.id)], now)
        return False
    await tx.rows(
        f"MATCH ()-[e:{name} {{number: $number}}]->() SET e.status = 'fact', e.identity = $fact",
        number=int(edge.id),
        fact=fact,
    )
    return True


async def delete_nodes(tx: Transaction, source: str, kept: Sequence[str]) -> int:
    """Deletes the nodes of a source but for these, with their edges and aliases, and things that
    lost their last edge by it. Returns how many nodes and edges went.
    """
    rows = await tx.rows(
        "MATCH (n:ReverieNode {source: $source}) RETURN n.id ORDER BY n.id", source=source
    )
    keep = set(kept)
    ids = [node for (node,) in rows if node not in keep]
    gone, touched = 0, set[str]()
    for some in parts(ids, _ROWS):
        edges = await tx.rows(
            f"UNWIND $ids AS id MATCH (n:ReverieNode {{id: id}})-[e:{ALL_TYPES}]-(m:ReverieNode) "
            "WITH e, collect(m.id) AS ends DELETE e RETURN ends",
            ids=list(some),
        )
        gone += len(edges) + len(some)
        touched.update(end for (ends,) in edges for end in ends)
        await tx.rows(
            "UNWIND $ids AS id MATCH (n:ReverieNode {id: id}) DETACH DELETE n", ids=list(some)
        )
        await _delete_aliases(tx, some)
    return gone + await _delete_lonely(tx, sorted(touched - set(ids) - keep))


async def delete_edges(tx: Transaction, source: str) -> int:
    """Deletes the edges of a source, ended ones too, and things that lost their last edge by it.
    Returns how many nodes and edges went.
    """
    rows = await tx.rows(
        f"{_EDGES} WHERE e.source = $source WITH e, a.id AS start, b.id AS end DELETE e "
        "RETURN start, end",
        source=source,
    )
    return len(rows) + await _delete_lonely(tx, sorted({end for row in rows for end in row}))


async def _delete_lonely(tx: Transaction, ids: Sequence[str]) -> int:
    """Those of these things that nothing leads to or from, not even a relationship of others, but
    what entity resolution made. Returns how many nodes and edges went.
    """
    gone = 0
    for some in parts(ids, _ROWS):
        rows = await tx.rows(
            "UNWIND $ids AS id MATCH (n:ReverieNode {id: id}) "
            "WHERE n.source = '' AND n.kind IN ['entity', 'action', 'outcome'] "
            "AND NOT EXISTS { MATCH (n)-[e]-() WHERE NOT (type(e) = $same "
            "AND coalesce(e.source, '') = $resolved AND e.valid_to IS NULL) } RETURN id",
            ids=list(some),
            same=type_of(SAME_AS),
            resolved=RESOLVED,
        )
        lonely = [node for (node,) in rows]
        edges = await tx.rows(
            "UNWIND $ids AS id MATCH (n:ReverieNode {id: id})-[e]-() "
            "WITH DISTINCT e, e.number AS number DELETE e RETURN number",
            ids=lonely,
        )
        await tx.rows("UNWIND $ids AS id MATCH (n:ReverieNode {id: id}) DELETE n", ids=lonely)
        gone += len(lonely) + len(edges)
        await _delete_aliases(tx, lonely)
    return gone


async def _delete_aliases(tx: Transaction, nodes: Sequence[str]) -> None:
    await tx.rows(
        "UNWIND $nodes AS node MATCH (a:ReverieAlias {node: node}) DELETE a", nodes=list(nodes)
    )
