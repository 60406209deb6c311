"""Finding nodes by their words, by a walk, and a part of the graph around some of them."""

from __future__ import annotations

import itertools
import json
import math
import operator
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError
from reverie.knowledge.graph.pagerank import personalised_pagerank
from reverie.knowledge.graph.records import Edge, EdgeFilter, NodeKind, ScoredNode, Subgraph
from reverie.knowledge.graph.sampling import Budget, draw, passing
from reverie.knowledge.graph.sqlite.expansion import (
    Along,
    along_of,
    edges_between,
    reach,
)
from reverie.knowledge.graph.sqlite.rows import (
    MOST_ROWS,
    Names,
    array,
    edges_among,
    nodes_by_number,
    numbers_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_WORDS: Final = 64
"""Of a text to find: more do not make the best ones better, only slower."""
_LABEL_WEIGHT: Final = 2.0
"""Of a word in a label, against one in a text."""
_RESTART: Final = 0.5
_SAMPLED_NODES: Final = 1000
_READ_AT_ONCE: Final = 128


def find(
    connection: sqlite3.Connection,
    text: str,
    *,
    limit: int,
    kinds: Sequence[NodeKind],
    names: Names,
) -> list[ScoredNode]:
    """See ``GraphStore.find``. Ordered by BM25."""
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", text.casefold())))[:_MOST_WORDS]
    if not words or limit <= 0:
        return []
    rows = connection.execute(
        "SELECT n.number, -bm25(words, :label, 1.0) AS score FROM words "
        "JOIN nodes n ON n.number = words.rowid WHERE words MATCH :query "
        "AND (:kinds IS NULL OR n.kind IN (SELECT value FROM json_each(:kinds))) "
        "ORDER BY score DESC, n.id LIMIT :limit",
        {
            # In quotes every word is only a word, also AND and NEAR.
            "query": " OR ".join(f'"{word}"' for word in words),
            "label": _LABEL_WEIGHT,
            "kinds": json.dumps(list(kinds)) if kinds else None,
            "limit": min(limit, MOST_ROWS),
        },
    ).fetchall()
    nodes = nodes_by_number(connection, [number for number, _ in rows], names)
    return [ScoredNode(nodes[number], score) for number, score in rows]


def walk(
    connection: sqlite3.Connection,
    seeds: Mapping[str, float],
    *,
    limit: int,
    kinds: Sequence[NodeKind],
    along: EdgeFilter,
    restart: float,
    hops: int,
    most_nodes: int,
    names: Names,
) -> list[ScoredNode]:
    """See ``GraphStore.walk``."""
    around = _Around(connection, seeds, along, hops=hops, limit=most_nodes)
    visits = around.visits(restart)
    if limit <= 0 or not len(visits):
        return []
    wanted: set[int] | None = None
    if kinds:
        rows = connection.execute(
            "SELECT number FROM nodes WHERE number IN (SELECT value FROM json_each(?)) "
            "AND kind IN (SELECT value FROM json_each(?))",
            (array(around.numbers), json.dumps(list(kinds))),
        )
        wanted = {number for (number,) in rows}
    # Nearest first where the walk is as often.
    order = sorted(range(len(visits)), key=lambda at: -visits[at])
    best = [at for at in order if wanted is None or around.numbers[at] in wanted][:limit]
    nodes = nodes_by_number(connection, [around.numbers[at] for at in best], names)
    return [ScoredNode(nodes[around.numbers[at]], float(visits[at])) for at in best]


def sample(
    connection: sqlite3.Connection,
    seeds: Mapping[str, float],
    *,
    tokens: int,
    seed: int,
    along: EdgeFilter,
    hops: int,
    names: Names,
) -> Subgraph:
    """See ``GraphStore.sample``."""
    around = _Around(connection, seeds, along, hops=hops, limit=_SAMPLED_NODES)
    shares = passing(around.starts, around.ends, around.strengths, around.visits(_RESTART))
    edges = _Edges(connection, around, shares, names)
    budget = Budget(tokens)

    hops_of = around.reached.hops
    roots = [at for at, number in enumerate(around.numbers) if hops_of[number] == 0]
    drawn = draw(
        around.starts, around.ends, shares, roots, seed=seed, take=lambda at: budget.take(edges[at])
    )
    kept = {*roots}
    for at in drawn:
        kept |= {int(around.starts[at]), int(around.ends[at])}
    numbers = [around.numbers[at] for at in sorted(kept)]
    nodes = nodes_by_number(connection, numbers, names)
    return Subgraph(
        nodes={nodes[number].id: nodes[number] for number in numbers},
        edges=[edges[at] for at in drawn],
        hops={nodes[number].id: hops_of[number] for number in numbers},
        truncated=around.reached.truncated or len(drawn) < len(around.edges),
    )


class _Around:
    """What lies around seeds, as arrays over N nodes and E edges."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        seeds: Mapping[str, float],
        along: EdgeFilter,
        *,
        hops: int,
        limit: int,
    ) -> None:
        import numpy as np

        for node, weight in seeds.items():
            if not 0.0 < weight < math.inf:
                raise ConfigError(f"The weight of {node!r} must be above 0, not {weight!r}")
        way: Along = along_of(connection, along)
        known = numbers_of(connection, seeds)
        roots = [known[node] for node in seeds if node in known]
        self.reached = reach(connection, roots, way, hops=hops, limit=max(limit, len(roots)))
        self.numbers = list(self.reached.hops)
        places = {number: at for at, number in enumerate(self.numbers)}
        rows = edges_between(connection, self.numbers, way)
        rows.sort(key=operator.itemgetter(3))
        self.starts: NDArray[np.int64] = np.array([places[row[0]] for row in rows], dtype=np.int64)
        self.ends: NDArray[np.int64] = np.array([places[row[1]] for row in rows], dtype=np.int64)
        self.strengths: NDArray[np.float64] = np.array([row[2] for row in rows], dtype=np.float64)
        self.edges = [row[3] for row in rows]
        self._restarts: NDArray[np.float64] = np.zeros(len(self.numbers))
        for node, weight in seeds.items():
            if node in known:
                self._restarts[places[known[node]]] += weight

    def visits(self, restart: float) -> NDArray[np.float64]:
        """How often a walk is at every node, [N]."""
        if not len(self._restarts):
            return self._restarts
        return personalised_pagerank(
            self.starts, self.ends, self.strengths, self._restarts, restart=restart
        )


class _Edges:
    """Records of edges by position, read when they are asked for, likely ones together."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        around: _Around,
        shares: NDArray[np.float64],
        names: Names,
    ) -> None:
        self._connection = connection
        self._around = around
        self._likely = iter((-shares).argsort(kind="stable").tolist())
        self._names = names
        self._read: dict[int, Edge] = {}

    def __getitem__(self, at: int) -> Edge:
        if at not in self._read:
            some = sorted({at, *itertools.islice(self._likely, _READ_AT_ONCE)} - self._read.keys())
            around = self._around
            ends = {int(places[one]) for one in some for places in (around.starts, around.ends)}
            nodes = nodes_by_number(
                self._connection, [around.numbers[end] for end in ends], self._names
            )
            edges = edges_among(
                self._connection, [around.edges[one] for one in some], nodes, self._names
            )
            self._read.update(zip(some, edges, strict=True))
        return self._read[at]
