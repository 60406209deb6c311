"""Neighbourhoods and shortest paths, under every filter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch, EdgeFilter
from tests.contract.graph_examples import (
    OneStore,
    causes,
    chain,
    chunk,
    link,
    pairs,
    thing,
)

_FORK = Batch(
    [chunk(1), thing("d", kind="outcome")],
    [
        link("a", "b", valid_from=100.0),
        link("c", "a", "calls", valid_from=100.0),
        causes("a", "does", "d", status="hypothesis", valid_from=100.0),
        link("a", "chunk:1", "mentions", valid_from=100.0),
        link("a", "old", valid_from=100.0, valid_to=200.0),
    ],
)
"""One step from a: along everything a filter can ask for."""

_FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"b", "c", "chunk:1"}),
    ({"statuses": ["fact", "hypothesis"]}, {"b", "c", "chunk:1", "d"}),
    ({"statuses": ["hypothesis"]}, {"d"}),
    ({"statuses": []}, set()),
    ({"relations": ["calls", "mentions"]}, {"c", "chunk:1"}),
    ({"relations": ["unheard_of"]}, set()),
    ({"kinds": ["chunk"]}, {"chunk:1"}),
    ({"kinds": ["outcome"]}, set()),
    ({"direction": "out"}, {"b", "chunk:1"}),
    ({"direction": "in"}, {"c"}),
    ({"at": 150.0}, {"b", "c", "chunk:1", "old"}),
    ({"at": 200.0}, {"b", "c", "chunk:1"}),
    ({"at": 99.0}, set()),
    ({"at": 100.0, "kinds": ["entity"], "direction": "out"}, {"b", "old"}),
]
"""What a filter lets through of it."""


class Paths(OneStore):
    async def test_neighbourhood(self, store: GraphStore) -> None:
        await store.write(chain("a", "b", "c", "d", "e"))
        for hops, reached in enumerate(("c", "bcd", "abcde", "abcde")):
            around = await store.neighbourhood(["c"], hops=hops)
            assert set(around.nodes) == set(reached)
            assert dict(around.hops) == {n: abs(ord(n) - ord("c")) for n in reached}
            assert list(around.hops.values()) == sorted(around.hops.values())
            assert list(around.nodes) == list(around.hops)
            assert not around.truncated
            inside = [p for p in ("ab", "bc", "cd", "de") if set(p) <= set(reached)]
            assert pairs(around.edges) == [(p[0], p[1]) for p in inside]
        assert around.nodes["a"] == thing("a")
        assert around.edges[0].start_label == "a"

    async def test_from_several_nodes(self, store: GraphStore) -> None:
        await store.write(chain("a", "b", "c", "d", "e"))
        around = await store.neighbourhood(["e", "a", "nowhere", "a"])
        assert dict(around.hops) == {"a": 0, "e": 0, "b": 1, "d": 1}
        assert pairs(around.edges) == [("a", "b"), ("d", "e")]
        assert dict((await store.neighbourhood(["nowhere"])).nodes) == {}
        assert dict((await store.neighbourhood([])).nodes) == {}

    async def test_edges_between_the_farthest_are_there(self, store: GraphStore) -> None:
        await store.write(
            Batch(edges=[link("a", "b"), link("a", "c"), link("c", "b"), link("b", "b")])
        )
        around = await store.neighbourhood(["a"])
        assert pairs(around.edges) == [("a", "b"), ("a", "c"), ("c", "b"), ("b", "b")]
        assert [edge.id for edge in around.edges] == [edge.id for edge in await store.edges()]

    async def test_the_nearest_are_kept(self, store: GraphStore) -> None:
        spokes = [link("hub", f"near {n}") for n in range(6)]
        rims = [link(f"near {n}", f"far {n}") for n in range(6)]
        await store.write(Batch(edges=[*rims, *spokes]))
        around = await store.neighbourhood(["hub"], hops=2, limit=9)
        assert sorted(around.hops.values()) == [0, *[1] * 6, *[2] * 2]
        assert around.truncated
        assert {n for edge in around.edges for n in (edge.start, edge.end)} == set(around.nodes)
        again = await store.neighbourhood(["hub"], hops=2, limit=9)
        assert list(again.nodes) == list(around.nodes)
        assert again.edges == around.edges
        exactly = await store.neighbourhood(["hub"], hops=2, limit=13)
        assert (len(exactly.nodes), exactly.truncated) == (13, False)
        few = await store.neighbourhood(["hub"], hops=2, limit=3)
        assert (len(few.nodes), few.truncated) == (3, True)
        assert "hub" in few.nodes
        assert dict((await store.neighbourhood(["hub"], limit=0)).nodes) == {}

    async def test_the_strongest_are_first(self, store: GraphStore) -> None:
        strengths = {"c": (1.0, None), "a": (1.0, None), "d": (4.0, 0.5), "b": (4.0, 0.1)}
        await store.write(
            Batch(
                edges=[
                    link("hub", node, weight=weight, confidence=confidence)
                    for node, (weight, confidence) in strengths.items()
                ]
            )
        )
        around = await store.neighbourhood(["hub"])
        assert list(around.nodes) == ["hub", "d", "a", "c", "b"]
        assert list((await store.neighbourhood(["hub"], limit=3)).nodes) == ["hub", "d", "a"]

    async def test_filters(self, store: GraphStore) -> None:
        await store.write(_FORK)
        await store.write(chain("b", "behind"))
        for fields, reached in _FILTERS:
            along = EdgeFilter(**fields)
            around = await store.neighbourhood(["a"], along=along)
            assert set(around.nodes) == {"a", *reached}, along
            ends = {n for edge in around.edges for n in (edge.start, edge.end)}
            assert ends == ({"a", *reached} if reached else set()), along
            for node in ("b", "d", "old"):
                path = await store.shortest_path("a", node, most_hops=1, along=along)
                assert (path is not None) == (node in reached), along

    async def test_what_was_valid_then(self, store: GraphStore) -> None:
        a, _ = await store.write(chain("a", "b", "c", valid_from=1000.0))
        await store.invalidate([a], at=2000.0)
        then, later = EdgeFilter(at=1500.0), EdgeFilter(at=2500.0)
        assert set((await store.neighbourhood(["b"], along=then)).nodes) == {"a", "b", "c"}
        assert set((await store.neighbourhood(["b"], along=later)).nodes) == {"b", "c"}
        assert set((await store.neighbourhood(["b"])).nodes) == {"b", "c"}

    async def test_shortest_path(self, store: GraphStore) -> None:
        await store.write(chain("a", "b", "c", "d", "e"))
        await store.write(chain("a", "x", "d", "y"))
        path = await store.shortest_path("a", "e")
        assert path is not None
        assert list(path.nodes) == ["a", "x", "d", "e"]
        assert pairs(path.edges) == [("a", "x"), ("x", "d"), ("d", "e")]
        assert dict(path.hops) == {"a": 0, "x": 1, "d": 2, "e": 3}
        back = await store.shortest_path("e", "a")
        assert back is not None
        assert list(back.nodes) == ["e", "d", "x", "a"]
        assert pairs(back.edges) == [("d", "e"), ("x", "d"), ("a", "x")]
        assert back.nodes["x"] == thing("x")

    async def test_no_path(self, store: GraphStore) -> None:
        await store.write(chain("a", "b", "c"))
        await store.write(chain("other", "island"))
        assert await store.shortest_path("a", "c", most_hops=1) is None
        assert await store.shortest_path("a", "island") is None
        assert await store.shortest_path("a", "nowhere") is None
        assert await store.shortest_path("nowhere", "nowhere") is None
        assert await store.shortest_path("c", "a", along=EdgeFilter(direction="out")) is None
        path = await store.shortest_path("c", "a", along=EdgeFilter(direction="in"))
        assert path is not None
        assert list(path.nodes) == ["c", "b", "a"]
        same = await store.shortest_path("a", "a", most_hops=0)
        assert same is not None
        assert (list(same.nodes), list(same.edges)) == (["a"], [])

    async def test_a_path_keeps_to_its_filter(self, store: GraphStore) -> None:
        await store.write(Batch([chunk(1)], [link("a", "chunk:1"), link("chunk:1", "b")]))
        await store.write(chain("a", "c", "d", "b", status="hypothesis"))
        either = EdgeFilter(statuses=("fact", "hypothesis"))
        path = await store.shortest_path("a", "b", along=either)
        assert path is not None
        assert list(path.nodes) == ["a", "chunk:1", "b"]
        things = await store.shortest_path("a", "b", along=replace(either, kinds=["entity"]))
        assert things is not None
        assert list(things.nodes) == ["a", "c", "d", "b"]
        only = EdgeFilter(kinds=["entity"])
        assert await store.shortest_path("a", "b", along=only) is None
