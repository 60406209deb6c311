"""What a model reads from documents, other names of one thing, and several event loops."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import ModelUnavailable
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.graph import open as graph_open
from reverie.knowledge.graph.records import RESOLVED, Edge
from reverie.knowledge.library import Library
from reverie.settings import Settings
from tests.unit.conftest import Call, Say, ScriptedModel
from tests.unit.knowledge.library_parts import CountingEmbedder, Parts, names, of


async def edges(parts: Parts, **options: Any) -> list[Edge]:
    graph = await SqliteGraph.open(
        parts.settings.home / "graph.sqlite", embedder="hashed words", dimension=64
    )
    found = await graph.edges(**options)
    await graph.close()
    return found


def write(folder: Path, count: int, first: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number}.txt").write_text(f"Pump{number} lifts water{number} up.")
    rows = [{"text": f"Wheel{number} drives mill{number} on."} for number in range(6)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Reader(ScriptedModel):
    """Reads the one statement of a text; ``most`` is how many calls there were at once."""

    refused: str = ""
    gone: bool = False
    now: int = 0
    most: int = 0

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            async for chunk in super()._astream(messages, *args, **kwargs):
                yield chunk
        finally:
            self.now -= 1


def reader() -> Reader:
    def script(call: Call) -> Say:
        if made.gone:
            return Say("x", ModelUnavailable("no model answers"))
        what, action, result, _ = call.messages[-1].text.split()[-4:]
        if what == made.refused:
            return Say("I would rather not.")
        return Say(json.dumps({"triplets": [[what, action, result]]}), delay=0.02)

    made = Reader(script=script)
    return made


async def test_a_model_reads_chunks_together_and_each_once(
    settings: Settings, tmp_path: Path
) -> None:
    model = reader()
    parts = Parts(settings, model=model)
    write(tmp_path / "docs", 2)
    model.refused = "Pump1"

    events = await parts.ingest(tmp_path / "docs", extract="model")

    assert len(names(events, "done")) == 3
    (warned,) = of(events, "warned")
    assert "1.txt: the model did not read 1 chunks: " in warned.message
    assert model.most > 1
    read = await edges(parts, relations=["causes"])
    assert {edge.start for edge in read} == {"pump0", *(f"wheel{n}" for n in range(6))}
    assert {edge.status for edge in read} == {"hypothesis"}
    calls = len(model.calls)
    assert len(names(await parts.ingest(tmp_path / "docs", extract="model"), "skipped")) == 3
    assert len(model.calls) == calls == 8


async def test_a_model_that_has_gone_leaves_the_rules_and_is_asked_later(
    settings: Settings, tmp_path: Path
) -> None:
    model = reader()
    parts = Parts(settings, model=model)
    write(tmp_path / "docs", 9)
    model.gone = True

    events = await parts.ingest(tmp_path / "docs", extract="model")

    assert len(names(events, "done")) == 10
    assert 1 <= len(of(events, "warned")) <= 3
    assert len(model.calls) <= 6
    assert await edges(parts, relations=["contains"])
    assert await edges(parts, relations=["causes"]) == []
    model.gone = False
    assert len(names(await parts.ingest(tmp_path / "docs", extract="model"), "skipped")) == 10
    assert len(await edges(parts, relations=["causes"])) == 15


async def test_names_of_one_thing_are_found_by_the_end_of_an_ingest(
    settings: Settings, tmp_path: Path
) -> None:
    parts = Parts(settings)
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "one.txt").write_text('They call it "E-Mail", and Aram Kachaturian wrote one.')
    assert of(await parts.ingest(folder), "warned") == []
    assert await edges(parts, source=RESOLVED) == []
    (folder / "two.txt").write_text('Here it is "email"; Aram Khachaturian got it.')
    embedded = parts.embedder.embed

    async def embed(texts: Any) -> Any:
        if "Aram Kachaturian" in texts:  # a name, no chunk
            raise ModelUnavailable("gone")
        return await embedded(texts)

    parts.embedder.embed = embed  # type: ignore[method-assign]  # for names only
    (warned,) = of(await parts.ingest(folder), "warned")
    assert warned.message == "Names of the same thing are looked for by the next ingest: gone"
    parts.embedder.embed = embedded  # type: ignore[method-assign]  # as it was
    assert of(await parts.ingest(folder), "warned") == []
    (same,) = await edges(parts, source=RESOLVED)
    assert {same.start, same.end} == {"e-mail", "email"}


async def test_several_event_loops_share_a_library(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs", 2)
    parts = Parts(settings)
    await parts.ingest(tmp_path / "docs")
    assert await parts.found("Pump1")  # what it imports, threads at once would wait for
    opened = []
    really = graph_open.open_graph

    async def slowly(*args: Any, **options: Any) -> Any:
        opened.append(asyncio.get_running_loop())
        await asyncio.sleep(0.1)
        return await really(*args, **options)

    monkeypatch.setattr(graph_open, "open_graph", slowly)
    library = await Library.open(settings, embedder=CountingEmbedder())  # type: ignore[arg-type]  # it needs no closing

    def search() -> int:
        return len(asyncio.run(library.search("Pump1")).hits)

    found = await asyncio.wait_for(
        asyncio.gather(*(asyncio.to_thread(search) for _ in range(3))), 10
    )
    assert all(found)
    assert len(opened) == 1
    await library.close()
