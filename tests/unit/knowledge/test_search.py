"""How a hybrid search asks its sources, and what it does when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from reverie.errors import ConfigError, KnowledgeUnavailable, ModelUnavailable
from reverie.knowledge.search.engine import HybridSearch
from reverie.knowledge.search.records import Document, Hit, Query, Ranked
from tests.unit.conftest import HashEmbedder


class Fixed:
    """A source that always finds the same."""

    wants_vector = False
    wants_found = False

    def __init__(self, name: str, *ids: str, error: Exception | None = None) -> None:
        self.name = name
        self.ids = ids
        self.error = error
        self.asked: list[tuple[Query, int, Mapping[str, Sequence[Ranked]]]] = []

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> list[Ranked]:
        self.asked.append((query, limit, found))
        if self.error is not None:
            raise self.error
        return [Ranked(text, 1 / place) for place, text in enumerate(self.ids, start=1)]


class Follows(Fixed):
    wants_found = True


class Means(Fixed):
    wants_vector = True


class Counting(HashEmbedder):
    def __init__(self, error: Exception | None = None) -> None:
        self.texts: list[str] = []
        self.error = error

    async def embed(self, texts: Sequence[str]) -> Any:
        self.texts += texts
        if self.error is not None:
            raise self.error
        return await super().embed(texts)


class Backwards:
    """A reranker that likes the last best."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.given: list[Sequence[Hit]] = []

    async def rerank(self, query: str, hits: Sequence[Hit], *, limit: int) -> list[Hit]:
        self.given.append(hits)
        if self.error is not None:
            raise self.error
        return [replace(hit, score=float(i)) for i, hit in enumerate(hits)][::-1][:limit]


async def texts(ids: Sequence[str]) -> dict[str, Document]:
    return {text: Document(f"text {text}", id=text, title="T") for text in ids if text != "gone"}


def search(*sources: Any, weights: Mapping[str, float] | None = None, **more: Any) -> HybridSearch:
    more.setdefault("embedder", None)
    return HybridSearch(sources, weights or {}, texts, **more)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


async def test_a_hit_says_what_every_source_thought_of_it() -> None:
    result = await search(Fixed("x", "a", "b"), Fixed("y", "b")).search("what?", limit=5)

    assert ids(result.hits) == ["b", "a"]
    first = result.hits[0]
    assert [(p.source, p.rank, p.score) for p in first.places] == [("x", 2, 0.5), ("y", 1, 1.0)]
    assert (first.text, first.title, result.query) == ("text b", "T", "what?")
    assert set(result.seconds) == {"x", "y", "texts", "all"}
    assert result.warnings == ()


async def test_sources_that_do_not_follow_others_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    class Waits(Fixed):
        async def rank(self, *given: Any) -> list[Ranked]:
            await both.wait()
            return await super().rank(*given)

    async with asyncio.timeout(5):
        result = await search(Waits("x", "a"), Waits("y", "b")).search("what?")

    assert ids(result.hits) == ["a", "b"]


async def test_one_that_follows_is_given_what_the_others_found() -> None:
    follows = Follows("graph", "c")
    result = await search(follows, Fixed("x", "a", "a", "b")).search("what?")

    ((_, limit, found),) = follows.asked
    assert found == {"x": [Ranked("a", 1.0), Ranked("b", 1 / 3)]}
    assert limit == 50
    assert set(ids(result.hits)) == {"a", "b", "c"}


async def test_the_question_is_embedded_once() -> None:
    embedder = Counting()
    one, two, none = Means("x", "a"), Means("y", "b"), Fixed("z", "c")

    await search(one, two, none, embedder=embedder).search("what?")

    assert embedder.texts == ["what?"]
    assert one.asked[0][0].vector is two.asked[0][0].vector
    assert one.asked[0][0].vector is not None

    await search(none, embedder=embedder).search("what?")
    assert embedder.texts == ["what?"]


async def test_a_source_that_fails_is_a_warning() -> None:
    for error, said in (
        (KnowledgeUnavailable("no server", hint="start it"), "Without 'x': no server. start it"),
        (ZeroDivisionError("oh"), "Without 'x': ZeroDivisionError: oh"),
    ):
        result = await search(Fixed("x", error=error), Fixed("y", "b")).search("what?")

        assert ids(result.hits) == ["b"]
        assert result.warnings == (said,)


async def test_when_the_question_cannot_be_embedded_other_sources_answer() -> None:
    means = Means("x", "a")
    embedder = Counting(ModelUnavailable("no model"))

    result = await search(means, Fixed("y", "b"), embedder=embedder).search("what?")

    assert ids(result.hits) == ["b"]
    assert result.warnings == ("The query cannot be embedded: no model",)
    assert means.asked == []


async def test_when_all_fail_the_error_is_raised() -> None:
    error = KnowledgeUnavailable("no server")
    with pytest.raises(KnowledgeUnavailable) as raised:
        await search(Fixed("x", error=ValueError("odd")), Fixed("y", error=error)).search("what?")
    assert raised.value is error

    with pytest.raises(KnowledgeUnavailable, match="ValueError: odd") as raised:
        await search(Fixed("x", error=ValueError("odd"))).search("what?")
    assert isinstance(raised.value.__cause__, ValueError)

    with pytest.raises(ModelUnavailable):
        await search(Means("x", "a"), embedder=Counting(ModelUnavailable("no model"))).search(
            "what?"
        )


async def test_one_that_follows_still_answers_when_the_others_fail() -> None:
    failed = Fixed("x", error=KnowledgeUnavailable("no server"))

    result = await search(failed, Follows("graph", "c")).search("what?")

    assert ids(result.hits) == ["c"]
    assert len(result.warnings) == 1


async def test_nothing_found_is_no_error() -> None:
    result = await search(Fixed("x")).search("what?")

    assert (result.hits, result.warnings) == ((), ())


async def test_weights_move_hits_and_zero_is_never_asked() -> None:
    x, y, z = Fixed("x", "a"), Fixed("y", "b"), Fixed("z", "c")

    result = await search(x, y, z, weights={"x": 1, "y": 2, "z": 0}).search("what?")

    assert ids(result.hits) == ["b", "a"]
    assert z.asked == []


async def test_a_text_that_is_gone_makes_room_for_the_next() -> None:
    result = await search(Fixed("x", "gone", "a", "b")).search("what?", limit=2)

    assert ids(result.hits) == ["a", "b"]


async def test_a_reranker_gets_three_candidates_a_hit() -> None:
    reranker = Backwards()
    many = Fixed("x", *(f"{i:02}" for i in range(40)))

    result = await search(many, reranker=reranker).search("what?", limit=2)

    assert ids(reranker.given[0]) == ["00", "01", "02", "03", "04", "05"]
    assert ids(result.hits) == ["05", "04"]
    assert [(p.source, p.rank, p.score) for p in result.hits[0].places] == [
        ("x", 6, 1 / 6),
        ("rerank", 1, 5.0),
    ]
    assert result.hits[0].score == 5.0
    assert "rerank" in result.seconds


async def test_without_its_reranker_a_search_answers_with_a_warning() -> None:
    reranker = Backwards(ModelUnavailable("it cannot be loaded"))

    result = await search(Fixed("x", "a", "b", "c"), reranker=reranker).search("what?", limit=2)

    assert ids(result.hits) == ["a", "b"]
    assert result.warnings == ("The hits are not reranked: it cannot be loaded",)


async def test_a_large_limit_asks_for_as_many() -> None:
    source = Fixed("x", *map(str, range(300)))

    result = await search(source).search("what?", limit=200)

    assert len(result.hits) == 200
    assert source.asked[0][1] == 200


async def test_an_empty_query_finds_nothing_and_a_limit_below_one_is_refused() -> None:
    source = Fixed("x", "a")

    assert (await search(source).search(" \n")).hits == ()
    assert source.asked == []
    with pytest.raises(ConfigError, match="limit"):
        await search(source).search("what?", limit=0)


async def test_being_cancelled_is_no_failed_source() -> None:
    class Sleeps(Fixed):
        async def rank(self, *given: Any) -> list[Ranked]:
            await asyncio.sleep(60)
            return []

    task = asyncio.create_task(search(Sleeps("x"), Fixed("y", "a")).search("what?"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("sources", "weights", "said"),
    [
        ([Fixed("x"), Fixed("x")], {}, "one name"),
        ([Fixed("x")], {"y": 1.0}, "no source"),
        ([Fixed("x")], {"x": -1.0}, "weight of 'x'"),
        ([Fixed("x")], {"x": float("nan")}, "weight of 'x'"),
        ([Fixed("x")], {"x": 0.0}, "above 0"),
        ([], {}, "above 0"),
        ([Means("x")], {}, "embedder"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    sources: list[Any], weights: dict[str, float], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        search(*sources, weights=weights)
