"""The reasoner: one object for loops, threads and plain calls."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from reverie import Budget
from reverie.agents.result import Result
from reverie.errors import ConfigError, KnowledgeUnavailable, ModelUnavailable
from reverie.graphs.events import Event
from reverie.models.chat_model import ChatModel
from reverie.settings import Settings
from tests.unit.agents.conftest import Asked, made
from tests.unit.conftest import QUESTION, Call, Say

EVENT: TypeAdapter[Event] = TypeAdapter(Event)


async def test_a_result_says_everything_about_the_run(asked: Asked) -> None:
    result = await asked.reasoner.aask(QUESTION, strategy="dream", seed=5)

    assert (result.status, result.strategy, result.seed, result.model) == (
        "answered",
        "dream",
        5,
        "smollm2",
    )
    assert result.answer
    assert result.choice["why"] == "asked for"
    assert result.cost["spent"]["calls"] == 4
    assert len(result.attempts[0]["dreams"]) == 4
    assert not result.calibrated
    assert result.notices == []


async def test_streaming_gives_events_and_last_the_result(asked: Asked) -> None:
    items = [item async for item in asked.reasoner.astream(QUESTION)]

    *events, result = items
    assert isinstance(result, Result)
    for event in events:
        EVENT.validate_python(event, strict=True)
    first = events[0]
    assert first == {
        "type": "run_started",
        "run_id": result.run_id,
        "question": QUESTION,
        "model": "smollm2",
    }
    assert events[-1]["type"] == "budget"  # type: ignore[index]


async def test_a_seed_repeats_a_run_and_none_is_a_fresh_one(asked: Asked) -> None:
    first, again = [await asked.reasoner.aask(QUESTION, seed=3) for _ in range(2)]
    assert first.answer == again.answer
    assert sorted(c.options["seed"] for c in asked.model.calls[:4]) == [3, 4, 5, 6]

    seeds = {(await asked.reasoner.aask("Why?", strategy="direct")).seed for _ in range(3)}
    assert len(seeds) == 3


async def test_a_result_says_which_backend_answered(asked: Asked) -> None:
    result = await asked.reasoner.aask(QUESTION, strategy="dream")

    [backend] = result.backends
    assert (backend["name"], backend["calls"], backend["passed_over"]) == ("scripted", 4, [])
    spent = result.cost["spent"]
    assert backend["tokens_in"] + backend["tokens_out"] == (
        spent["tokens_in"] + spent["tokens_out"]
    )


@pytest.mark.parametrize("preview", [None, True, False])
async def test_every_question_can_have_the_preview_backend_or_not(
    asked: Asked, preview: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: set[bool | None] = set()
    model = asked.resources.model

    async def noted(name: str = "", preview: bool | None = None) -> ChatModel:
        wanted.add(preview)
        return await model(name, preview)

    monkeypatch.setattr(asked.resources, "model", noted)

    for strategy in ("direct", "chain_of_thought", "dream"):
        await asked.reasoner.aask(QUESTION, strategy=strategy, preview=preview)

    assert wanted == {preview}


async def test_a_budget_of_its_own_holds_for_one_question(asked: Asked) -> None:
    small = await asked.reasoner.aask(QUESTION, budget=Budget(tokens=3000, seconds=9, calls=2))
    usual = await asked.reasoner.aask(QUESTION)

    assert small.cost["limits"] == {"tokens": 3000, "seconds": 9.0, "calls": 2, "money": None}
    assert len(small.attempts[0]["dreams"]) == 2
    assert usual.cost["limits"]["tokens"] == 8000


@pytest.mark.parametrize("seed", [-1, 2**32])
async def test_a_seed_out_of_range_is_wrong_use(asked: Asked, seed: int) -> None:
    with pytest.raises(ConfigError, match=str(seed)):
        await asked.reasoner.aask(QUESTION, seed=seed)


@pytest.mark.parametrize("strategy", ["drem", "", "../dream"])
async def test_an_unknown_strategy_is_wrong_use(asked: Asked, strategy: str) -> None:
    with pytest.raises(ConfigError, match="no strategy called"):
        await asked.reasoner.aask(QUESTION, strategy=strategy)
    assert asked.model.calls == []


async def test_an_empty_question_is_wrong_use(asked: Asked) -> None:
    with pytest.raises(ConfigError, match="empty"):
        await asked.reasoner.aask(" \n\x00")


async def test_a_models_error_reaches_the_caller_as_it_is(asked: Asked) -> None:
    asked.model.script = lambda _: Say("x", error=ModelUnavailable("gone", hint="start it"))

    with pytest.raises(ModelUnavailable, match="gone") as caught:
        await asked.reasoner.aask(QUESTION, strategy="direct")
    assert caught.value.hint == "start it"


async def test_questions_can_be_asked_at_the_same_time(asked: Asked) -> None:
    asked.model.script = lambda _: Say("It falls down there.", delay=0.01)

    results = await asyncio.gather(
        *(asked.reasoner.aask(f"Why {n}?", strategy="direct") for n in range(4))
    )

    assert [r.question for r in results] == [f"Why {n}?" for n in range(4)]
    assert len({r.run_id for r in results}) == 4
    memory = await asked.resources.memory()
    assert {r.run_id for r in await memory.recent()} == {r.run_id for r in results}


async def test_leaving_the_stream_ends_the_run_and_its_calls(asked: Asked) -> None:
    asked.model.script = lambda _: Say("word " * 500, delay=0.01)

    def begun() -> list[bool]:
        return [len(asked.model.tokens) > branch for branch in range(4)]

    async with aclosing(asked.reasoner.astream(QUESTION, strategy="dream")) as items:
        async for item in items:
            if not isinstance(item, Result) and item["type"] == "token" and all(begun()):
                break

    assert len(asked.model.calls) == 4
    assert len(asked.model.cancelled) == 4
    written = list(asked.model.tokens)
    await asyncio.sleep(0.05)
    assert asked.model.tokens == written
    assert await (await asked.resources.memory()).recent() == []
    assert (await asked.reasoner.aask("Why?", strategy="direct", seed=1)).answer


async def test_cancelling_a_question_ends_its_calls(asked: Asked) -> None:
    asked.model.script = lambda _: Say("word " * 500, delay=0.01)
    task = asyncio.create_task(asked.reasoner.aask(QUESTION, strategy="dream"))
    while len(asked.model.calls) < 4:  # noqa: ASYNC110  # the double has no event to wait for
        await asyncio.sleep(0.005)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(asked.model.cancelled) == 4


async def test_feedback_scores_a_run_by_the_beginning_of_its_id(asked: Asked) -> None:
    result = await asked.reasoner.aask(QUESTION, strategy="direct")

    recorded = await asked.reasoner.afeedback(result.run_id[:5], 0.75)

    assert (recorded.run_id, recorded.score, recorded.status) == (result.run_id, 0.75, "scored")
    assert (await asked.reasoner.afeedback(result.run_id, 0)).score == 0.0


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan"), float("inf")])
async def test_a_score_out_of_range_is_wrong_use(asked: Asked, score: float) -> None:
    result = await asked.reasoner.aask(QUESTION, strategy="direct")

    with pytest.raises(ConfigError, match="between 0"):
        await asked.reasoner.afeedback(result.run_id, score)


async def test_feedback_to_an_unknown_run_names_the_latest(asked: Asked) -> None:
    with pytest.raises(ConfigError, match="no run is recorded"):
        await asked.reasoner.afeedback("beef", 1)
    result = await asked.reasoner.aask(QUESTION, strategy="direct")

    with pytest.raises(ConfigError, match="no run 'zzzz'") as caught:
        await asked.reasoner.afeedback("zzzz", 1)
    assert result.run_id in caught.value.hint


async def test_closing_twice_is_closing_once_and_it_opens_again(settings: Settings) -> None:
    async with made(settings).reasoner as reasoner:
        await reasoner.aclose()
    await reasoner.aclose()


async def test_where_nothing_can_be_recorded_it_says_so(asked: Asked, settings: Settings) -> None:
    await asyncio.to_thread(Path(settings.home, "checkpoints.sqlite").mkdir, parents=True)

    with pytest.raises(KnowledgeUnavailable, match=r"checkpoints\.sqlite") as caught:
        await asked.reasoner.aask(QUESTION)
    assert "REVERIE_HOME" in caught.value.hint


async def test_a_disk_that_fills_up_during_a_run_is_said(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver

    def full(*args: object, **kwargs: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(SqliteSaver, "put", full)

    with pytest.raises(KnowledgeUnavailable, match="disk is full") as caught:
        await asked.reasoner.aask(QUESTION)
    assert "free some space" in caught.value.hint
    [record] = await asked.reasoner.aruns()
    assert record.status == "failed"


async def test_a_run_that_ends_in_an_error_is_remembered_as_failed(asked: Asked) -> None:
    asked.model.script = lambda _: Say(error=ModelUnavailable("gone"))

    with pytest.raises(ModelUnavailable, match="gone"):
        await asked.reasoner.aask(QUESTION, strategy="direct")

    memory = await asked.resources.memory()
    [recorded] = await memory.recent()
    assert (recorded.status, recorded.strategy) == ("failed", "direct")
    [run] = await asked.reasoner.aruns()
    assert (run.status, run.run_id) == ("failed", recorded.run_id)


def test_plain_calls_need_no_event_loop(settings: Settings) -> None:
    it = made(settings)
    with it.reasoner as reasoner:
        result = reasoner.ask(QUESTION, strategy="direct")
        assert result.answer == "It falls to the ground."
        assert reasoner.feedback(result.run_id, 1).score == 1.0
    reasoner.close()


async def test_a_plain_call_works_inside_a_running_loop_too(settings: Settings) -> None:
    """As in a notebook. It blocks that loop, so a caller with a choice uses aask."""
    it = made(settings)
    result = await asyncio.to_thread(it.reasoner.ask, QUESTION, strategy="direct")
    assert result.answer
    await asyncio.to_thread(it.reasoner.close)


def test_threads_share_one_loop_and_one_set_of_stores(settings: Settings) -> None:
    it = made(settings)
    results: list[Result] = []

    def work(number: int) -> None:
        results.append(it.reasoner.ask(f"Why {number}?", strategy="direct"))

    before = threading.active_count()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(r.question for r in results) == [f"Why {n}?" for n in range(5)]
    portals = [t for t in threading.enumerate() if "portal" in t.name]
    assert len(portals) == 1
    it.reasoner.close()
    assert not any("portal" in t.name for t in threading.enumerate())
    assert threading.active_count() >= before


def test_each_loop_may_be_new(settings: Settings) -> None:
    """asyncio.run around every call, as scripts do."""
    it = made(settings)
    answers = [asyncio.run(it.reasoner.aask(QUESTION, strategy="direct")) for _ in range(2)]
    asyncio.run(it.reasoner.aclose())

    assert len({a.run_id for a in answers}) == 2


def test_the_double_is_called_with_the_models_options(settings: Settings) -> None:
    it = made(settings)
    seen: list[Call] = []

    def script(call: Call) -> Say:
        seen.append(call)
        return Say("It falls.")

    it.model.script = script
    with it.reasoner as reasoner:
        reasoner.ask(QUESTION, strategy="direct")

    assert seen[0].options["logprobs"] is True
