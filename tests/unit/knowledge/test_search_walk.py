"""The walk on a graph store, as a source of a search."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reverie.knowledge.graph.records import Batch, Edge, EdgeFilter, Node
from reverie.knowledge.graph.sqlite import SqliteGraph
from reverie.knowledge.search import Query, Ranked
from reverie.knowledge.search.graph_walk import GraphWalk

CHUNKS = ("film", "director", "town", "rain")
MENTIONS = (
    ("film", "quiet harbour"),
    ("film", "mira solano"),
    ("director", "mira solano"),
    ("director", "velmora"),
    ("town", "velmora"),
    ("rain", "clouds"),
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteGraph]:
    opened = await SqliteGraph.open(tmp_path / "graph.sqlite", embedder="none", dimension=4)
    things = sorted({thing for _, thing in MENTIONS})
    await opened.write(
        Batch(
            nodes=[
                *(Node(f"chunk:{name}", "chunk", name) for name in CHUNKS),
                *(Node(thing, "entity", thing) for thing in things),
            ],
            edges=[Edge(f"chunk:{chunk}", "mentions", thing) for chunk, thing in MENTIONS],
        )
    )
    yield opened
    await opened.close()


async def test_it_walks_from_what_the_question_names(store: SqliteGraph) -> None:
    found = await GraphWalk(store).rank(Query("Who made The Quiet Harbour?"), 10, {})

    assert [one.id for one in found] == ["film"]  # two hops: over a thing to its chunks
    further = await GraphWalk(store, hops=5).rank(Query("Who made The Quiet Harbour?"), 10, {})
    assert [one.id for one in further] == ["film", "director", "town"]
    assert further[0].score > further[1].score > further[2].score > 0


async def test_it_walks_from_what_others_found(store: SqliteGraph) -> None:
    found = {"vector": [Ranked("town", 0.9)], "fulltext": [Ranked("town", 3.0), Ranked("gone", 2)]}

    walked = await GraphWalk(store).rank(Query("a lighthouse"), 10, found)

    assert [one.id for one in walked] == ["town", "director"]


async def test_both_count(store: SqliteGraph) -> None:
    found = {"vector": [Ranked("rain", 0.9)]}

    walked = await GraphWalk(store).rank(Query("Tell me of Mira Solano"), 3, found)

    assert {one.id for one in walked} == {"rain", "film", "director"}


async def test_only_along_the_edges_that_are_asked_for(store: SqliteGraph) -> None:
    walk = GraphWalk(store, along=EdgeFilter(relations=("causes",)))

    walked = await walk.rank(Query("?"), 10, {"vector": [Ranked("film", 1.0)]})

    assert [one.id for one in walked] == ["film"]


async def test_without_a_beginning_it_finds_nothing(store: SqliteGraph) -> None:
    assert await GraphWalk(store).rank(Query("nothing of that"), 10, {}) == []
    assert await GraphWalk(store).rank(Query("?"), 10, {"vector": []}) == []
