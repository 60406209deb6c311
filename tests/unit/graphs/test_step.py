"""One node of a strategy at work: what it may ask for, and that it pays for what it asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.errors import GraphInterrupt
from langgraph.runtime import Runtime

from reverie.errors import BudgetExceeded, ModelUnavailable
from reverie.graphs.budget import Entry, Ledger, total_tokens
from reverie.graphs.call import CallFailed
from reverie.graphs.context import Context
from reverie.graphs.records import Limits
from reverie.graphs.step import Step, StepFailed, spent_by
from reverie.knowledge.runs import RunStore, open_runs
from tests.unit.conftest import QUESTION, Call, Say, ScriptedModel, ScriptedResources

RUN = "3f9c02ab17de"
LIMITS: Limits = {"tokens": 1000, "seconds": 60.0, "calls": 8, "money": None}


class Node:
    """What LangGraph hands to a node, and what the node writes."""

    def __init__(self, resources: ScriptedResources, **context: Any) -> None:
        self.resources = resources
        self.events: list[Any] = []
        self.context = Context(
            resources=resources.key, **{"tokens": 1000, "seconds": 60.0, "calls": 8, **context}
        )
        self.ledger: list[Entry] = []

    def step(self, *, scope: str = "", left: Limits | None = None, **state: Any) -> Step:
        runtime = Runtime(context=self.context, stream_writer=self.events.append)
        books = {"run_id": RUN, "started": time.time(), "ledger": self.ledger, "scope": scope}
        return Step({**books, **state}, runtime, "odd.ask", left=left)

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event["type"] == kind]


@pytest.fixture
def node(resources: ScriptedResources) -> Node:
    return Node(resources)


@pytest.fixture
async def runs(resources: ScriptedResources, tmp_path: Path) -> AsyncIterator[RunStore]:
    """A call journal that knows the run."""
    store = await asyncio.to_thread(open_runs, tmp_path)
    owner = await store.registry.start(
        RUN, QUESTION, {}, durability="sync", version="1", state_schema=1
    )
    store.journal.work(RUN, owner)
    resources.journal = store.journal
    yield store
    await store.close()


def question(step: Step) -> Any:
    return step.messages("direct", question=QUESTION)


async def asks(node: Node, *names: str, scope: str = "") -> None:
    """A node that makes calls of these names."""
    async with node.step(scope=scope) as step:
        for name in names:
            await step.ask(name, question(step), max_tokens=20)


# -- charges -----------------------------------------------------------------------------------


async def test_a_call_is_charged_to_the_reservation_and_told(
    node: Node, model: ScriptedModel
) -> None:
    node.ledger = [Ledger(LIMITS, (), time.time()).reserve("s", 400, 2, node="select")]

    async with node.step(scope="s") as step:
        reply = await step.ask("first", question(step), max_tokens=20)
        assert step.left["tokens"] == 400 - model.tokens[0]
        assert step.left["calls"] == 1
        update = step.update(answer=reply.text, notices=["a", "a"])

    (entry,) = update["ledger"]
    assert (entry["id"], entry["scope"], entry["node"]) == ("spend:s:odd.ask:first", "s", "odd.ask")
    assert total_tokens(entry["usage"]) == model.tokens[0]
    assert (update["notices"], update["answer"]) == (["a"], reply.text)
    (called,) = node.of("called")
    call = called["call"]
    assert (call["name"], call["node"], call["error"]) == ("s:odd.ask:first", "odd.ask", "")
    assert (call["text"], call["usage"]) == (reply.text, entry["usage"])
    assert [p["name"] for p in call["prompts"]] == ["direct"]
    assert "".join(e["text"] for e in node.of("token")) == reply.text


async def test_several_calls_cannot_spend_more_than_is_left(
    node: Node, model: ScriptedModel
) -> None:
    model.script = lambda _: "word " * 500
    node.ledger = [Ledger(LIMITS, (), time.time()).reserve("s", 330, 8, node="select")]

    async def asks() -> None:
        async with node.step(scope="s") as step:
            for number in range(8):
                await step.ask(str(number), question(step), max_tokens=60)

    with pytest.raises(StepFailed) as caught:
        await asks()

    assert isinstance(caught.value.error, BudgetExceeded)
    assert len(model.tokens) == len(caught.value.entries) > 1
    assert sum(model.tokens) <= 330


async def test_a_branch_has_what_it_was_given(node: Node, model: ScriptedModel) -> None:
    left: Limits = {"tokens": 200, "calls": 1, "seconds": 5.0, "money": None}

    async def asks() -> None:
        async with node.step(scope="s:1", left=left) as step:
            await step.ask("first", question(step), max_tokens=20)
            assert (step.left["tokens"], step.left["calls"]) == (200 - model.tokens[0], 0)
            await step.ask("second", question(step), max_tokens=20)

    with pytest.raises(StepFailed, match="no model call is left") as caught:
        await asks()

    assert len(model.calls) == len(caught.value.entries) == 1


async def test_calls_of_one_name_are_each_charged(node: Node, model: ScriptedModel) -> None:
    async with node.step() as step:
        for _ in range(2):
            await step.ask("same", question(step), max_tokens=20)
        update = step.update()

    assert [e["id"] for e in update["ledger"]] == ["spend::odd.ask:same", "spend::odd.ask:same#2"]
    assert Ledger(LIMITS, tuple(update["ledger"]), 0.0).spent["calls"] == len(model.calls) == 2


async def test_what_is_not_to_be_shown_is_charged_and_not_streamed(node: Node) -> None:
    async with node.step() as step:
        await step.ask("quiet", question(step), max_tokens=20, shown=False)
        update = step.update()

    assert node.of("token") == []
    assert len(node.of("called")) == len(update["ledger"]) == 1


# -- failures ----------------------------------------------------------------------------------


async def test_a_failure_keeps_what_was_spent_by_then(node: Node, model: ScriptedModel) -> None:
    said = iter((Say("Fine."), Say("It fa", error=ModelUnavailable("gone"), after=1)))
    model.script = lambda _: next(said)

    with pytest.raises(StepFailed, match="gone") as caught:
        await asks(node, "first", "second")

    assert isinstance(caught.value.error, ModelUnavailable)  # not the call's wrapping of it
    entries = spent_by(caught.value)
    assert [e["id"].rpartition(":")[2] for e in entries] == ["first", "second"]
    assert [c["call"]["error"] for c in node.of("called")] == ["", "gone"]
    assert node.resources.meter.take(RUN) == entries


async def test_a_call_that_was_never_made_costs_nothing(node: Node, model: ScriptedModel) -> None:
    node.ledger = [Ledger(LIMITS, (), time.time()).reserve("s", 10, 1, node="select")]

    with pytest.raises(StepFailed) as caught:
        await asks(node, "first", scope="s")

    assert isinstance(caught.value.error, BudgetExceeded)
    assert (caught.value.entries, model.calls, node.of("called")) == ((), [], [])


async def test_a_failed_call_may_be_caught_and_is_charged(node: Node, model: ScriptedModel) -> None:
    model.script = lambda _: Say("It fa", error=ModelUnavailable("gone"), after=1)

    async with node.step() as step:
        with pytest.raises(CallFailed):
            await step.ask("first", question(step), max_tokens=20)
        update = step.update()

    assert total_tokens(update["ledger"][0]["usage"]) == model.tokens[0]


async def test_an_interrupt_passes_through(node: Node) -> None:
    with pytest.raises(GraphInterrupt):
        async with node.step():
            raise GraphInterrupt


async def test_being_cancelled_passes_through(node: Node) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with node.step():
            raise asyncio.CancelledError


async def test_a_call_ended_from_outside_is_charged_with_the_most_it_could_cost(
    node: Node, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("one two three", delay=60.0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asks(node, "slow"), 0.1)

    (entry,) = node.resources.meter.take(RUN)
    assert len(model.calls) == len(model.cancelled) == 1
    assert (entry["usage"]["calls"], entry["usage"]["estimated"]) == (1, True)
    assert total_tokens(entry["usage"]) == model.tokens[0] + 20  # its prompt, and what it may write
    (called,) = node.of("called")
    call = called["call"]
    assert (call["usage"], call["error_type"]) == (entry["usage"], "CancelledError")
    assert "cut off from outside" in call["error"]
    assert 0.05 < call["usage"]["seconds"] < 30


async def test_a_call_that_is_ended_before_it_begins_is_neither_charged_nor_told(
    node: Node, model: ScriptedModel
) -> None:
    step = node.step()
    async with step:
        asking = asyncio.create_task(step.ask("first", question(step), max_tokens=20))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    assert (model.calls, node.of("called"), step.entries) == ([], [], [])


async def test_a_node_that_ends_its_own_call_is_charged(node: Node, model: ScriptedModel) -> None:
    model.script = lambda _: Say("one two three", delay=60.0)

    async with node.step() as step:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(step.ask("slow", question(step), max_tokens=20), 0.1)
        update = step.update()

    assert [e["usage"]["calls"] for e in update["ledger"]] == [1]


# -- the journal -------------------------------------------------------------------------------


async def test_a_call_is_written_down_before_it_is_made_and_when_it_ended(
    node: Node, runs: RunStore, model: ScriptedModel
) -> None:
    asked = asyncio.Event()

    def script(call: Call) -> Say:
        del call
        asked.set()
        return Say("one two three", delay=0.3)

    model.script = script

    async with node.step(scope="s", left=LIMITS) as step:
        asking = asyncio.create_task(step.ask("first", question(step), max_tokens=20))
        await asked.wait()
        (begun,) = await runs.journal.calls(RUN)
        await asking
        (ended,) = await runs.journal.calls(RUN)

    assert (begun.name, begun.scope, begun.node) == ("s:odd.ask:first", "s", "odd.ask")
    assert not begun.finished
    assert begun.usage["tokens_in"] + begun.usage["tokens_out"] == model.tokens[0] - 3 + 20
    assert ended.finished
    assert ended.usage == step.entries[0]["usage"]


async def test_a_call_that_failed_is_written_down_as_ended(
    node: Node, runs: RunStore, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("It fa", error=ModelUnavailable("gone"), after=1)

    with pytest.raises(StepFailed) as caught:
        await asks(node, "first")

    (call,) = await runs.journal.calls(RUN)
    assert call.finished
    assert call.usage == caught.value.entries[0]["usage"]


async def test_what_the_journal_has_is_not_noted_twice(node: Node, runs: RunStore) -> None:
    async with node.step() as step:
        await step.ask("first", question(step), max_tokens=20)
        own = step.ledger.reserve("mine", 10, 1, node="odd.ask")
        step.update(ledger=[own])

    assert node.resources.meter.take(RUN) == [own]
    assert len(await runs.journal.calls(RUN)) == 1
