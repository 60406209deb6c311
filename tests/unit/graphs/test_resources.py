"""Clients, loaded once and found by name."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.graphs.resources import Resources, find_resources
from reverie.knowledge.once import Once
from reverie.settings import Settings
from tests.unit.conftest import ScriptedResources


def test_they_are_found_while_somebody_keeps_them(settings: Settings) -> None:
    resources = Resources(settings)
    key = resources.key
    assert find_resources(key) is resources

    del resources
    gc.collect()

    with pytest.raises(ConfigError, match=key) as caught:
        find_resources(key)
    assert "keep the Reasoner" in caught.value.hint


async def test_stores_are_opened_once_for_all_who_ask(resources: ScriptedResources) -> None:
    stores = await asyncio.gather(*(resources.memory() for _ in range(8)))

    assert len({id(store) for store in stores}) == 1
    assert await resources.memory() is stores[0]


async def test_after_closing_they_open_again(resources: ScriptedResources) -> None:
    first = await resources.memory()
    await resources.close()
    await resources.close()

    assert await resources.memory() is not first


async def test_whoever_is_cancelled_does_not_end_the_opening_for_others() -> None:
    opened = asyncio.Event()

    async def opener() -> str:
        await opened.wait()
        return "store"

    once = Once(opener)
    first, second = asyncio.create_task(once.get()), asyncio.create_task(once.get())
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    opened.set()

    assert await second == "store"
    assert once.taken() == "store"
    assert once.taken() is None


async def test_a_failed_opening_is_tried_again_at_the_next_use() -> None:
    failures = iter([KnowledgeUnavailable("full"), None])

    async def opener() -> str:
        await asyncio.sleep(0)
        if error := next(failures):
            raise error
        return "store"

    once = Once(opener)
    both = await asyncio.gather(once.get(), once.get(), return_exceptions=True)
    assert [str(error) for error in both] == ["full", "full"]
    assert once.taken() is None

    assert await once.get() == "store"


def test_threads_with_event_loops_of_their_own_share_one_opening() -> None:
    openings = 0

    async def opener() -> object:
        nonlocal openings
        openings += 1
        await asyncio.sleep(0.05)
        return object()

    once = Once(opener)
    got: list[object] = []
    threads = [
        threading.Thread(target=lambda: got.append(asyncio.run(once.get()))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert openings == 1
    assert len(got) == 6
    assert len(set(map(id, got))) == 1


def test_another_loop_takes_over_when_the_opening_one_ends() -> None:
    started, openings = threading.Event(), 0

    async def opener() -> str:
        nonlocal openings
        openings += 1
        started.set()
        await asyncio.sleep(0.2 if openings == 1 else 0)
        return "store"

    once = Once(opener)

    async def gives_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await once.get()

    got: list[str] = []
    first = threading.Thread(target=lambda: asyncio.run(gives_up()))
    first.start()
    started.wait(5)
    second = threading.Thread(target=lambda: got.append(asyncio.run(once.get())))
    second.start()
    first.join(5)
    second.join(5)

    assert got == ["store"]
    assert openings == 2
