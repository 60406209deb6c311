"""The library when something fails: documents, embedder, index, graph, disk, files."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import KnowledgeUnavailable, ModelRejected, ModelUnavailable
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.library import Library
from reverie.knowledge.library.lock import IngestLock
from reverie.knowledge.library.room import Room
from reverie.knowledge.vectors import FaissVectors
from reverie.settings import Settings
from tests.unit.knowledge.library_parts import CountingEmbedder, Parts, names, of


@pytest.fixture
def parts(settings: Settings) -> Parts:
    return Parts(settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in (("sea", "The tide pulls the sea."), ("sky", "Clouds hide the moon.")):
        (folder / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    return folder


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


# -- documents -------------------------------------------------------------------------------------


async def test_documents_that_cannot_be_read_are_told_and_the_rest_is_read(
    settings: Settings, folder: Path
) -> None:
    parts = Parts(settings.model_copy(update={"ingest": _ingest(most_megabytes=0.01)}))
    (folder / "program").write_bytes(bytes(range(256)) * 20)
    (folder / "large.txt").write_text("word " * 10_000)
    (folder / "broken.txt").write_bytes(b"caf\xe9 au lait \x81\x8d on the quay, every morning")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "missing")

    events = await parts.ingest(folder)

    assert names(events, "done") == ["broken.txt", "sea.md", "sky.md"]
    reasons = {Path(e.path).name: e.reason for e in of(events, "failed")}
    assert sorted(reasons) == ["large.txt", "program"]
    assert "more than the 0.0 MB" in reasons["large.txt"]


async def test_what_was_read_of_a_file_stays_when_it_cannot_be_read_any_more(
    parts: Parts, folder: Path
) -> None:
    await parts.ingest(folder)
    (folder / "sea.md").write_bytes(bytes(range(256)) * 20)

    assert names(await parts.ingest(folder), "failed") == ["sea.md"]
    assert (await parts.found("tide"))[0] == "sea.md"


async def test_a_fault_in_reading_one_document_is_told(
    parts: Parts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reverie.knowledge.library import reading

    original = reading.chunks_of

    def cut(document: Any, *, tokens: int) -> Any:
        if "sea" in document.path.rpartition("/")[2]:
            raise RecursionError("too deep")
        return original(document, tokens=tokens)

    monkeypatch.setattr(reading, "chunks_of", cut)

    events = await parts.ingest(folder)

    (failed,) = of(events, "failed")
    assert failed.reason.endswith("sea.md cannot be read: RecursionError: too deep")
    assert names(events, "done") == ["sky.md"]


# -- the embedder ----------------------------------------------------------------------------------


async def test_a_text_that_the_embedder_refuses_fails_its_document_only(
    parts: Parts, folder: Path
) -> None:
    parts.embedder.error = ModelRejected("the text is too long", hint="cut it")
    parts.embedder.refuse = "tide"

    events = await parts.ingest(folder)

    (failed,) = of(events, "failed")
    assert failed.path.endswith("sea.md")
    assert "the text is too long" in failed.reason
    assert names(events, "done") == ["sky.md"]


async def test_an_embedder_that_has_gone_ends_the_run_which_goes_on_later(
    parts: Parts, tmp_path: Path
) -> None:
    rows = "".join(f'{{"text": "Text number {number}."}}\n' for number in range(600))
    (tmp_path / "rows.jsonl").write_text(rows)
    parts.embedder.error = ModelUnavailable("the server has gone")
    parts.embedder.refuse = "number 599."

    with pytest.raises(ModelUnavailable, match="the server has gone"):
        await parts.ingest(tmp_path)
    parts.embedder.error = None
    parts.embedder.texts.clear()
    events = await parts.ingest(tmp_path)

    assert names(events, "done") == ["rows.jsonl"]
    assert len(parts.embedder.texts) == 600 - 512  # what was stored by then is not embedded again
    async with parts.library() as library:
        status = await library.status()
    assert (status.chunks, status.lacking, status.unindexed) == (600, 0, 0)


async def test_another_embedder_is_refused_and_may_take_over(parts: Parts, folder: Path) -> None:
    await parts.ingest(folder)
    parts.embedder = CountingEmbedder("another one")
    parts.vectors = FaissVectors(embedder="another one", dimension=64)

    with pytest.raises(KnowledgeUnavailable, match="vectors of the embedder hashed words") as no:
        await parts.ingest(folder)
    assert "reverie ingest --again" in no.value.hint
    async with parts.library() as library:
        result = await library.search("tide")
        assert "Without the search by meaning" in result.warnings[0]
        assert result.hits[0].metadata["name"] == "sea"

    (folder / "sky.md").unlink()  # what is not there to be read is embedded anew too
    await parts.ingest(folder, again=True, prune=False)

    async with parts.library() as library:
        status = await library.status()
        assert (status.embedder, status.lacking, status.unindexed) == ("another one", 0, 0)
        result = await library.search("clouds")
    assert result.warnings == ()
    assert {place.source for place in result.hits[0].places} >= {"vector", "fulltext"}
    assert await parts.vectors.count() == status.chunks


# -- the index -------------------------------------------------------------------------------------


class Broken:
    """A store that fails, as one whose server has gone."""

    notices = ()

    def __init__(self, store: Any, *methods: str) -> None:
        self._store = store
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        if name in self._methods:
            raise KnowledgeUnavailable("the server has gone", hint="Start it")
        return getattr(self._store, name)


async def test_what_the_index_has_not_seen_is_found(parts: Parts, folder: Path) -> None:
    await parts.ingest(folder)
    whole = parts.vectors
    parts.vectors = Broken(whole, "write", "delete")
    (folder / "new.md").write_text("# Quay\n\nA crane unloads the ship.\n")
    (folder / "sea.md").unlink()

    (warned,) = of(await parts.ingest(folder), "warned")
    assert "The index of vectors cannot be written: the server has gone" in warned.message
    parts.vectors = whole

    async with parts.library() as library:
        assert (await library.status()).unindexed > 0
        hits = (await library.search("A crane unloads the ship")).hits
        assert {place.source for place in hits[0].places} >= {"vector"}
        assert "sea.md" not in await parts.found("tide sea")
    parts.vectors = Broken(whole, "search", "epoch")
    async with parts.library() as library:
        result = await library.search("A crane unloads the ship")
    assert result.hits[0].places[0].source == "vector"
    assert "exactly instead: the server has gone" in result.warnings[0]

    parts.vectors = whole
    await parts.ingest(folder)
    async with parts.library() as library:
        status = await library.status()
    assert status.unindexed == 0
    assert await whole.count() == status.chunks


async def test_an_index_begun_anew_is_filled_from_the_file(parts: Parts, folder: Path) -> None:
    await parts.ingest(folder)
    before = await parts.vectors.count()
    parts.vectors = FaissVectors(embedder="hashed words", dimension=64)
    assert (await parts.found("tide"))[0] == "sea.md"
    parts.embedder.texts.clear()

    (warned,) = of(await parts.ingest(folder), "warned")

    assert f"its {before} chunks are written to it again" in warned.message
    assert await parts.vectors.count() == before
    assert parts.embedder.texts == []


# -- the graph -------------------------------------------------------------------------------------


async def test_an_ingest_goes_on_without_the_graph_and_the_next_one_fills_it(
    parts: Parts, folder: Path
) -> None:
    path = parts.settings.home / "graph.sqlite"
    graph = await SqliteGraph.open(path, embedder="hashed words", dimension=64)
    parts.graph = Broken(graph, "replace_source")

    events = await parts.ingest(folder)

    (warned,) = of(events, "warned")
    assert "The graph cannot be written: the server has gone" in warned.message
    assert names(events, "done") == ["sea.md", "sky.md"]
    assert (await parts.found("tide"))[0] == "sea.md"
    parts.graph = graph
    events = await parts.ingest(folder)
    assert names(events, "skipped") == ["sea.md", "sky.md"]
    for name in ("sea.md", "sky.md"):
        assert await graph.source_version((folder / name).as_posix())
    await graph.close()


async def test_a_graph_begun_anew_is_filled_from_the_file(parts: Parts, folder: Path) -> None:
    await parts.ingest(folder)
    other = await SqliteGraph.open(
        parts.settings.home / "other.sqlite", embedder="hashed words", dimension=64
    )
    parts.graph = other
    # From what is stored: what was read need not be there any more.
    empty(folder)

    events = await parts.ingest(folder, prune=False)

    assert of(events, "warned")[0].message.startswith("The graph is another one")
    assert of(events, "failed") == []
    assert (await parts.found("tide"))[0] == "sea.md"
    parts.graph = None
    await other.close()


async def test_a_removal_that_the_graph_missed_is_done_later(parts: Parts, folder: Path) -> None:
    await parts.ingest(folder)
    path = parts.settings.home / "graph.sqlite"
    graph = await SqliteGraph.open(path, embedder="hashed words", dimension=64)
    parts.graph = Broken(graph, "delete_source")
    name = (folder / "sea.md").as_posix()
    async with parts.library() as library:
        _, warnings = await library.remove(folder / "sea.md")
    assert warnings == ["The graph cannot follow: the server has gone. Start it"]
    assert await graph.source_version(name)
    parts.graph = graph

    await parts.ingest(folder / "sky.md")

    assert await graph.source_version(name) is None
    await graph.close()


async def test_nothing_goes_into_the_graph_when_nothing_shall(parts: Parts, folder: Path) -> None:
    await parts.ingest(folder, extract="nothing")
    async with parts.library() as library:
        assert (await library.status()).ungraphed == 0
    await parts.ingest(folder, extract="rules")
    graph = await SqliteGraph.open(
        parts.settings.home / "graph.sqlite", embedder="hashed words", dimension=64
    )
    name = (folder / "sea.md").as_posix()
    assert await graph.source_version(name)
    (folder / "sea.md").write_text("# sea\n\nThe ebb comes.\n")
    parts.graph = graph
    await parts.ingest(folder, extract="nothing")
    assert await graph.source_version(name) is None  # it would say what is true no more
    await graph.close()


# -- the disk, the file and other processes --------------------------------------------------------


async def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(
    parts: Parts, tmp_path: Path
) -> None:
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(f"Number {number}. " * 200)
    async with parts.library() as library:
        connection = library._store.database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")  # SQLite's own error
        with pytest.raises(KnowledgeUnavailable, match="full") as full:
            _ = [event async for event in library.ingest([tmp_path])]
        assert "free some space" in full.value.hint
        connection.execute("PRAGMA max_page_count = 1000000")
        events = [event async for event in library.ingest([tmp_path])]
        assert len(names(events, "done")) + len(names(events, "skipped")) == 40
        assert (await library.status()).lacking == 0


async def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(KnowledgeUnavailable, match="cannot be kept in"):
        await Library.open(Settings(home=tmp_path / "file" / "home"))


async def test_a_damaged_file_is_set_aside_and_filled_again(parts: Parts, folder: Path) -> None:
    for number in range(30):
        (folder / f"{number}.txt").write_text(f"Number {number}. " * 100)
    await parts.ingest(folder)
    path = parts.settings.home / "library.sqlite"
    content = bytearray(path.read_bytes())
    half = len(content) // 8192 * 4096
    content[half : half + 4096] = b"\xa5" * 4096
    path.write_bytes(content)

    async with parts.library() as library:
        assert "was damaged" in library.notices[0]
        assert (await library.status()).files == 0
        events = [event async for event in library.ingest([folder])]
        status = await library.status()
    assert len(names(events, "done")) == 32
    assert (status.files, status.unindexed) == (32, 0)
    assert await parts.vectors.count() == status.chunks
    assert (await parts.found("tide"))[0] == "sea.md"


async def test_who_holds_the_library_is_named(parts: Parts, folder: Path) -> None:
    lock = IngestLock(parts.settings.home)
    await asyncio.to_thread(lock.acquire)
    with pytest.raises(KnowledgeUnavailable, match=f"process {os.getpid()} is writing") as held:
        await parts.ingest(folder)
    assert f"kill {os.getpid()}" in held.value.hint
    await asyncio.to_thread(lock.release)

    assert len(names(await parts.ingest(folder), "done")) == 2


async def test_an_ingest_that_is_given_up_lets_others_go_on(parts: Parts, folder: Path) -> None:
    async with parts.library() as library:
        events = library.ingest([folder])
        async for event in events:
            if event.type == "found":
                break
        await events.aclose()
        again = [event async for event in library.ingest([folder])]
    assert len(names(again, "done")) + len(names(again, "skipped")) == 2


async def test_room_holds_few_or_one_large_thing() -> None:
    room = Room(10, 2)
    await room.enter(100)
    waiting = asyncio.create_task(room.enter(1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await room.leave(100)
    await asyncio.wait_for(waiting, 1)


def _ingest(**fields: Any) -> Any:
    return Settings().ingest.model_copy(update=fields)
