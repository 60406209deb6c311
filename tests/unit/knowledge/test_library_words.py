"""Search by words: what a query is taken for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reverie.knowledge.library.fulltext import FullTextSource, any_word, words_of
from reverie.knowledge.search.records import Query
from reverie.settings import Settings
from tests.unit.knowledge.library_parts import Parts


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("How does the tide rise?", ["tide", "rise"]),
        ("what is it", ["what", "is", "it"]),
        ("count_boats(harbour)", ["count", "boats", "harbour"]),
        ("Straße STRASSE", ["strasse"]),
        ("", []),
        ("\0\x1b -- ; \" '", []),
    ],
)
def test_the_words_of_a_query(query: str, words: list[str]) -> None:
    assert words_of(query) == words


HOSTILE = [
    'tide" OR "',
    "tide NEAR/2 sea",
    "tide AND NOT sea",
    "tide*",
    "title:tide",
    "^tide",
    "(tide",
    "tide) OR (1=1",
    "{title name}: tide",
    "'; DROP TABLE chunks; -- tide",
    "\0tide\0",
    "tide " * 50_000,
    " ".join(f"word{n}" for n in range(5000)) + " tide",
    "tide \ud800",
    "MATCH (n) DETACH DELETE n tide",
]


async def test_any_text_is_words(settings: Settings, tmp_path: Path) -> None:
    parts = Parts(settings)
    (tmp_path / "sea.txt").write_text("The tide pulls the sea. word1 word2")
    await parts.ingest(tmp_path / "sea.txt")
    async with parts.library() as library:
        for query in HOSTILE:
            result = await library.search(query)
            assert result.warnings == ()
            assert [place.source for place in result.hits[0].places][:2] == ["vector", "fulltext"]
        assert (await library.status()).chunks == 1


def test_a_query_of_only_signs_matches_nothing() -> None:
    assert any_word('"*^:()') == ""


@pytest.mark.parametrize(
    ("query", "text"),
    [("boats waiting", "A boat waits."), ("cafe", "The café opens."), ("HARBOUR", "harbours")],
)
async def test_other_forms_of_a_word_are_found(
    settings: Settings, tmp_path: Path, query: str, text: str
) -> None:
    parts = Parts(settings)
    (tmp_path / "one.txt").write_text(text)
    (tmp_path / "two.txt").write_text("Nothing of the kind.")
    await parts.ingest(tmp_path / "one.txt", tmp_path / "two.txt")

    async with parts.library() as library:
        ranked = await FullTextSource(library._store.database).rank(Query(query), 5, {})
        texts = await asyncio.to_thread(library._store.texts, [one.id for one in ranked])
    assert [document.text for document in texts.values()] == [text]
