"""What is found by meaning, by words and by name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from reverie.knowledge.graph.checks import alias_key, plain
from reverie.knowledge.graph.neo4j.connection import Transaction
from reverie.knowledge.graph.neo4j.rows import EDGE, NODE, VALID_NOW, edge_of, node_of
from reverie.knowledge.graph.neo4j.schema import (
    CAUSES_VECTORS,
    NODE_VECTORS,
    NODE_WORDS,
    check_embedder,
)
from reverie.knowledge.graph.neo4j.words import lucene_query
from reverie.knowledge.graph.neo4j.writing import Opened
from reverie.knowledge.graph.records import NodeKind, ScoredNode, Status, thing_id
from reverie.knowledge.graph.store import Match
from reverie.knowledge.graph.triplet import triplet_of

_FEWEST: Final = 100
"""Neighbours asked for at first. The index is approximate, and better the more it is asked for."""


async def similar(
    tx: Transaction,
    vector: Sequence[float],
    opened: Opened,
    *,
    limit: int,
    minimum: float,
    statuses: Sequence[Status],
) -> list[Match]:
    """See ``GraphStore.similar``."""
    await _check_opened(tx, opened)
    asked = max(_FEWEST, 4 * limit)
    while True:
        rows = await tx.rows(
            f"CALL db.index.vector.queryRelationships('{CAUSES_VECTORS}', $k, $vector) "
            "YIELD relationship AS e, score "
            "WITH e, startNode(e) AS a, endNode(e) AS b, 2 * score - 1 AS cosine "
            f"RETURN cosine, e.status IN $statuses AND {VALID_NOW} AS counts, {EDGE} "
            "ORDER BY cosine DESC, e.number",
            k=asked,
            vector=vector,
            statuses=list(statuses),
            now=time.time(),
        )
        matches: dict[tuple[str, ...], Match] = {}
        for cosine, counts, *row in rows:
            if counts and cosine >= minimum:
                edge = edge_of(row)
                match = Match(edge.id, triplet_of(edge), min(cosine, 1.0))
                matches.setdefault((edge.start, thing_id(edge.text), edge.end), match)
        # What does not count stands in the way of what does, but only while that is near enough.
        if len(matches) >= limit or len(rows) < asked or rows[-1][0] < minimum:
            return list(matches.values())[:limit]
        asked *= 4


async def similar_nodes(
    tx: Transaction,
    vector: Sequence[float],
    opened: Opened,
    *,
    limit: int,
    minimum: float,
    kinds: Sequence[NodeKind],
) -> list[ScoredNode]:
    """See ``GraphStore.similar_nodes``."""
    await _check_opened(tx, opened)
    asked = max(_FEWEST, 4 * limit)
    while True:
        rows = await tx.rows(
            f"CALL db.index.vector.queryNodes('{NODE_VECTORS}', $k, $vector) "
            "YIELD node AS n, score WITH n, 2 * score - 1 AS cosine "
            f"RETURN cosine, {NODE} ORDER BY cosine DESC, n.id",
            k=asked,
            vector=vector,
        )
        found = [
            ScoredNode(node_of(row), min(cosine, 1.0))
            for cosine, *row in rows
            if cosine >= minimum and (not kinds or row[1] in kinds)
        ]
        if len(found) >= limit or len(rows) < asked or rows[-1][0] < minimum:
            return found[:limit]
        asked *= 4


async def find(
    tx: Transaction, text: str, *, limit: int, kinds: Sequence[NodeKind]
) -> list[ScoredNode]:
    """See ``GraphStore.find``."""
    query = lucene_query(plain(text))
    if not query or limit <= 0:
        return []
    rows = await tx.rows(
        f"CALL db.index.fulltext.queryNodes('{NODE_WORDS}', $words) YIELD node AS n, score "
        "WHERE $kinds = [] OR n.kind IN $kinds "
        f"WITH n, score ORDER BY score DESC, n.id LIMIT $limit RETURN score, {NODE} "
        "ORDER BY score DESC, n.id",
        words=query,
        kinds=list(kinds),
        limit=limit,
    )
    return [ScoredNode(node_of(row), score) for score, *row in rows]


async def resolve(tx: Transaction, names: Sequence[str]) -> dict[str, str]:
    """See ``GraphStore.resolve``."""
    different = list(dict.fromkeys(names))
    rows = await tx.rows(
        "UNWIND $rows AS row "
        "OPTIONAL MATCH (n:ReverieNode {id: row.name}) "
        "OPTIONAL MATCH (t:ReverieNode {id: row.thing}) "
        "OPTIONAL MATCH (a:ReverieAlias {name: row.alias}) "
        "OPTIONAL MATCH (m:ReverieNode {id: a.node}) "
        "RETURN row.place, coalesce(n.id, t.id, m.id)",
        rows=[
            {
                "place": place,
                "name": plain(name),
                "thing": thing_id(plain(name)),
                "alias": alias_key(name),
            }
            for place, name in enumerate(different)
        ],
    )
    found = {place: node for place, node in rows if node is not None}
    return {name: found[place] for place, name in enumerate(different) if place in found}


async def _check_opened(tx: Transaction, opened: Opened) -> None:
    """Another process may have written the first vectors since the store was opened."""
    rows = await tx.rows("MATCH (s:ReverieStore {name: 'reverie'}) RETURN s.embedder, s.dimension")
    for kept in rows:
        check_embedder(kept, opened.embedder, opened.dimension)
