"""The episodic memory: what is kept, what fades, what comes back."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.episodes import Episode, EpisodicMemory, strength
from reverie.knowledge.episodes.duplicates import near_duplicates
from tests.unit.conftest import HashEmbedder

DAY = 86_400.0
Open = Callable[..., Awaitable[EpisodicMemory]]


@pytest.fixture
async def open_memory(tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[EpisodicMemory] = []

    async def make(**options: Any) -> EpisodicMemory:
        embedder = options.pop("embedder", None) or HashEmbedder()
        memory = await EpisodicMemory.open(tmp_path / "memories.sqlite", embedder, **options)
        opened.append(memory)
        return memory

    yield make
    for memory in opened:
        await memory.close()


def aged(days: float, importance: float = 1.0) -> Episode:
    then = time.time() - days * DAY
    return Episode("x", "x", "note", importance, then, then)


@pytest.mark.parametrize(("days", "left"), [(0, 1.0), (30, 0.5), (60, 0.25), (-5, 1.0)])
def test_a_memory_halves_with_every_half_life(days: float, left: float) -> None:
    found = strength(aged(days), now=time.time(), half_life_days=30)

    assert found == pytest.approx(left, rel=1e-4)


async def test_when_something_was_learnt_is_kept_however_often_it_is_told(
    open_memory: Open,
) -> None:
    memory = await open_memory()
    first = await memory.remember("Ada likes tea", source="chat-1", at=1000.0, importance=0.2)
    again = await memory.remember("ada  likes TEA", source="chat-2", at=5000.0, importance=0.9)

    (found,) = await memory.recall("Ada likes tea")

    assert first == again == found.episode.id
    assert (found.episode.learned, found.episode.reinforced) == (1000.0, 5000.0)
    assert [(o.at, o.source) for o in found.episode.occasions] == [
        (1000.0, "chat-1"),
        (5000.0, "chat-2"),
    ]
    assert found.episode.importance == 0.9
    assert not await memory.recall("Ada likes tea", since=5001.0)
    assert await memory.recall("Ada likes tea", until=1001.0)


async def test_of_two_equally_similar_memories_the_stronger_comes_first(open_memory: Open) -> None:
    memory = await open_memory()
    now = time.time()
    old = await memory.remember("the red door sticks", at=now - 90 * DAY)
    new = await memory.remember("the red door squeaks", at=now)

    assert [r.episode.id for r in await memory.recall("the red door")] == [new, old]

    await memory.recall("red door sticks", limit=1, use=True)
    used = next(r for r in await memory.recall("red door sticks") if r.episode.id == old)
    assert used.episode.uses == 1
    assert used.strength == pytest.approx(0.5, abs=0.01)
    assert used.episode.learned == pytest.approx(now - 90 * DAY)


async def test_over_the_quota_the_weakest_go(open_memory: Open) -> None:
    memory = await open_memory(most=5)
    now = time.time()
    for i in range(4):
        await memory.remember(f"old thing {i}", at=now - 300 * DAY, importance=1.0)
    for i in range(4):
        await memory.remember(f"new thing {i}", at=now, importance=0.5)

    left = {episode.text for episode in await memory.latest()}

    assert len(left) == 5
    assert {f"new thing {i}" for i in range(4)} <= left


async def test_compacting_merges_what_says_the_same_and_nothing_else(open_memory: Open) -> None:
    memory = await open_memory()
    same = "the meeting with the team about the plan for the garden is on the first floor today"
    await memory.remember(same, at=10.0, source="a", importance=0.3)
    await memory.remember(same + "!!", at=5.0, source="b", importance=0.8)
    await memory.remember(same + " 7", at=10.0)
    await memory.remember(same + " 8", at=10.0)
    await memory.remember(same.replace("is", "is not"), at=10.0)
    await memory.remember(same + ".", kind="run", at=10.0)

    done = await memory.compact(similar_above=0.9)

    assert done.merged == 1
    kept = await memory.latest(10)
    assert len(kept) == 5
    one = next(e for e in kept if len(e.occasions) == 2)
    assert (one.text, one.importance, one.learned) == (same + "!!", 0.8, 5.0)
    assert [o.source for o in one.occasions] == ["b", "a"]
    assert (await memory.compact(similar_above=0.9)).merged == 0


def test_memories_that_differ_in_numbers_are_not_compared_with_each_other() -> None:
    number = 3000
    episodes = {
        i: Episode(f"{i:012x}", f"the box is on shelf {i // 2}" + "!" * (i % 2), "note", 0.5, i, i)
        for i in range(number)
    }
    began = time.process_time()
    groups = near_duplicates(
        np.arange(number), np.ones((number, 1), dtype=np.float32), episodes, 0.9
    )
    assert time.process_time() - began < 2
    assert sorted(groups) == [[i, i + 1] for i in range(0, number, 2)]


async def test_compacting_can_forget_what_has_faded(open_memory: Open) -> None:
    memory = await open_memory()
    await memory.remember("long ago", at=time.time() - 400 * DAY)
    await memory.remember("just now")

    assert (await memory.compact(faded_below=0.05)).faded == 1
    assert [e.text for e in await memory.latest()] == ["just now"]


async def test_what_is_exported_comes_back_as_it_was(open_memory: Open, tmp_path: Path) -> None:
    memory = await open_memory()
    await memory.remember("Ada likes tea\nand \ud800 cake", source="chat", at=1000.0)
    await memory.remember("Ada likes tea\nand \ud800 cake", source="later", at=2000.0)
    await memory.remember("a run", kind="run", importance=1.0, at=3000.0)
    lines = [line async for line in memory.export()]
    other = await EpisodicMemory.open(tmp_path / "other.sqlite", HashEmbedder())

    assert await other.import_lines(lines) == 2
    assert await other.import_lines(lines) == 2

    assert [line async for line in other.export()] == lines
    assert all(json.loads(line)["occasions"] for line in lines)
    await other.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 2 is no memory"),
        ('{"text": "x", "importance": 2}', "importance"),
        ('{"text": "x", "colour": "red"}', "colour"),
        ('{"text": "  "}', "the text is empty"),
        ('{"text": "x", "learned": NaN}', "line 2"),
        ("[]", "line 2"),
    ],
)
async def test_a_bad_line_is_named_and_nothing_is_taken_in(
    open_memory: Open, line: str, said: str
) -> None:
    memory = await open_memory()

    with pytest.raises(ConfigError, match=said):
        await memory.import_lines(['{"text": "good"}', line])
    assert not await memory.latest()


@pytest.mark.parametrize(
    ("text", "importance", "kind"),
    [("", 0.5, "note"), ("x" * 100_001, 0.5, "note"), ("x", 1.5, "note"), ("x", 0.5, " ")],
)
async def test_what_cannot_be_remembered_is_refused(
    open_memory: Open, text: str, importance: float, kind: str
) -> None:
    memory = await open_memory()

    with pytest.raises(ConfigError):
        await memory.remember(text, importance=importance, kind=kind)


async def test_forgetting_takes_an_unambiguous_beginning_of_the_id(open_memory: Open) -> None:
    memory = await open_memory()
    one = await memory.remember("one")
    await memory.remember("two")

    with pytest.raises(ConfigError, match="no memory"):
        await memory.forget([one, "zzz"])
    assert await memory.forget([one[:8]]) == 1
    assert [e.text for e in await memory.latest()] == ["two"]
    with pytest.raises(ConfigError, match="no memory"):
        await memory.forget([""])


async def test_the_importance_of_a_run_follows_its_score(open_memory: Open) -> None:
    memory = await open_memory()
    await memory.remember("what is red? roses", kind="run", source="r1")

    assert await memory.weigh("r1", 1.0) == 1
    assert await memory.weigh("r2", 1.0) == 0
    assert (await memory.latest())[0].importance == 1.0


async def test_two_openings_of_one_file_see_each_other(open_memory: Open) -> None:
    here, there = await open_memory(), await open_memory()
    await here.recall("tea")
    await there.remember("green tea")

    assert [r.episode.text for r in await here.recall("green tea")] == ["green tea"]


async def test_another_embedder_is_refused_but_can_export(open_memory: Open) -> None:
    class Other(HashEmbedder):
        name = "other"

    await (await open_memory()).remember("green tea")
    other = await open_memory(embedder=Other())

    with pytest.raises(KnowledgeUnavailable, match="memory export"):
        await other.recall("green tea")
    with pytest.raises(KnowledgeUnavailable, match="hash"):
        await other.remember("black tea")
    assert [json.loads(line)["text"] async for line in other.export()] == ["green tea"]


async def test_compacting_needs_no_embedder_of_the_same_length(open_memory: Open) -> None:
    class Longer(HashEmbedder):
        name = "longer"
        dimension = 96

    memory = await open_memory()
    await memory.remember("green tea from China")
    await memory.remember("green tea, from China")

    assert (await (await open_memory(embedder=Longer())).compact()).merged == 1


async def test_a_damaged_file_is_set_aside_with_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "memories.sqlite"
    await asyncio.to_thread(path.write_bytes, b"no database" * 500)

    memory = await EpisodicMemory.open(path, HashEmbedder())

    assert "damaged" in memory.notices[0]
    assert (await memory.totals()).kinds == {}
    await memory.close()


async def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memories.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE others (x)")
    connection.close()

    with pytest.raises(KnowledgeUnavailable, match="no Reverie memory"):
        await EpisodicMemory.open(path, HashEmbedder())
