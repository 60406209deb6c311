"""Runs that end early and are gone on with, by this reasoner or another one on the same home."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from reverie import Budget
from reverie.agents.reasoner import Reasoner
from reverie.agents.result import Result
from reverie.agents.runs import STATE_SCHEMA
from reverie.errors import (
    BudgetExceeded,
    ConfigError,
    KnowledgeUnavailable,
    ModelUnavailable,
    RunUnavailable,
    RunWaiting,
)
from reverie.graphs.budget import total_tokens
from reverie.settings import Settings
from tests.unit.agents.conftest import Asked, made
from tests.unit.conftest import QUESTION, Call, Say, usual

Make = Callable[..., Asked]


@pytest.fixture
async def make(settings: Settings) -> AsyncIterator[Make]:
    """Reasoners on one home, as processes one after another are."""
    reasoners: list[Reasoner] = []

    def another(script: Callable[[Call], Say | str] = usual, **changed: Any) -> Asked:
        asked = made(settings.model_copy(update=changed))
        asked.model.script = script
        reasoners.append(asked.reasoner)
        return asked

    yield another
    for reasoner in reasoners:
        await reasoner.aclose()


def stuck(*branches: int) -> Callable[[Call], Say | str]:
    """A model that never ends the dreams of these branches."""
    seen: list[Call] = []

    def script(call: Call) -> Say | str:
        seen.append(call)
        said = usual(call)
        return Say(said.text, delay=60.0) if len(seen) - 1 in branches else said

    return script


async def left_in_the_middle(asked: Asked, finished: int, **options: Any) -> str:
    """Ask, and leave once so many branches have finished and the others are on their way. Returns
    the run's id.
    """
    run_id, ended = "", 0
    async with aclosing(asked.reasoner.astream(QUESTION, **options)) as items:
        async for item in items:
            assert not isinstance(item, Result)
            if item["type"] == "run_started":
                run_id = item["run_id"]
            ended += item["type"] == "branch_finished"
            if ended == finished and len(asked.model.calls) == 4:
                await asyncio.sleep(0.1)  # what has finished is written down
                break
    return run_id


def spent(result: Result) -> int:
    return total_tokens(result.cost["spent"])


async def test_a_run_that_was_left_goes_on_where_it_was(make: Make) -> None:
    first = make(stuck(2))
    run_id = await left_in_the_middle(first, 3, strategy="dream", seed=5)
    [record] = await first.reasoner.aruns()
    assert (record.status, record.resumable, record.worker) == ("interrupted", True, "")

    again = make()
    result = await again.reasoner.aresume(run_id[:6])

    assert (result.run_id, result.status, result.seed) == (run_id, "answered", 5)
    assert len(again.model.calls) == 1  # three dreams were committed
    assert [d["status"] for d in result.attempts[0]["dreams"]] == ["ok"] * 4
    # The call in flight is charged with what it could have written, and its repetition too.
    assert result.cost["spent"]["calls"] == 5
    assert result.cost["spent"]["estimated"]
    assert spent(result) <= 8000
    [record] = await again.reasoner.aruns()
    assert (record.status, record.calls, record.tokens) == ("finished", 5, spent(result))


async def test_what_was_lost_is_charged_once_however_often_it_is_resumed(make: Make) -> None:
    run_id = await left_in_the_middle(make(stuck(0)), 3, strategy="dream")
    for _ in range(2):
        asked = make(lambda _: Say("x " * 50, delay=60.0))
        async with aclosing(asked.reasoner.astream_resume(run_id)) as items:
            async for item in items:
                if not isinstance(item, Result) and item["type"] == "token":
                    break
        assert len(asked.model.calls) == 1

    asked = make()
    result = await asked.reasoner.aresume(run_id)

    assert len(asked.model.calls) == 1
    assert result.cost["spent"]["calls"] == 4 + 3


async def test_a_finished_run_is_not_run_again(make: Make) -> None:
    first = make()
    result = await first.reasoner.aask(QUESTION, strategy="direct")
    again = make()

    assert await again.reasoner.aresume(result.run_id) == result
    assert [i async for i in again.reasoner.astream_resume(result.run_id)] == [result]
    assert again.model.calls == []
    with pytest.raises(ConfigError, match="waits for no reply"):
        await again.reasoner.areply(result.run_id, {})


async def test_a_failed_run_makes_its_last_attempt_again(make: Make) -> None:
    first = make(lambda _: Say("It falls.", error=ModelUnavailable("gone"), after=1))
    with pytest.raises(ModelUnavailable, match="gone"):
        await first.reasoner.aask(QUESTION, strategy="direct")
    [failed] = await first.reasoner.aruns()
    assert (failed.status, failed.error) == (
        "failed",
        {"type": "ModelUnavailable", "message": "gone", "hint": ""},
    )

    again = make()
    result = await again.reasoner.aresume(failed.run_id)

    assert result.answer
    assert len(again.model.calls) == 1
    assert result.cost["spent"]["calls"] == 2  # what failed is paid for all the same


async def test_a_run_that_ran_out_of_budget_goes_on_with_more(make: Make) -> None:
    first = make()
    with pytest.raises(BudgetExceeded, match="smallest budget"):
        await first.reasoner.aask(QUESTION, strategy="direct", budget=Budget(tokens=20, calls=7))
    [failed] = await first.reasoner.aruns()

    left = make(lambda _: Say("It falls to the ground.", delay=0.05))
    async with aclosing(
        left.reasoner.astream_resume(failed.run_id, budget=Budget(tokens=900))
    ) as items:
        async for item in items:
            if not isinstance(item, Result) and item["type"] == "token":
                break
    again = make()
    result = await again.reasoner.aresume(failed.run_id)

    assert result.status == "answered"
    limits = result.cost["limits"]
    assert (limits["tokens"], limits["calls"]) == (900, 7)  # the others are the run's own
    assert result.cost["spent"]["calls"] == 2  # the one that was left, and its repetition
    with pytest.raises(ConfigError, match="is finished") as raised:
        await again.reasoner.aresume(failed.run_id, budget=Budget(tokens=9000))
    assert "reverie replay" in (raised.value.hint or "")


async def test_a_limit_on_money_needs_prices_when_it_is_given_later(make: Make) -> None:
    first = make(lambda _: Say("It falls.", error=ModelUnavailable("gone"), after=1))
    with pytest.raises(ModelUnavailable, match="gone"):
        await first.reasoner.aask(QUESTION, strategy="direct")
    [failed] = await first.reasoner.aruns()

    again = make()
    with pytest.raises(ConfigError, match="price"):
        await again.reasoner.aresume(failed.run_id, budget=Budget(money=0.1))
    assert (await again.reasoner.afind(failed.run_id)).status == "failed"
    assert (await again.reasoner.aresume(failed.run_id)).status == "answered"


async def test_a_run_that_was_left_by_a_failure_before_its_first_step_begins_anew(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make()

    async def gone(*_: object) -> None:
        raise ModelUnavailable("no such server")

    with monkeypatch.context() as patched:
        patched.setattr(first.resources, "prepare", gone)
        with pytest.raises(ModelUnavailable):
            await first.reasoner.aask(QUESTION, strategy="direct")
    [failed] = await first.reasoner.aruns()

    result = await make().reasoner.aresume(failed.run_id)

    assert (result.run_id, result.question) == (failed.run_id, QUESTION)


async def test_only_one_may_work_on_a_run(make: Make) -> None:
    first, second = make(stuck(0, 1, 2, 3)), make()
    async with aclosing(first.reasoner.astream(QUESTION, strategy="dream")) as items:
        async for _ in items:
            if len(first.model.calls) == 4:
                break
        [record] = await second.reasoner.aruns()
        assert record.status == "running"
        with pytest.raises(RunUnavailable, match="being worked on by process"):
            await second.reasoner.aresume(record.run_id)
    assert second.model.calls == []
    assert (await second.reasoner.aresume(record.run_id)).answer


async def test_a_run_without_steps_on_disk_cannot_be_resumed(
    make: Make, settings: Settings
) -> None:
    runs = settings.runs.model_copy(update={"durability": "exit"})
    first = make(stuck(3), runs=runs)
    run_id = await left_in_the_middle(first, 3, strategy="dream")

    with pytest.raises(RunUnavailable, match="durability exit") as caught:
        await make().reasoner.aresume(run_id)
    assert "runs.durability sync" in caught.value.hint


async def test_the_time_in_between_does_not_count(make: Make, settings: Settings) -> None:
    run_id = await left_in_the_middle(
        make(stuck(1)), 3, strategy="dream", budget=Budget(seconds=30)
    )

    def an_hour_later() -> None:
        with sqlite3.connect(settings.home / "runs.sqlite") as connection:
            connection.execute("UPDATE runs SET updated = updated - 3600")
        connection.close()

    await asyncio.to_thread(an_hour_later)
    result = await make().reasoner.aresume(run_id)

    # Negative elapsed time is none: the clock was moved, and not the run's beginning.
    assert result.cost["elapsed"] < 30
    assert result.stopped == ""


async def test_too_little_left_fails_the_branch_and_the_budget_holds(make: Make) -> None:
    first = make(stuck(2))
    run_id = await left_in_the_middle(first, 3, strategy="dream", budget=Budget(calls=4))

    again = make()
    result = await again.reasoner.aresume(run_id)

    assert again.model.calls == []
    dreams = result.attempts[0]["dreams"]
    [failed] = [d for d in dreams if d["status"] == "failed"]
    assert len(dreams) == 4
    assert "no model call is left" in failed["error"]
    assert result.cost["spent"]["calls"] == 4


async def test_too_little_left_for_a_single_call_is_an_error(make: Make) -> None:
    first = make(lambda _: Say("word " * 50, delay=60.0))
    task = asyncio.create_task(
        first.reasoner.aask(QUESTION, strategy="direct", budget=Budget(calls=1))
    )
    while not first.model.calls:  # noqa: ASYNC110  # the double has no event to wait for
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    [record] = await first.reasoner.aruns()

    with pytest.raises(BudgetExceeded):
        await make().reasoner.aresume(record.run_id)
    assert (await make().reasoner.afind(record.run_id)).status == "failed"


# -- what another version left ---------------------------------------------------------------


def change(home: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(home / "runs.sqlite") as connection:
        connection.execute(statement, values)
    connection.close()


async def test_an_older_state_schema_is_said(make: Make, settings: Settings) -> None:
    run_id = await left_in_the_middle(make(stuck(2)), 3, strategy="dream")
    older = "UPDATE runs SET state_schema = ?, version = '0.0.9'"
    await asyncio.to_thread(change, settings.home, older, STATE_SCHEMA - 1)

    with pytest.raises(RunUnavailable, match=r"Reverie 0\.0\.9.*schema is number") as caught:
        await make().reasoner.aresume(run_id)
    assert "resume it with Reverie 0.0.9, or ask" in caught.value.hint
    with pytest.raises(RunUnavailable, match="schema"):
        await make().reasoner.ahistory(run_id)
    with pytest.raises(RunUnavailable, match="schema"):
        await make().reasoner.areplay(run_id, from_="select")


async def test_a_finished_result_of_another_form_is_said(make: Make, settings: Settings) -> None:
    done = await make().reasoner.aask(QUESTION, strategy="direct")
    assert (await make().reasoner.aresume(done.run_id)).answer == done.answer
    other = "UPDATE runs SET version = '0.0.9', result = json_remove(result, '$.seed')"
    await asyncio.to_thread(change, settings.home, other)

    with pytest.raises(RunUnavailable, match=r"written by Reverie 0\.0\.9") as caught:
        await make().reasoner.aresume(done.run_id)
    assert "ask the question anew" in caught.value.hint


async def test_a_checkpoint_that_lacks_keys_is_said(make: Make, settings: Settings) -> None:
    """Made by hand: what a graph without memories and attempts would have written."""
    asked = make(stuck(2))
    run_id = await left_in_the_middle(asked, 3, strategy="dream")
    saver = (await asked.reasoner._runs()).checkpoints.saver
    config: Any = {"configurable": {"thread_id": run_id, "checkpoint_ns": ""}}
    found = await saver.aget_tuple(config)
    assert found is not None
    checkpoint = {**found.checkpoint, "id": "ffffffff-0000-6000-8000-000000000000"}
    for key in ("memories", "attempts"):
        checkpoint["channel_values"].pop(key)  # type: ignore[attr-defined]
        checkpoint["channel_versions"].pop(key)  # type: ignore[attr-defined]
    versions: Any = checkpoint["channel_versions"]
    await saver.aput(found.config, checkpoint, found.metadata, versions)  # type: ignore[arg-type]

    with pytest.raises(RunUnavailable, match="they lack memories, attempts") as caught:
        await make().reasoner.aresume(run_id)
    assert "ask the question anew" in caught.value.hint
    assert (await make().reasoner.afind(run_id)).status == "interrupted"  # and not held


async def test_settings_of_another_version_are_said(make: Make, settings: Settings) -> None:
    run_id = await left_in_the_middle(make(stuck(2)), 3, strategy="dream")
    other = """UPDATE runs SET context = '{"warp": 9}'"""
    await asyncio.to_thread(change, settings.home, other)

    with pytest.raises(RunUnavailable, match="settings are unknown"):
        await make().reasoner.aresume(run_id)


async def test_checkpoints_that_were_set_aside_mean_beginning_anew(
    make: Make, settings: Settings
) -> None:
    run_id = await left_in_the_middle(make(stuck(2)), 3, strategy="dream")

    def damage() -> None:
        for name in ("checkpoints.sqlite-wal", "checkpoints.sqlite-shm"):
            (settings.home / name).unlink(missing_ok=True)
        (settings.home / "checkpoints.sqlite").write_bytes(b"no database" * 1000)

    first = make()
    await asyncio.to_thread(damage)
    result = await first.reasoner.aresume(run_id)

    assert any("checkpoints.sqlite was damaged" in notice for notice in result.notices)
    assert len(first.model.calls) == 4
    assert result.cost["spent"]["calls"] == 8  # what the first four cost is still known


async def test_damaged_calibrations_are_said_by_the_run_that_finds_them(
    make: Make, settings: Settings
) -> None:
    def damage() -> None:
        settings.home.mkdir(parents=True, exist_ok=True)
        (settings.home / "calibration.sqlite").write_bytes(b"no database" * 1000)

    await asyncio.to_thread(damage)
    result = await make().reasoner.aask(QUESTION, strategy="direct")

    said = [notice for notice in result.notices if "calibration.sqlite was damaged" in notice]
    assert len(said) == 1


async def test_old_runs_lose_their_checkpoints(make: Make, settings: Settings) -> None:
    asked = make(runs=settings.runs.model_copy(update={"keep": 2}))
    results = [await asked.reasoner.aask(QUESTION, strategy="direct") for _ in range(4)]

    saver = (await asked.reasoner._runs()).checkpoints.saver
    configs: list[Any] = [{"configurable": {"thread_id": r.run_id}} for r in results]
    kept = [await saver.aget_tuple(config) is not None for config in configs]
    assert kept == [False, False, True, True]
    assert await asked.reasoner.aresume(results[0].run_id) == results[0]  # the result stays
    with pytest.raises(RunUnavailable, match="deleted to make room"):
        await asked.reasoner.ahistory(results[0].run_id)


# -- a person is asked -----------------------------------------------------------------------


async def test_a_run_that_waits_says_for_what_and_goes_on_with_the_reply(
    make: Make, settings: Settings
) -> None:
    """Nothing is good enough to stand for, and a person is asked before the run abstains."""
    reason = settings.reason.model_copy(
        update={"ask_before": ("abstain",), "strategies": ("dream",)}
    )
    dream = settings.dream.model_copy(update={"abstain_below": 1.0})
    first = make(reason=reason, dream=dream)

    items = [item async for item in first.reasoner.astream(QUESTION)]
    waiting: Any = items[-1]
    assert waiting["type"] == "waiting"
    assert [i["type"] for i in items if not isinstance(i, Result)].count("waiting") == 1
    run_id, form = waiting["run_id"], waiting["form"]
    assert form["name"] == "abstained"
    [record] = await first.reasoner.aruns()
    assert (record.status, record.form) == ("waiting", form)

    again = make(reason=reason, dream=dream)
    with pytest.raises(RunWaiting, match="waits for a reply") as caught:
        await again.reasoner.aresume(run_id)
    assert (caught.value.run_id, caught.value.form) == (run_id, form)
    with pytest.raises(ConfigError, match="no reply to abstained"):
        await again.reasoner.areply(run_id, {"answer": 4})

    result = await again.reasoner.areply(run_id, {"answer": "It falls."})
    assert (result.status, result.answer) == ("answered", "It falls.")
    assert again.model.calls == []


async def test_asking_raises_what_it_waits_for(make: Make, settings: Settings) -> None:
    reason = settings.reason.model_copy(
        update={"ask_before": ("abstain",), "strategies": ("dream",)}
    )
    dream = settings.dream.model_copy(update={"abstain_below": 1.0})
    asked = make(reason=reason, dream=dream)

    with pytest.raises(RunWaiting) as caught:
        await asked.reasoner.aask(QUESTION)

    result = await asked.reasoner.areply(caught.value.run_id, {})
    assert result.status == "abstained"


async def test_a_reply_that_nobody_asked_for_is_wrong_use(make: Make) -> None:
    run_id = await left_in_the_middle(make(stuck(2)), 3, strategy="dream")
    with pytest.raises(ConfigError, match="waits for no reply: it is interrupted"):
        await make().reasoner.areply(run_id, {"approve": True})


# -- time travel -----------------------------------------------------------------------------


async def test_the_steps_of_a_run_are_there_to_look_at(make: Make) -> None:
    asked = make()
    result = await asked.reasoner.aask(QUESTION, strategy="direct")

    steps = await asked.reasoner.ahistory(result.run_id)

    nodes = [step.next for step in steps if step.next]
    assert nodes[-6:] == [
        *(("recall",), ("select",), ("direct",), ("assess",), ("answer",), ("learn",)),
    ]
    assert steps[-1].next == ()
    assert steps[-1].done == ("learn",)
    assert steps[-1].tokens == spent(result)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert steps[-1].left_tokens < steps[0].left_tokens


async def test_a_replay_begins_where_another_run_was(make: Make) -> None:
    asked = make()
    result = await asked.reasoner.aask(
        QUESTION, strategy="dream", seed=3, budget=Budget(seconds=250.0)
    )
    made_before = len(asked.model.calls)

    again = await asked.reasoner.areplay(
        result.run_id, from_="select", strategy="direct", budget=Budget(tokens=900), seed=8
    )

    assert again.run_id != result.run_id
    assert (again.strategy, again.seed) == ("direct", 8)
    limits = again.cost["limits"]
    assert (limits["tokens"], limits["seconds"]) == (900, 250.0)
    assert len(asked.model.calls) == made_before + 1
    assert await asked.reasoner.aresume(result.run_id) == result  # as it was
    forked = await asked.reasoner.afind(again.run_id)
    assert forked.parent.startswith(f"{result.run_id}@")
    assert {r.run_id for r in await (await asked.resources.memory()).recent()} == {
        result.run_id,
        again.run_id,
    }


async def test_a_replay_pays_for_what_was_spent_before(make: Make) -> None:
    asked = make()
    result = await asked.reasoner.aask(QUESTION, strategy="dream")
    steps = await asked.reasoner.ahistory(result.run_id)
    [before_assessing] = [s for s in steps if s.next == ("assess",)]

    again = await asked.reasoner.areplay(result.run_id, from_=before_assessing.checkpoint[-8:])

    assert again.answer == result.answer
    assert again.cost["spent"]["calls"] == 4
    assert len(asked.model.calls) == 4


async def test_a_replay_of_a_strategy_runs_its_whole_subgraph(make: Make) -> None:
    asked = make()
    result = await asked.reasoner.aask(QUESTION, strategy="dream")

    again = await asked.reasoner.areplay(result.run_id, from_="dream")

    assert again.attempts[0]["dreams"]
    assert again.cost["spent"]["calls"] == 4
    assert len(asked.model.calls) == 8


@pytest.mark.parametrize("from_", ["", "nowhere", "ffffffff"])
async def test_a_step_that_is_none_is_wrong_use(make: Make, from_: str) -> None:
    asked = make()
    result = await asked.reasoner.aask(QUESTION, strategy="direct")

    with pytest.raises(ConfigError, match="no node or checkpoint") as caught:
        await asked.reasoner.areplay(result.run_id, from_=from_)
    assert "select" in caught.value.hint
    assert len(await asked.reasoner.aruns()) == 1


async def test_a_run_of_which_only_the_end_was_stored_has_no_step_to_begin_from(
    make: Make, settings: Settings
) -> None:
    asked = make(runs=settings.runs.model_copy(update={"durability": "exit"}))
    result = await asked.reasoner.aask(QUESTION, strategy="direct")

    with pytest.raises(RunUnavailable, match="only its end was stored") as caught:
        await asked.reasoner.areplay(result.run_id, from_="select")
    assert "runs.durability sync" in caught.value.hint


async def test_nothing_comes_after_the_end(make: Make) -> None:
    asked = make()
    result = await asked.reasoner.aask(QUESTION, strategy="direct")
    end = (await asked.reasoner.ahistory(result.run_id))[-1].checkpoint

    with pytest.raises(ConfigError, match="end of the run"):
        await asked.reasoner.areplay(result.run_id, from_=end)


# -- verifiers and tools of one's own --------------------------------------------------------


async def test_a_verifier_can_be_handed_over_with_the_question(make: Make) -> None:
    asked = make()
    judged: list[tuple[str, str]] = []

    def right(question: str, answer: str) -> float:
        judged.append((question, answer))
        return 1.0

    result = await asked.reasoner.aask(QUESTION, strategy="direct", verifier=right)

    assert (QUESTION, result.answer) in judged
    assert result.attempts[0]["signals"]["verifier"] == 1.0


async def test_an_unknown_verifier_is_wrong_use(make: Make) -> None:
    with pytest.raises(ConfigError, match="no verifier is registered as 'nobody'"):
        await make().reasoner.aask(QUESTION, verifier="nobody")


async def test_a_closed_reasoner_opens_its_runs_again(make: Make) -> None:
    asked = make()
    result = await asked.reasoner.aask(QUESTION, strategy="direct")
    await asked.reasoner.aclose()

    assert (await asked.reasoner.afind(result.run_id)).status == "finished"


async def test_closing_in_the_middle_of_a_run_is_said(make: Make) -> None:
    asked = make(lambda _: Say("word " * 20, delay=0.02))
    task = asyncio.create_task(asked.reasoner.aask(QUESTION, strategy="direct"))
    while not asked.model.calls:  # noqa: ASYNC110  # the double has no event to wait for
        await asyncio.sleep(0.01)
    await asked.reasoner.aclose()

    with pytest.raises(KnowledgeUnavailable, match="closed"):
        await task
