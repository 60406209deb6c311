"""The SQLite graph store: what goes in once, what is found, and what counts as a fact."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.graph.sqlite import SqliteGraph, node_name
from reverie.knowledge.graph.store import GraphStore
from reverie.knowledge.graph.triplet import Triplet

D = 8
DROP = Triplet("a ball", "is dropped", "it falls", source="book")
BOUNCE = Triplet("the ball", "hits the ground", "it bounces", source="book")
ICE = Triplet("ice", "gets warm", "it melts", source="book")


def axis(*numbers: int) -> NDArray[np.float32]:
    """Unit vectors along the numbered axes, [N, D]: similarity 1 to themselves, 0 to others."""
    return np.eye(D, dtype=np.float32)[list(numbers)]


@asynccontextmanager
async def opened(
    path: Path, embedder: str = "test", dimension: int = D
) -> AsyncIterator[GraphStore]:
    store = await SqliteGraph.open(path, embedder=embedder, dimension=dimension)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[GraphStore]:
    async with opened(tmp_path / "graph.sqlite") as graph:
        yield graph


async def test_a_stored_fact_is_found_by_its_vector_with_its_provenance(store: GraphStore) -> None:
    told = replace(DROP, run="r1", branch=2, expert="causal", model="m", confidence=0.75)
    (identity,) = await store.upsert([told], axis(0))

    (match,) = await store.similar(axis(0)[0])

    assert match.id == identity
    assert match.triplet == told
    assert match.similarity == pytest.approx(1.0)


async def test_the_most_similar_come_first_and_only_above_the_minimum(store: GraphStore) -> None:
    await store.upsert([DROP, BOUNCE, ICE], axis(0, 1, 2))
    question = np.array([0.8, 0.55, 0.1, 0, 0, 0, 0, 0], dtype=np.float32)

    matches = await store.similar(question)

    assert [match.triplet for match in matches] == [DROP, BOUNCE]
    assert [m.triplet for m in await store.similar(question, limit=1)] == [DROP]
    assert len(await store.similar(question, minimum=0.0)) == 3


async def test_the_same_statement_of_the_same_source_is_one_edge(store: GraphStore) -> None:
    first = await store.upsert([DROP, DROP], axis(0, 0))
    again = await store.upsert([replace(DROP, what="A  ball", result="It falls.")], axis(0))

    assert first == [again[0]] * 2
    assert await store.count() == 1


async def test_two_sources_are_two_edges_but_one_match(store: GraphStore) -> None:
    await store.upsert([DROP, replace(DROP, source="another book")], axis(0, 0))

    assert await store.count() == 2
    assert len(await store.similar(axis(0)[0])) == 1


async def test_hypotheses_ground_nothing_unless_asked_for(store: GraphStore) -> None:
    dreamed = replace(DROP, result="it flies", status="hypothesis", source="dream", run="r1")
    await store.upsert([dreamed], axis(0))

    assert await store.similar(axis(0)[0]) == []
    (match,) = await store.similar(axis(0)[0], statuses=("fact", "hypothesis"))
    assert match.triplet == dreamed
    assert (await store.count(status="fact"), await store.count(status="hypothesis")) == (0, 1)


async def test_an_invalidated_fact_is_not_found_and_may_be_stated_anew(store: GraphStore) -> None:
    ids = await store.upsert([DROP], axis(0))

    assert await store.invalidate([*ids, "unknown", "999"]) == 1
    assert await store.invalidate(ids) == 0
    assert await store.similar(axis(0)[0]) == []
    assert await store.count() == 0

    anew = await store.upsert([DROP], axis(0))
    assert anew != ids
    assert len(await store.similar(axis(0)[0])) == 1


async def test_expansion_follows_shared_things_hop_by_hop(store: GraphStore) -> None:
    chain = [
        Triplet("rain", "falls", "the street is wet"),
        Triplet("the street is wet", "freezes", "ice covers the road"),
        Triplet("ice covers the road", "stays", "cars slide"),
    ]
    ids = await store.upsert(chain, axis(0, 1, 2))

    one = await store.expand(ids[:1])
    two = await store.expand(ids[:1], hops=2)

    assert [(n.id, n.hops) for n in one] == [(ids[1], 1)]
    assert [(n.id, n.hops) for n in two] == [(ids[1], 1), (ids[2], 2)]
    assert await store.expand(ids[:1], hops=2, limit=1) == one
    assert await store.expand([]) == []


async def test_expansion_passes_by_hypotheses_and_what_is_no_longer_valid(
    store: GraphStore,
) -> None:
    ids = await store.upsert(
        [DROP, BOUNCE, replace(BOUNCE, result="it sings", status="hypothesis")], axis(0, 1, 2)
    )

    assert [n.triplet for n in await store.expand(ids[:1])] == [BOUNCE]
    await store.invalidate(ids[1:2])
    assert await store.expand(ids[:1]) == []


async def test_replacing_a_source_ends_what_it_no_longer_says(store: GraphStore) -> None:
    await store.upsert([replace(ICE, source="other")], axis(3))

    assert await store.replace_source("book", "1", [DROP, BOUNCE], axis(0, 1))
    assert not await store.replace_source("book", "1", [ICE], axis(2))
    assert await store.count() == 3
    assert await store.replace_source("book", "2", [DROP, ICE], axis(0, 2))

    assert await store.source_version("book") == "2"
    assert await store.count() == 3
    assert await store.similar(axis(1)[0]) == []


async def test_only_a_sources_own_facts_can_replace_it(store: GraphStore) -> None:
    with pytest.raises(ConfigError, match="can replace that source"):
        await store.replace_source("film", "1", [DROP], axis(0))


async def test_another_embedders_vectors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    async with opened(path) as store:
        await store.upsert([DROP], axis(0))

    with pytest.raises(KnowledgeUnavailable, match="embedder test") as caught:
        await SqliteGraph.open(path, embedder="other", dimension=D)
    assert "embedded anew" in caught.value.hint
    with pytest.raises(KnowledgeUnavailable, match="16"):
        await SqliteGraph.open(path, embedder="test", dimension=16)


async def test_an_embedder_that_came_second_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    async with opened(path) as first, opened(path, embedder="other") as second:
        await first.upsert([DROP], axis(0))
        with pytest.raises(KnowledgeUnavailable, match="embedder test"):
            await second.upsert([ICE], axis(1))
        assert await first.count() == 1


@pytest.mark.parametrize(("embedder", "dimension"), [("other", D), ("test", D * 2)])
async def test_an_embedder_that_came_second_cannot_compare(
    tmp_path: Path, embedder: str, dimension: int
) -> None:
    path = tmp_path / "graph.sqlite"
    async with opened(path) as first, opened(path, embedder, dimension) as second:
        assert await second.similar(np.eye(dimension, dtype=np.float32)[0]) == []
        await first.upsert([DROP], axis(0))
        with pytest.raises(KnowledgeUnavailable, match="embedder test"):
            await second.similar(np.eye(dimension, dtype=np.float32)[0])
        assert len(await first.similar(axis(0)[0])) == 1


@pytest.mark.parametrize(
    "vectors",
    [axis(0, 1), np.zeros((1, D + 1), np.float32), np.full((1, D), np.nan, np.float32)],
    ids=["too many", "too long", "not finite"],
)
async def test_vectors_that_do_not_fit_are_refused(
    store: GraphStore, vectors: NDArray[np.float32]
) -> None:
    with pytest.raises(ConfigError):
        await store.upsert([DROP], vectors)
    assert await store.count() == 0


@pytest.mark.parametrize(
    "vector",
    [axis(0)[0][:-1], axis(0, 1), np.full(D, np.inf, np.float32)],
    ids=["too short", "two", "not finite"],
)
async def test_a_question_s_vector_that_does_not_fit_is_refused(
    store: GraphStore, vector: NDArray[np.float32]
) -> None:
    await store.upsert([DROP], axis(0))

    with pytest.raises(ConfigError):
        await store.similar(vector)


async def test_a_triplet_without_words_is_refused(store: GraphStore) -> None:
    with pytest.raises(ConfigError, match="empty field"):
        await store.upsert([replace(DROP, action=" ")], axis(0))


async def test_text_that_only_looks_like_sql_is_text(store: GraphStore) -> None:
    odd = Triplet("x'); DROP TABLE edges; --", 'is "quoted" %_', "nothing?", source="'")
    await store.upsert([odd, replace(DROP, result="half a \ud83d smile")], axis(0, 1))

    assert (await store.similar(axis(0)[0]))[0].triplet == odd
    assert (await store.similar(axis(1)[0]))[0].triplet.result == "half a ? smile"


async def test_what_another_connection_writes_is_found(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    async with opened(path) as ours, opened(path) as other:
        assert await ours.similar(axis(0)[0]) == []
        ids = await other.upsert([DROP], axis(0))
        assert len(await ours.similar(axis(0)[0])) == 1
        await other.invalidate(ids)
        assert await ours.similar(axis(0)[0]) == []


async def test_many_tasks_may_use_one_store_at_once(store: GraphStore) -> None:
    async def one(number: int) -> None:
        told = Triplet(f"thing {number}", "moves", "it is elsewhere")
        await store.upsert([told], axis(number % D))
        assert await store.similar(axis(number % D)[0], limit=100)

    await asyncio.gather(*(one(number) for number in range(40)))

    assert await store.count() == 40


def write_facts(path: Path, first: int) -> None:
    async def write() -> None:
        async with opened(path) as store:
            for number in range(first, first + 30):
                told = Triplet(f"thing {number % 40}", "moves", "it is elsewhere")
                await store.upsert([told], axis(number % D))

    asyncio.run(write())


async def test_two_processes_writing_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=write_facts, args=(path, first)) for first in (0, 20)]
    for child in children:
        child.start()
    for child in children:
        await asyncio.to_thread(child.join)

    assert [child.exitcode for child in children] == [0, 0]
    async with opened(path) as store:
        assert await store.count() == 40


async def test_a_damaged_store_begins_anew_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    path.write_bytes(b"no database at all, but long enough to look at" * 100)

    async with opened(path) as store:
        assert "was damaged" in store.notices[0]
        assert await store.count() == 0


@given(st.text())
def test_a_node_name_is_already_normal(text: str) -> None:
    name = node_name(text)

    assert name == " ".join(name.split())
    assert node_name(f"  {text}  ") == name


@pytest.mark.parametrize("text", ["a ball", "The  ball.", "BALL", "an ball", "ball"])
def test_articles_case_and_spaces_do_not_make_another_thing(text: str) -> None:
    assert node_name(text) == "ball"
