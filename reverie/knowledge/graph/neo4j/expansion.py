"""Going along edges: neighbourhoods, shortest paths, and what walks and samples run on.

Nothing runs on the server but steps from nodes to nodes: Community has neither APOC nor GDS. The
walk itself runs here, on the neighbourhood that was fetched.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError
from reverie.knowledge.graph.neo4j.connection import Transaction
from reverie.knowledge.graph.neo4j.rows import (
    ALONG,
    EDGE,
    NODE,
    STRENGTH,
    along_values,
    edge_of,
    node_of,
)
from reverie.knowledge.graph.neo4j.types import ALL_TYPES, types_of
from reverie.knowledge.graph.pagerank import personalised_pagerank
from reverie.knowledge.graph.records import Edge, EdgeFilter, Node, NodeKind, ScoredNode, Subgraph
from reverie.knowledge.graph.sampling import Budget, draw, passing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ARROWS: Final = {"both": ("-", "-"), "out": ("-", "->"), "in": ("<-", "-")}

_SAMPLED_NODES: Final = 2000
_RESTART: Final = 0.5
_READ_AT_ONCE: Final = 200


async def nodes_of(tx: Transaction, ids: Iterable[str]) -> dict[str, Node]:
    """Those of these nodes that are there, in their order."""
    wanted = list(dict.fromkeys(ids))
    rows = await tx.rows(
        f"UNWIND $ids AS id MATCH (n:ReverieNode {{id: id}}) RETURN {NODE}", ids=wanted
    )
    found = {row[0]: node_of(row) for row in rows}
    return {identity: found[identity] for identity in wanted if identity in found}


async def neighbourhood(
    tx: Transaction, ids: Sequence[str], *, hops: int, along: EdgeFilter, limit: int
) -> Subgraph:
    """See ``GraphStore.neighbourhood``."""
    hop_of, truncated = await _reach(tx, ids, along, hops=hops, limit=limit)
    rows = await tx.rows(
        f"{_between(along)} RETURN {EDGE} ORDER BY e.number",
        ids=list(hop_of),
        **along_values(along),
    )
    return Subgraph(
        nodes=await nodes_of(tx, hop_of),
        edges=[edge_of(row) for row in rows],
        hops=hop_of,
        truncated=truncated,
    )


async def shortest_path(
    tx: Transaction, start: str, end: str, *, most_hops: int, along: EdgeFilter
) -> Subgraph | None:
    """See ``GraphStore.shortest_path``."""
    ends = await nodes_of(tx, [start, end])
    if start not in ends or end not in ends:
        return None
    if start == end:
        return Subgraph(nodes=ends, edges=[], hops={start: 0})
    if most_hops < 1 or (along.kinds and ends[end].kind not in along.kinds):
        return None
    left, right = _ARROWS[along.direction]
    rows = await tx.rows(
        "MATCH (x:ReverieNode {id: $start}), (y:ReverieNode {id: $end}) "
        f"MATCH p = shortestPath((x){left}[:{types_of(along.relations)}*..{most_hops:d}]{right}(y))"
        f" WHERE all(e IN relationships(p) WHERE {ALONG}) "
        f"AND all(n IN nodes(p) WHERE n:ReverieNode "
        "AND ($kinds = [] OR n.id = $start OR n.kind IN $kinds)) "
        "UNWIND relationships(p) AS e WITH p, e, startNode(e) AS a, endNode(e) AS b "
        f"RETURN [n IN nodes(p) | n.id], {EDGE}",
        start=start,
        end=end,
        **along_values(along),
    )
    if not rows:
        return None
    ids = rows[0][0]
    return Subgraph(
        nodes=await nodes_of(tx, ids),
        edges=[edge_of(row[1:]) for row in rows],
        hops={identity: hop for hop, identity in enumerate(ids)},
    )


async def walk(
    tx: Transaction,
    seeds: Mapping[str, float],
    *,
    limit: int,
    kinds: Sequence[NodeKind],
    along: EdgeFilter,
    restart: float,
    hops: int,
    most_nodes: int,
) -> list[ScoredNode]:
    """See ``GraphStore.walk``."""
    around = await _Around.of(tx, seeds, along, hops=hops, limit=most_nodes)
    visits = around.visits(restart)
    order = sorted(range(len(visits)), key=lambda at: -visits[at])
    best: list[ScoredNode] = []
    # Kinds come with the nodes, which are fetched until enough of them are of the right one.
    size = max(limit, 1) * (4 if kinds else 1)
    for begin in range(0, len(order) if limit > 0 else 0, size):
        nodes = await nodes_of(tx, (around.ids[at] for at in order[begin : begin + size]))
        for at in order[begin : begin + size]:
            node = nodes.get(around.ids[at])
            if node is not None and (not kinds or node.kind in kinds):
                best.append(ScoredNode(node, float(visits[at])))
        if len(best) >= limit:
            break
    return best[:limit]


async def sample(
    tx: Transaction,
    seeds: Mapping[str, float],
    *,
    tokens: int,
    seed: int,
    along: EdgeFilter,
    hops: int,
) -> Subgraph:
    """See ``GraphStore.sample``."""
    around = await _Around.of(tx, seeds, along, hops=hops, limit=_SAMPLED_NODES)
    shares = passing(around.starts, around.ends, around.strengths, around.visits(_RESTART))
    roots = [at for at, identity in enumerate(around.ids) if around.hop_of[identity] == 0]
    likely = (-shares).argsort(kind="stable").tolist()
    records: dict[int, Edge] = {}
    missing = True
    drawn: list[int] = []
    while missing:
        lacked: list[int] = []
        take = functools.partial(_take, records, lacked, Budget(tokens))
        # The same draws each time, a longer way: until every edge that it comes to is there.
        drawn = draw(around.starts, around.ends, shares, roots, seed=seed, take=take)
        if missing := bool(lacked):
            more = [at for at in likely if at not in records][:_READ_AT_ONCE]
            records |= await around.records(tx, [*lacked, *more])
    kept = {*roots, *(int(e) for at in drawn for e in (around.starts[at], around.ends[at]))}
    ids = [around.ids[at] for at in sorted(kept)]
    return Subgraph(
        nodes=await nodes_of(tx, ids),
        edges=[records[at] for at in drawn],
        hops={identity: around.hop_of[identity] for identity in ids},
        truncated=around.truncated or len(drawn) < len(shares),
    )


def _take(records: Mapping[int, Edge], lacked: list[int], budget: Budget, at: int) -> bool | None:
    """Whether there is budget for an edge; ends the draw at one whose record is lacked."""
    if at in records:
        return budget.take(records[at])
    lacked.append(at)
    return None


class _Around:
    """What lies around seeds, as arrays over N nodes and E edges."""

    def __init__(
        self,
        seeds: Mapping[str, float],
        hop_of: Mapping[str, int],
        truncated: bool,
        rows: Sequence[Sequence[Any]],
    ) -> None:
        import numpy as np

        self.hop_of = hop_of
        self.truncated = truncated
        self.ids = list(hop_of)
        at = {identity: place for place, identity in enumerate(self.ids)}
        self._numbers = [row[3] for row in rows]
        self.starts: NDArray[np.int64] = np.array([at[row[0]] for row in rows], dtype=np.int64)
        self.ends: NDArray[np.int64] = np.array([at[row[1]] for row in rows], dtype=np.int64)
        self.strengths: NDArray[np.float64] = np.array([row[2] for row in rows], dtype=np.float64)
        self._restarts: NDArray[np.float64] = np.zeros(len(self.ids))
        for identity, weight in seeds.items():
            if identity in at:
                self._restarts[at[identity]] += weight

    @classmethod
    async def of(
        cls,
        tx: Transaction,
        seeds: Mapping[str, float],
        along: EdgeFilter,
        *,
        hops: int,
        limit: int,
    ) -> _Around:
        for identity, weight in seeds.items():
            if not 0.0 < weight < math.inf:
                raise ConfigError(f"The weight of {identity!r} must be above 0, not {weight!r}")
        hop_of, truncated = await _reach(
            tx, list(seeds), along, hops=hops, limit=max(limit, len(seeds))
        )
        rows = await tx.rows(
            f"{_between(along)} RETURN a.id, b.id, {STRENGTH}, e.number ORDER BY e.number",
            ids=list(hop_of),
            **along_values(along),
        )
        return cls(seeds, hop_of, truncated, rows)

    def visits(self, restart: float) -> NDArray[np.float64]:
        """How often a walk is at every node, [N]."""
        if not self.ids:
            return self._restarts
        return personalised_pagerank(
            self.starts, self.ends, self.strengths, self._restarts, restart=restart
        )

    async def records(self, tx: Transaction, places: Sequence[int]) -> dict[int, Edge]:
        """Edges by position."""
        at = {self._numbers[place]: place for place in places}
        rows = await tx.rows(
            f"MATCH (a:ReverieNode)-[e:{ALL_TYPES}]->(b:ReverieNode) "
            f"WHERE e.number IN $numbers RETURN {EDGE}",
            numbers=list(at),
        )
        return {at[row[-1]]: edge_of(row) for row in rows}


async def _reach(
    tx: Transaction, seeds: Sequence[str], along: EdgeFilter, *, hops: int, limit: int
) -> tuple[dict[str, int], bool]:
    """By node, how far it is from the seeds, nearest first; and whether ``limit`` left one out.

    Within a hop, those reached by the strongest edges come first, then those of the smallest id.
    """
    limit = max(limit, 0)
    layer = list(await nodes_of(tx, seeds))
    truncated = len(layer) > limit
    layer = layer[:limit]
    found = dict.fromkeys(layer, 0)
    left, right = _ARROWS[along.direction]
    query = (
        "UNWIND $layer AS id MATCH "
        f"(a:ReverieNode {{id: id}}){left}[e:{types_of(along.relations)}]{right}(b:ReverieNode) "
        f"WHERE {ALONG} AND ($kinds = [] OR b.kind IN $kinds) "
        f"WITH b, max({STRENGTH}) AS strength ORDER BY strength DESC, b.id LIMIT $most "
        "RETURN b.id, strength"
    )
    values = along_values(along)
    for hop in range(1, hops + 1):
        if not layer or truncated:
            break
        # One more than there is room for, and as many as may be found already.
        rows = await tx.rows(query, layer=layer, most=limit + 1, **values)
        new = [(-strength, node) for node, strength in rows if node not in found]
        room = limit - len(found)
        truncated = len(new) > room
        layer = [node for _, node in sorted(new)[:room]]
        found.update(dict.fromkeys(layer, hop))
    return found, truncated


def _between(along: EdgeFilter) -> str:
    """Edges ``e`` from ``a`` to ``b`` between nodes of ``$ids``."""
    return (
        "UNWIND $ids AS id MATCH "
        f"(a:ReverieNode {{id: id}})-[e:{types_of(along.relations)}]->(b:ReverieNode) "
        f"WHERE b.id IN $ids AND {ALONG}"
    )
