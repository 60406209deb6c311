"""Entity resolution: what is the same, what never is, and that it can be undone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reverie.knowledge.extract.resolve import resolve_entities
from reverie.knowledge.extract.same_name import compared, name_of
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.graph.records import RESOLVED, Batch, Edge, Node, thing_id
from tests.unit.conftest import HashEmbedder


class Transcribing(HashEmbedder):
    """For which "kh" and "k" mean the same."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return await super().embed([text.lower().replace("kh", "k") for text in texts])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteGraph]:
    opened = await SqliteGraph.open(
        tmp_path / "graph.sqlite", embedder="hashed words", dimension=64
    )
    yield opened
    await opened.close()


async def add(store: SqliteGraph, *names: str, to: str = "thing") -> None:
    nodes = [Node(thing_id(name), "entity", name) for name in names]
    edges = [Edge(thing_id(name), "mentions", to, source="d") for name in names]
    await store.write(Batch(nodes, edges))


def pair(edge: Edge) -> tuple[str, str]:
    return edge.start, edge.end


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("e-mail", "Email", "letters"),
        ("São Paulo", "Sao Paulo", "letters"),
        ("Jean-Luc Godard", "Jean Luc Godard", "letters"),
        ("Aram Kachaturian", "Aram Khachaturian", "spelling"),
        ("colour theory", "color theory", "spelling"),
        # Options, hidden files and private names.
        ("--file", "file", "different"),
        (".profile", "profile", "different"),
        ("__init__", "init", "different"),
        ("class_", "class", "different"),
        # Numbers, versions, dates, persons.
        ("Python 3.1", "Python 31", "different"),
        ("Python 3.11", "Python 3.12", "different"),
        ("Apollo 11", "Apollo 13", "different"),
        ("May 4 1990", "May 5 1990", "different"),
        ("World War I", "World War II", "different"),
        ("George W. Bush", "George H. Bush", "different"),
        ("First Symphony", "Fifth Symphony", "different"),
        ("C", "C++", "different"),
        ("A*", "A#", "different"),
        ("Lilu (mythology)", "Lilu (album)", "different"),
        ("Lilu (mythology)", "Lilu", "different"),
        # More, other words, another order, an ending.
        ("white birch", "American white birch", "different"),
        ("organ pipe", "pipe organ", "different"),
        ("John Bartlett", "Robert Bartlett", "different"),
        ("slave trade", "slave trader", "different"),
        ("balance beam", "balance team", "different"),
        ("", "", "different"),
    ],
)
def test_names(one: str, other: str, verdict: str) -> None:
    assert compared(name_of(one), name_of(other)) == verdict
    assert compared(name_of(other), name_of(one)) == verdict


async def test_the_same_letters_are_the_same_thing(store: SqliteGraph) -> None:
    await add(store, "e-mail", "Email", "mail", "Apollo 11", "Apollo 13")
    await add(store, "Email", to="other")
    found = await resolve_entities(store)
    # Towards the one with more edges.
    assert [pair(edge) for edge in found.edges] == [("e-mail", "email")]
    (edge,) = await store.edges(source=RESOLVED)
    assert (edge.relation, edge.status, edge.text) == ("same_as", "fact", "the same letters")
    assert edge.confidence == pytest.approx(0.88)
    assert set(await store.nodes(["e-mail", "email"])) == {"e-mail", "email"}  # both are there


async def test_another_spelling_is_a_hypothesis_when_the_names_mean_the_same(
    store: SqliteGraph,
) -> None:
    await add(store, "Aram Kachaturian", "Aram Khachaturian", "white horse", "white house")
    assert (await resolve_entities(store)).edges == []
    found = await resolve_entities(store, Transcribing())
    assert [(pair(edge), edge.status) for edge in found.edges] == [
        (("aram khachaturian", "aram kachaturian"), "hypothesis")
    ]
    assert (await resolve_entities(store, Transcribing())).edges == []  # it is known


async def test_what_was_ended_is_not_made_again(store: SqliteGraph) -> None:
    await add(store, "e-mail", "Email")
    await resolve_entities(store)
    (edge,) = await store.edges(source=RESOLVED)
    assert await store.invalidate([edge.id]) == 1
    assert (await resolve_entities(store)).edges == []
    await store.delete_source(RESOLVED)
    assert len((await resolve_entities(store)).edges) == 1


async def test_only_what_is_new_is_compared(store: SqliteGraph) -> None:
    await add(store, "e-mail", "Email", "data base", "Database")
    found = await resolve_entities(store, only={"database"})
    assert [set(pair(edge)) for edge in found.edges] == [{"database", "data base"}]


async def test_a_series_is_not_compared_pair_by_pair(store: SqliteGraph) -> None:
    names = [f"family A{a}{b}{c}idae" for a in "bcdfghjk" for b in "aeiou" for c in "lmnprst"]
    await add(store, *names, "Data base", "database")
    found = await resolve_entities(store, Transcribing())
    assert [edge.text for edge in found.edges] == ["the same letters"]
    assert found.compared < 10 * len(names)
