"""The walk and the sample."""

from __future__ import annotations

import pytest

from reverie.errors import ConfigError
from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch, EdgeFilter
from tests.contract.graph_examples import OneStore, chain, chunk, link, thing


class Walking(OneStore):
    async def test_walk(self, store: GraphStore) -> None:
        await store.write(chain("a", "b", "c", "d", "e"))
        found = await store.walk({"a": 1.0})
        assert [f.node.id for f in found] == ["a", "b", "c", "d"]  # e is four steps away
        assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
        assert sum(f.score for f in found) == pytest.approx(1.0, abs=1e-3)
        assert [f.node.id for f in await store.walk({"a": 1.0}, limit=2)] == ["a", "b"]
        assert {f.node.id for f in await store.walk({"a": 1.0}, hops=1)} == {"a", "b"}
        assert len(await store.walk({"c": 1.0}, hops=4, most_nodes=3)) == 3

    async def test_weights_and_seeds_steer_it(self, store: GraphStore) -> None:
        await store.write(Batch(edges=[link("a", "b", weight=1.0), link("a", "c", weight=9.0)]))
        scores = {f.node.id: f.score for f in await store.walk({"a": 1.0})}
        assert scores["c"] == pytest.approx(9 * scores["b"], rel=1e-3)
        more = {f.node.id: f.score for f in await store.walk({"a": 1.0, "b": 3.0, "gone": 5.0})}
        assert more["b"] > scores["b"]

    async def test_it_goes_where_the_filter_lets_it(self, store: GraphStore) -> None:
        await store.write(Batch([chunk(1), chunk(2)], [link("a", "chunk:1"), link("chunk:1", "b")]))
        await store.write(Batch(edges=[link("a", "c", status="hypothesis"), link("a", "chunk:2")]))
        chunks = await store.walk({"a": 1.0}, kinds=["chunk"])
        assert [f.node.id for f in chunks] == ["chunk:1", "chunk:2"]
        assert chunks[0].node == chunk(1)
        assert {f.node.id for f in await store.walk({"a": 1.0})} == {
            *("a", "b", "chunk:1", "chunk:2"),
        }
        guesses = EdgeFilter(statuses=["hypothesis"])
        assert {f.node.id for f in await store.walk({"a": 1.0}, along=guesses)} == {"a", "c"}

    async def test_no_walk(self, store: GraphStore) -> None:
        await store.write(Batch([thing("alone")]))
        assert await store.walk({}) == []
        assert await store.walk({"nowhere": 1.0}) == []
        assert await store.walk({"alone": 1.0}, limit=0) == []
        (only,) = await store.walk({"alone": 0.2})
        assert (only.node, only.score) == (thing("alone"), pytest.approx(1.0))
        for weight in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ConfigError):
                await store.walk({"alone": weight})
        with pytest.raises(ConfigError):
            await store.walk({"alone": 1.0}, restart=0.0)

    async def test_sample(self, store: GraphStore) -> None:
        spokes = [link("hub", f"spoke number {n}", text="reaches out to") for n in range(30)]
        rims = [link(f"spoke number {n}", f"rim number {n}", text="ends at") for n in range(30)]
        await store.write(Batch(edges=[*spokes, *rims]))
        sizes = []
        for tokens in (0, 30, 200, 100_000):
            part = await store.sample({"hub": 1.0}, tokens=tokens, seed=3)
            again = await store.sample({"hub": 1.0}, tokens=tokens, seed=3)
            assert (list(again.nodes), again.edges) == (list(part.nodes), part.edges)
            assert _is_connected_from("hub", part.edges)
            assert {n for e in part.edges for n in (e.start, e.end)} <= set(part.nodes)
            written = sum(len(f"{e.start} {e.text} {e.end}") for e in part.edges)
            assert written / 4 <= tokens * 1.1 + 1
            sizes.append(len(part.edges))
        assert sizes[0] == 0
        assert 0 < sizes[1] < sizes[2] < sizes[3] == 60
        drawn = {
            tuple(e.end for e in (await store.sample({"hub": 1.0}, tokens=60, seed=s)).edges)
            for s in range(5)
        }
        assert len(drawn) > 1

    async def test_no_sample(self, store: GraphStore) -> None:
        await store.write(chain("a", "b"))
        assert list((await store.sample({"nowhere": 1.0}, tokens=100)).edges) == []
        assert list((await store.sample({}, tokens=100)).edges) == []
        facts = EdgeFilter(statuses=["hypothesis"])
        assert list((await store.sample({"a": 1.0}, tokens=100, along=facts)).edges) == []


def _is_connected_from(start: str, edges: object) -> bool:
    reached, left = {start}, list(edges)  # type: ignore[call-overload] # edges of a subgraph
    while near := [e for e in left if e.start in reached or e.end in reached]:
        reached |= {n for e in near for n in (e.start, e.end)}
        left = [e for e in left if e not in near]
    return not left
