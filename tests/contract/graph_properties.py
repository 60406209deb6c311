"""What holds for every small graph, against networkx."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch, EdgeFilter
from tests.contract.graph_examples import OneStore, link, thing

networkx = pytest.importorskip("networkx", reason="networkx is what graphs are compared with")

_NODES = 7
_EDGES = st.lists(
    st.tuples(
        st.integers(0, _NODES - 1),
        st.integers(0, _NODES - 1),
        st.sampled_from((0.5, 1.0, 3.0)),
        st.sampled_from(("fact", "fact", "hypothesis")),
    ),
    max_size=14,
)
_worlds = itertools.count()
"""Every graph has names of its own, so one store holds them all."""


class Properties(OneStore):
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
        ],
    )
    @given(edges=_EDGES, direction=st.sampled_from(("both", "out", "in")), hops=st.integers(0, 3))
    async def test_like_networkx(
        self, store: GraphStore, edges: list[Any], direction: Any, hops: int
    ) -> None:
        world = next(_worlds)
        names = [f"{world} {n}" for n in range(_NODES)]
        graph, both = networkx.MultiDiGraph(), networkx.MultiGraph()
        graph.add_nodes_from(names)
        both.add_nodes_from(names)
        written = {}
        for start, end, weight, status in edges:
            # The same edge again takes the new weight.
            written[start, end, status] = link(
                names[start], names[end], weight=weight, status=status
            )
        await store.write(Batch([thing(name) for name in names], list(written.values())))
        facts = [edge for edge in written.values() if edge.status == "fact"]
        for edge in facts:
            graph.add_edge(edge.start, edge.end)
            both.add_edge(edge.start, edge.end, weight=edge.weight)
        ways = {"out": graph, "in": graph.reverse(), "both": both}[direction]
        along = EdgeFilter(direction=direction)

        near = networkx.single_source_shortest_path_length(ways, names[0], cutoff=hops)
        around = await store.neighbourhood([names[0]], hops=hops, along=along)
        assert dict(around.hops) == dict(near)
        assert sorted((e.start, e.end) for e in around.edges) == sorted(
            (e.start, e.end) for e in facts if e.start in near and e.end in near
        )

        path = await store.shortest_path(names[0], names[1], along=along)
        if networkx.has_path(ways, names[0], names[1]):
            length = networkx.shortest_path_length(ways, names[0], names[1])
            assert path is not None
            assert len(path.edges) == length
            assert len(path.nodes) == length + 1
            for step, edge in enumerate(path.edges):
                ends = list(path.nodes)[step : step + 2]
                assert [edge.start, edge.end] in (ends, ends[::-1])
        else:
            assert path is None

        seeds = {names[0]: 1.0, names[1]: 2.0}
        reached = set().union(*(networkx.node_connected_component(both, node) for node in seeds))
        ranks = networkx.pagerank(
            both.subgraph(reached),
            alpha=0.5,
            personalization=seeds,
            dangling=seeds,
            tol=1e-10,
        )
        walked = {f.node.id: f.score for f in await store.walk(seeds, hops=_NODES)}
        assert walked == pytest.approx(ranks, abs=1e-4)

        drawn = await store.sample(seeds, tokens=40, seed=world)
        assert {(e.start, e.end) for e in drawn.edges} <= {(e.start, e.end) for e in facts}
        assert set(drawn.nodes) <= reached
