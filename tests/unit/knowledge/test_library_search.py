"""Searches of a library of which a part is not as it was, and what is kept for its indexes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.library.index_level import IndexLevel, Level
from reverie.knowledge.library.store import LibraryStore
from reverie.settings import Settings
from tests.unit.knowledge.library_parts import CountingEmbedder, Parts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "sea.md").write_text("# sea\n\nThe tide pulls the sea.\n")
    return folder


async def test_vectors_of_another_length_are_said(settings: Settings, folder: Path) -> None:
    parts = Parts(settings)
    await parts.ingest(folder)
    with sqlite3.connect(parts.settings.home / "library.sqlite") as connection:
        connection.execute("UPDATE library SET dimension = 32")
    connection.close()

    async with parts.library() as library:
        result = await library.search("tide")
    assert "hashed words with 32 numbers, and now it makes 64" in result.warnings[0]
    assert result.hits[0].metadata["name"] == "sea"


async def test_when_no_way_to_search_can_be_opened_the_error_is_raised(
    settings: Settings, folder: Path
) -> None:
    by_meaning = settings.search.model_copy(update={"fulltext_weight": 0, "graph_weight": 0})
    parts = Parts(settings.model_copy(update={"search": by_meaning}))
    await parts.ingest(folder)
    parts.embedder = CountingEmbedder("another one")

    async with parts.library() as library:
        with pytest.raises(KnowledgeUnavailable, match="vectors of the embedder hashed words"):
            await library.search("tide")


def test_changes_are_not_kept_for_ever_for_an_index_that_follows_no_more(tmp_path: Path) -> None:
    store = LibraryStore(tmp_path / "library.sqlite")
    used, former = IndexLevel(store.database, "used"), IndexLevel(store.database, "former")
    for level in (used, former):
        level.restart("epoch")

    def follow(changes: int) -> int:
        """How many changes are kept after ``used`` has followed so many."""
        with store.database.writing() as connection:
            connection.executemany("INSERT INTO changes (key) VALUES (?)", [("key",)] * changes)
        level = used.read()
        assert level is not None
        used.advance(level.newest, "epoch")
        with store.database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM changes").fetchone()[0])

    assert follow(9_000) == 9_000
    behind = former.read()
    assert behind is not None
    assert behind.behind == 9_000
    assert follow(2_000) == 0
    assert (former.read(), used.read()) == (None, Level("epoch", 11_000, 11_000))
    store.close()
