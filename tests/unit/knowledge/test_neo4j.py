"""What of the Neo4j store needs no server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ConfigError
from reverie.knowledge.graph.neo4j.types import TYPES, type_of, types_of
from reverie.knowledge.graph.neo4j.words import indexed, lucene_query
from reverie.knowledge.graph.open import open_graph
from reverie.settings import Settings


async def test_without_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neo4j", None)
    settings = Settings.model_validate({"home": tmp_path, "neo4j": {"uri": "neo4j://127.0.0.1"}})
    with pytest.raises(ConfigError) as caught:
        await open_graph(settings, embedder="none", dimension=2)
    assert "pip install 'reverie[knowledge]'" in caught.value.hint


@given(st.text())
def test_a_query_is_words_alone(text: str) -> None:
    query = lucene_query(text)
    words = query.split(" OR ") if query else []
    assert all(word.isalnum() and word == word.casefold() for word in words)
    assert set(words) <= set(indexed([text]).split())


def test_what_the_analyser_would_drop_stays() -> None:
    assert indexed(["The Who, not_on Zürich"]) == "the0stop who not0stop on0stop zurich"
    assert lucene_query("Is it the WHO?") == "is0stop OR it0stop OR the0stop OR who"
    assert lucene_query("... !?") == ""


def test_types_are_never_made_of_text() -> None:
    assert type_of("causes") == "CAUSES"
    assert type_of("x]->() DETACH DELETE n //") == "RELATES"
    assert types_of([]) == "|".join(TYPES)
    assert types_of(["mentions", "loves", "hates"]) == "MENTIONS|RELATES"
