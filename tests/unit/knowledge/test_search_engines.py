"""Engines over documents in memory: real indexes, a hashing embedder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.errors import ConfigError, KnowledgeUnavailable, ModelUnavailable
from reverie.knowledge.search import Document, Query, create_search_engine
from reverie.knowledge.search.bm25 import Bm25
from reverie.knowledge.search.document_graph import DocumentGraph
from reverie.knowledge.search.exact import ExactVectors
from reverie.knowledge.search.factory import SOURCES, DocumentSearch, SearchKind
from reverie.knowledge.search.names import KnownNames, name_key, title_name
from tests.unit.conftest import HashEmbedder

DOCUMENTS = [
    {
        "id": "film",
        "title": "The Quiet Harbour",
        "text": "A drama directed by Mira Solano in 1986.",
    },
    {"id": "director", "title": "Mira Solano", "text": "Raised by fishers near Velmora."},
    {"id": "town", "title": "Velmora", "text": "Known for its lighthouse."},
    {"id": "ball", "title": "Ball", "text": "A round thing that falls to the ground when dropped."},
    {"id": "rain", "title": "Rain", "text": "Water that falls from clouds and wets the ground."},
    *({"id": f"n{i}", "text": f"Nothing in number {i} has to do with it."} for i in range(20)),
]
QUESTION = "What place does the maker of The Quiet Harbour know?"


def engine(kind: SearchKind, documents: Any = DOCUMENTS, **options: Any) -> DocumentSearch:
    options.setdefault("embedder", HashEmbedder())
    return create_search_engine(kind, documents=documents, **options)


@pytest.mark.parametrize("kind", SOURCES)
async def test_every_kind_finds_what_the_question_is_about(kind: SearchKind) -> None:
    async with engine(kind) as made:
        result = await made.search("What falls to the ground when dropped?", limit=3)

    assert result.hits[0].id == "ball"
    assert result.hits[0].title == "Ball"
    assert len(result.hits) <= 3
    assert {p.source for hit in result.hits for p in hit.places} == set(SOURCES[kind])
    assert result.warnings == ()


async def test_the_walk_finds_what_only_another_document_leads_to() -> None:
    async with engine("bm25") as words, engine("graph", vector_weight=0) as graph:
        matched = [hit.id for hit in (await words.search(QUESTION)).hits]
        walked = [hit.id for hit in (await graph.search(QUESTION, limit=3)).hits]

    assert matched == ["film"]  # no other shares a word with the question
    assert walked == ["film", "director", "town"]


async def test_the_same_search_gives_the_same_result() -> None:
    async with engine("graph") as one, engine("graph") as two:
        first, again = await one.search(QUESTION), await one.search(QUESTION)
        other = await two.search(QUESTION)

    assert first.hits == again.hits == other.hits


async def test_strings_documents_and_mappings_are_searched_alike() -> None:
    for documents in (
        ["the ball falls", "the rain falls"],
        [Document("the ball falls"), Document("the rain falls")],
        [{"text": "the ball falls"}, {"text": "the rain falls", "metadata": {"page": 2}}],
        ({"text": "the ball falls", "id": 0}, {"text": "the rain falls", "id": 1}),
    ):
        async with engine("bm25", documents) as made:
            result = await made.search("rain")
        assert [hit.id for hit in result.hits] == ["1"]


async def test_metadata_comes_back() -> None:
    async with engine("bm25", [{"text": "rain", "metadata": {"page": 2}}]) as made:
        assert (await made.search("rain")).hits[0].metadata == {"page": 2}


async def test_documents_are_indexed_once_at_the_first_search() -> None:
    class Counting(HashEmbedder):
        embedded = 0

        async def embed(self, texts: Sequence[str]) -> Any:
            await asyncio.sleep(0.01)
            self.embedded += len(texts)
            return await super().embed(texts)

    counting = Counting()
    made = engine("hybrid", embedder=counting)
    assert counting.embedded == 0

    results = await asyncio.gather(*(made.search("rain") for _ in range(4)))

    assert counting.embedded == len(DOCUMENTS) + 4
    assert all(result.hits == results[0].hits for result in results)


async def test_while_the_embedder_is_down_words_are_searched() -> None:
    class Down(HashEmbedder):
        gone = ""

        async def embed(self, texts: Sequence[str]) -> Any:
            if self.gone == "all" or (self.gone and len(texts) > 1):
                raise ModelUnavailable("the embedder is down", hint="start it")
            return await super().embed(texts)

    embedder = Down()
    made, by_meaning = engine("hybrid", embedder=embedder), engine("vector", embedder=embedder)
    for embedder.gone, said in (("all", "The query cannot be embedded"), ("texts", "Without 'vec")):
        result = await made.search("rain", limit=1)
        assert result.hits[0].id == "rain"
        assert [warning.startswith(said) for warning in result.warnings] == [True]
        for asked in (made.index(), made.lists("rain"), by_meaning.search("rain")):
            with pytest.raises(ModelUnavailable, match="is down"):
                await asked
    embedder.gone = ""
    result = await made.search("rain", limit=1)
    assert result.warnings == ()
    assert {place.source for place in result.hits[0].places} == {"vector", "bm25"}


async def test_given_vectors_are_not_made_again() -> None:
    class Asked(HashEmbedder):
        texts: list[str] = []  # noqa: RUF012  # one object, one test

        async def embed(self, texts: Sequence[str]) -> Any:
            self.texts += texts
            return await super().embed(texts)

    texts = ["the ball", "the rain"]
    vectors = await HashEmbedder().embed(texts)
    async with engine("vector", texts, embedder=Asked(), vectors=vectors) as made:
        assert (await made.search("rain", limit=1)).hits[0].id == "1"
    assert Asked.texts == ["rain"]


async def test_a_closed_engine_says_so() -> None:
    made = engine("bm25")
    await made.search("rain")

    await made.close()
    await made.close()

    with pytest.raises(KnowledgeUnavailable, match="closed"):
        await made.search("rain")


async def test_weights_choose_between_sources() -> None:
    async with engine("graph", vector_weight=0, graph_weight=0) as made:
        lists = await made.lists("rain")
        assert list(lists) == ["bm25"]
    async with engine("graph") as made:
        assert list(await made.lists("rain")) == ["vector", "bm25", "graph"]


@pytest.mark.parametrize(
    ("kind", "documents", "options", "said"),
    [
        ("magic", ["x"], {}, "'magic'"),
        ("bm25", [], {}, "no documents"),
        ("bm25", "one text", {}, "is one str"),
        ("bm25", ["x", "  "], {}, "Document 1 has no text"),
        ("bm25", [{"id": "1"}], {}, "Document 0 has no text"),
        ("bm25", [{"text": "x", "titel": "y"}], {}, "'titel'"),
        ("bm25", [{"text": "x", "title": 1}], {}, "title of document 0"),
        ("bm25", [{"text": None}], {}, "text of document 0"),
        ("bm25", [{"text": "x", "metadata": 1}], {}, "metadata of document 0"),
        ("bm25", [3], {}, "type int"),
        ("bm25", [Document("x", id="a"), Document("y", id="a")], {}, "id 'a'"),
        ("bm25", [Document("x", id="1"), Document("y")], {}, "id '1'"),
        ("bm25", ["x"], {"graph_weight": 1.0}, "no graph_weight"),
        ("hybrid", ["x"], {"vector_weight": -1.0}, "vector_weight is -1"),
        ("hybrid", ["x"], {"vector_weight": float("nan")}, "vector_weight is nan"),
        ("hybrid", ["x"], {"vector_weight": 0, "bm25_weight": 0}, "Every weight"),
        ("vector", ["x"], {"vectors": np.zeros((2, 64), dtype=np.float32)}, "2 vectors"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    kind: Any, documents: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        engine(kind, documents, **options)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(
    "query", ["?", "the of and", '") OR 1=1 --', "\0\ud800", "<search>x</search>", "word " * 5000]
)
async def test_any_query_is_only_words(kind: SearchKind, query: str) -> None:
    async with engine(kind, ["one text", "another \ud800 <search>text</search>", "the"]) as made:
        result = await made.search(query)

    assert result.warnings == ()


async def test_bm25_is_saved_and_loaded_without_pickle(tmp_path: Path) -> None:
    ids, texts = ["a", "b", "ü"], ["rain falls", "a ball falls down", "snow"]
    built = Bm25.build(ids, texts)
    await asyncio.to_thread(built.save, tmp_path / "index")

    loaded = await asyncio.to_thread(Bm25.load, tmp_path / "index")

    for query in ("falls", "ball", "snow", "nothing"):
        assert await loaded.rank(Query(query), 10, {}) == await built.rank(Query(query), 10, {})
    written = await asyncio.to_thread(lambda: sorted((tmp_path / "index").iterdir()))
    assert {path.suffix for path in written} == {".npy", ".json"}
    for path in written:
        if path.suffix == ".npy":
            await asyncio.to_thread(np.load, path, allow_pickle=False)


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_damaged_bm25_index_is_refused(tmp_path: Path, damage: str) -> None:
    Bm25.build(["a"], ["rain"]).save(tmp_path)
    if damage == "missing":
        (tmp_path / "ids.json").unlink()
    elif damage == "cut":
        path = tmp_path / "data.csc.index.npy"
        path.write_bytes(path.read_bytes()[:20])
    else:
        (tmp_path / "ids.json").write_text('["a", "b"]')

    with pytest.raises(KnowledgeUnavailable, match="cannot be read"):
        Bm25.load(tmp_path)


async def test_bm25_orders_equal_texts_as_they_were_given() -> None:
    index = Bm25.build(["b", "a", "c"], ["rain", "rain", "rain"])

    assert [one.id for one in await index.rank(Query("rain"), 2, {})] == ["b", "a"]
    assert await index.rank(Query("snow"), 2, {}) == []


async def test_exact_vectors_are_ranked_by_cosine() -> None:
    exact = ExactVectors(["a", "b", "c"], np.eye(3, dtype=np.float32))
    query = Query("", np.array([0, 0.6, 0.8], dtype=np.float32))

    found = await exact.rank(query, 2, {})

    assert [(one.id, round(one.score, 3)) for one in found] == [("c", 0.8), ("b", 0.6)]
    with pytest.raises(ConfigError, match="same embedder"):
        await exact.rank(Query("", np.zeros(4, dtype=np.float32)), 2, {})
    with pytest.raises(ConfigError, match="same embedder"):
        await exact.rank(Query(""), 2, {})
    with pytest.raises(ConfigError, match="shape"):
        ExactVectors(["a"], np.eye(3, dtype=np.float32))
    with pytest.raises(ConfigError, match="finite"):
        ExactVectors(["a"], np.full((1, 3), np.nan, dtype=np.float32))


def test_known_names_are_found_as_whole_words() -> None:
    known = KnownNames(["The Quiet Harbour", "Velmora", "asyncio", "Harbour", "A.B.C. River"])

    assert known.inside("in the quiet harbour of Velmora") == {"quiet harbour", "velmora"}
    assert known.inside("VELMORA, a velmora") == {"velmora"}
    assert known.inside("Use asyncio. Harbours.") == {"asyncio"}
    assert known.inside("a harbour; the a.b.c. river") == {"a b c river"}
    assert known.inside("") == set()
    assert KnownNames([]).inside("x") == set()


def test_names_have_one_form() -> None:
    assert name_key("The  Y-combinator.") == name_key("y combinator") == "y combinator"
    assert title_name("Mercury (planet)") == "Mercury"
    assert title_name("(planet)") == "(planet)"


def test_a_walk_without_a_beginning_stays_nowhere() -> None:
    graph = DocumentGraph([Document("one Velmora"), Document("two Velmora"), Document("three")])

    assert not graph.walk("nothing of that", []).any()
    found = graph.walk("what is Velmora?", [])
    assert found[0] == pytest.approx(found[1])
    assert found[2] == 0
    assert graph.walk("three", [[2]])[2] == pytest.approx(1)
