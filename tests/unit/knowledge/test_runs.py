"""The registry of runs, its leases, and the call journal: real files, several owners."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import ConfigError, RunUnavailable
from reverie.knowledge.runs import Charge, RunStore, open_runs
from reverie.knowledge.runs.process import Process, this_process

USAGE = {"tokens_in": 10, "tokens_out": 5, "calls": 1}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RunStore]:
    opened = await asyncio.to_thread(open_runs, tmp_path)
    yield opened
    await opened.close()


async def start(store: RunStore, run_id: str = "3f9c02ab17de", **changed: Any) -> str:
    values: dict[str, Any] = {
        "question": "Why?",
        "context": {"tokens": 100},
        "durability": "sync",
        "version": "1.0",
        "state_schema": 2,
        **changed,
    }
    question, context = values.pop("question"), values.pop("context")
    return await store.registry.start(run_id, question, context, **values)


def change(tmp_path: Path, statement: str, *values: Any) -> None:
    """What another process may have left there."""
    with sqlite3.connect(tmp_path / "runs.sqlite") as connection:
        connection.execute(statement, values)
    connection.close()


async def test_a_run_is_there_from_its_start_and_keeps_how_it_ended(store: RunStore) -> None:
    owner = await start(store, parent="beef@1")

    running = await store.registry.find("3f9c")
    assert (running.status, running.question, running.context) == (
        "running",
        "Why?",
        {"tokens": 100},
    )
    assert running.resumable
    assert running.parent == "beef@1"
    assert str(os.getpid()) in running.worker

    await store.registry.release(
        running.run_id,
        owner,
        "finished",
        strategy="direct",
        answer="Because." * 100,
        tokens=7,
        calls=2,
        result={"a": 1},
    )
    [ended] = await store.registry.recent()
    assert (ended.status, ended.strategy, ended.tokens, ended.calls) == ("finished", "direct", 7, 2)
    assert ended.answer.startswith("Because.")
    assert len(ended.answer) == 200
    assert ended.result == {"a": 1}
    assert ended.worker == ""


async def test_text_that_sqlite_cannot_store_is_no_problem(store: RunStore) -> None:
    owner = await start(store, question="a\ud800b", context={"question": "\ud800"})
    await store.registry.release("3f9c02ab17de", owner, "failed", error={"message": "\udfff"})

    assert (await store.registry.find("3f9c")).question == "a?b"


async def test_one_process_at_a_time_works_on_a_run(store: RunStore, tmp_path: Path) -> None:
    owner = await start(store)
    other = await asyncio.to_thread(open_runs, tmp_path)

    with pytest.raises(RunUnavailable, match=f"being worked on by process {os.getpid()}") as caught:
        await other.registry.acquire("3f9c02ab17de")
    assert "end that process" in caught.value.hint

    await store.registry.release("3f9c02ab17de", owner, "interrupted")
    taken, run = await other.registry.acquire("3f9c02ab17de")
    assert taken not in ("", owner)
    assert run.status == "interrupted"  # as it stood
    await other.close()


async def test_of_many_that_want_a_run_at_once_one_gets_it(store: RunStore, tmp_path: Path) -> None:
    owner = await start(store)
    await store.registry.release("3f9c02ab17de", owner, "interrupted")
    others = [await asyncio.to_thread(open_runs, tmp_path) for _ in range(4)]

    got = await asyncio.gather(
        *(one.registry.acquire("3f9c02ab17de") for one in others), return_exceptions=True
    )

    assert sum(isinstance(one, tuple) for one in got) == 1
    assert sum(isinstance(one, RunUnavailable) for one in got) == 3
    for one in others:
        await one.close()


async def test_a_lease_that_ran_out_can_be_taken_over(store: RunStore, tmp_path: Path) -> None:
    owner = await start(store)
    await asyncio.to_thread(change, tmp_path, "UPDATE leases SET expires = ?", time.time() - 1)
    assert (await store.registry.find("3f9c")).status == "interrupted"

    taken, _ = await store.registry.acquire("3f9c02ab17de")

    assert taken != owner
    assert not await store.registry.beat("3f9c02ab17de", owner)
    assert await store.registry.beat("3f9c02ab17de", taken)
    await store.registry.release("3f9c02ab17de", owner, "failed")  # the old owner changes nothing
    assert (await store.registry.find("3f9c")).status == "running"


async def test_a_dead_process_holds_nothing(store: RunStore, tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
    await start(store)
    statement = "UPDATE leases SET pid = ?, born = '1'"
    await asyncio.to_thread(change, tmp_path, statement, child.pid)

    run = await store.registry.find("3f9c")
    assert (run.status, run.worker) == ("interrupted", "")
    assert (await store.registry.acquire(run.run_id))[0]


def test_a_number_that_was_used_again_is_another_process() -> None:
    me = this_process()
    assert not me.gone()
    if me.born:
        assert Process(me.pid, "1", me.host).gone()
    assert not Process(2**22 - 1, "1", "another machine").gone()  # nobody here can know


async def test_the_time_in_which_nobody_works_is_a_pause(store: RunStore, tmp_path: Path) -> None:
    owner = await start(store)
    await store.registry.release("3f9c02ab17de", owner, "interrupted")
    await asyncio.to_thread(change, tmp_path, "UPDATE runs SET updated = updated - 100")

    _, run = await store.registry.acquire("3f9c02ab17de")

    assert run.paused == pytest.approx(100, abs=5)
    assert (await store.registry.find("3f9c")).paused == run.paused
    await store.registry.restart_clock(run.run_id)
    assert (await store.registry.find("3f9c")).paused == 0


async def test_a_finished_run_is_left_as_it_is(store: RunStore) -> None:
    owner = await start(store)
    await store.registry.release("3f9c02ab17de", owner, "finished", answer="x", result={})

    assert (await store.registry.acquire("3f9c02ab17de"))[0] == ""
    assert (await store.registry.find("3f9c")).answer == "x"


@pytest.mark.parametrize("wanted", ["", "3f", "zzzz", "%"])
async def test_an_unknown_run_is_wrong_use(store: RunStore, wanted: str) -> None:
    with pytest.raises(ConfigError, match="no run is recorded"):
        await store.registry.find(wanted)
    await start(store)
    with pytest.raises(ConfigError, match="there is no run") as caught:
        await store.registry.find(wanted)
    assert "3f9c02ab17de" in caught.value.hint


async def test_the_beginning_of_an_id_must_name_one_run(store: RunStore) -> None:
    await start(store, "3f9c00000000")
    await start(store, "3f9c11111111")
    with pytest.raises(ConfigError, match="several runs begin"):
        await store.registry.find("3f9c")
    assert (await store.registry.find("3f9c0")).run_id == "3f9c00000000"


async def test_the_oldest_of_too_many_runs_lose_their_checkpoints(store: RunStore) -> None:
    for number in range(5):
        owner = await start(store, f"run{number}")
        status: Any = "waiting" if number == 0 else "finished"
        await store.registry.release(f"run{number}", owner, status)
    await start(store, "running")

    assert await store.registry.prunable(2) == ["run2", "run1"]

    await store.registry.pruned(["run2", "run1"])
    assert await store.registry.prunable(2) == []
    run = await store.registry.find("run1")
    assert run.pruned
    assert not run.resumable


async def test_calls_are_numbered_when_they_are_begun_again(store: RunStore) -> None:
    owner = await start(store)
    journal = store.journal
    journal.work("3f9c02ab17de", owner)

    first = await journal.begin("3f9c02ab17de", "a", scope="s", node="n", most=USAGE)
    await journal.extend("3f9c02ab17de", "a", first, {**USAGE, "calls": 2})
    again = await journal.begin("3f9c02ab17de", "a", scope="s", node="n", most=USAGE)
    await journal.finish("3f9c02ab17de", "a", again, {**USAGE, "tokens_out": 1})
    await journal.grant("3f9c02ab17de", [Charge("a", 0, "")])

    one, two = await journal.calls("3f9c02ab17de")
    assert (one.number, one.finished, one.usage["calls"], one.granted) == (0, False, 2, "")
    assert (two.number, two.finished, two.usage["tokens_out"], two.granted) == (1, True, 1, None)


async def test_no_call_begins_under_a_lease_that_is_anothers(
    store: RunStore, tmp_path: Path
) -> None:
    store.journal.work("3f9c02ab17de", await start(store))
    await asyncio.to_thread(change, tmp_path, "UPDATE leases SET expires = 0")
    await store.registry.acquire("3f9c02ab17de")

    with pytest.raises(RunUnavailable, match="taken over"):
        await store.journal.begin("3f9c02ab17de", "a", scope="", node="n", most=USAGE)
    assert await store.journal.calls("3f9c02ab17de") == []


async def test_a_call_costs_the_journal_little(store: RunStore) -> None:
    store.journal.work("3f9c02ab17de", await start(store))
    begun = time.perf_counter()
    for number in range(50):
        await store.journal.begin("3f9c02ab17de", str(number), scope="", node="n", most=USAGE)
        await store.journal.finish("3f9c02ab17de", str(number), 0, USAGE)

    assert (time.perf_counter() - begun) / 50 < 0.02  # usually .0005, on a machine at rest
