"""What a strategy spends that breaks off is charged once: by the journal, or else by the meter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from reverie.agents.result import Result
from reverie.errors import ConfigError, ReverieError, RunWaiting
from reverie.graphs import select
from reverie.graphs.budget import total_tokens
from reverie.graphs.context import Context
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step
from reverie.graphs.strategies import known_strategies, registry
from reverie.graphs.strategies.registry import Strategy
from reverie.settings import Settings
from tests.unit.agents.conftest import Asked, made
from tests.unit.conftest import (
    QUESTION,
    Call,
    Say,
    ScriptedModel,
    ScriptedResources,
    dream_text,
    run_graph,
)


@pytest.fixture
async def odd(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    """Have a strategy ``odd`` known, whose only node asks, and then does what the test says."""
    life = Life()

    async def ask(state: StrategyState, runtime: Runtime[Context]) -> dict[str, Any]:
        await life.before()
        async with Step(state, runtime, "odd.ask") as step:
            messages = step.messages("direct", question=state["question"])
            await step.ask("ask", messages, max_tokens=16)
            await life.after()
            return step.update()

    def build() -> StateGraph[Any, Any, Any, Any]:
        graph = StateGraph(StrategyState, context_schema=Context)
        graph.add_node("ask", ask)
        graph.add_edge(START, "ask")
        graph.add_edge("ask", END)
        return graph

    entry = Strategy("odd", build, frozenset(), 100, "", frozenset())
    monkeypatch.setitem(registry._strategies, "odd", entry)

    def known() -> None:  # it reads the folder of strategies
        known_strategies.cache_clear()
        known_strategies()

    await asyncio.to_thread(known)
    yield life
    monkeypatch.undo()
    await asyncio.to_thread(known)


class Life:
    """What the node does beside asking."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.before = self._nothing
        self.after = self._nothing

    async def _nothing(self) -> None:
        return None

    async def hang(self) -> None:
        self.asked.set()
        await asyncio.sleep(60)

    async def fail(self) -> None:
        raise ZeroDivisionError("oops")


@pytest.fixture
def soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first strategy is cut off after a second; the others, and the run, have a lot more."""
    sent: list[str] = []

    def send(node: str, task: object, *, timeout: float) -> Send:
        sent.append(node)
        return Send(node, task, timeout=timeout if sent[1:] else 1.0)

    monkeypatch.setattr(select, "Send", send)


async def left_after_asking(asked: Asked, odd: Life) -> str:
    """Ask, and leave when the call has ended and its node has not. Returns the run's id."""
    odd.after = odd.hang
    run_id = ""
    async with aclosing(asked.reasoner.astream(QUESTION, strategy="odd")) as items:

        async def listen() -> None:
            nonlocal run_id
            async for item in items:
                assert not isinstance(item, Result)
                run_id = item.get("run_id", run_id)

        listening = asyncio.create_task(listen())
        await odd.asked.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return run_id


async def test_a_strategy_that_raises_is_charged_once(asked: Asked, odd: Life) -> None:
    odd.after = odd.fail

    with pytest.raises(ReverieError, match="oops"):
        await asked.reasoner.aask(QUESTION, strategy="odd")

    [run] = await asked.reasoner.aruns()
    assert (run.status, run.calls, run.tokens) == ("failed", 1, asked.model.tokens[0])


@pytest.mark.usefixtures("soon_over")
async def test_a_strategy_cut_off_in_a_call_is_charged_with_the_most_it_could_cost(
    asked: Asked, odd: Life
) -> None:
    asked.model.script = lambda _: Say("one two", delay=60.0)

    with pytest.raises(ReverieError, match="did not end in time"):
        await asked.reasoner.aask(QUESTION, strategy="odd")

    [run] = await asked.reasoner.aruns()
    assert (run.calls, run.tokens) == (1, asked.model.tokens[0] + 16)


async def test_what_was_lost_and_what_broke_off_are_not_the_same_call_twice(
    asked: Asked, odd: Life
) -> None:
    """The same process left the run, goes on with it, and fails before it asks again."""
    run_id = await left_after_asking(asked, odd)
    odd.before = odd.fail

    with pytest.raises(ReverieError, match="oops"):
        await asked.reasoner.aresume(run_id)

    [run] = await asked.reasoner.aruns()
    assert len(asked.model.calls) == 1
    assert (run.calls, run.tokens) == (1, asked.model.tokens[0])


async def test_a_call_and_its_repetition_are_both_charged(asked: Asked, odd: Life) -> None:
    run_id = await left_after_asking(asked, odd)
    odd.after = odd.fail

    with pytest.raises(ReverieError, match="oops"):
        await asked.reasoner.aresume(run_id)

    [run] = await asked.reasoner.aruns()
    assert (run.calls, run.tokens) == (2, sum(asked.model.tokens))


@pytest.mark.usefixtures("soon_over", "odd")
@pytest.mark.parametrize("strategy", ["odd", "dream", "self_consistency"])
async def test_without_a_journal_calls_that_were_cut_off_are_charged_too(
    strategy: str, resources: ScriptedResources, model: ScriptedModel
) -> None:
    """As in Studio, where a thread has another id than the run."""

    def hangs_until_cut_off(_: Call) -> Say:
        return Say("one two", delay=0.0 if model.cancelled else 60.0)

    model.script = hangs_until_cut_off

    ran = await run_graph(
        resources, strategies=("direct", strategy), thread="another", augment_below=0.0
    )

    first, second = ran.state["attempts"]
    assert (first["strategy"], first["error_type"]) == (strategy, "BudgetExceeded")
    assert second["status"] == "ok"
    lost = len(model.cancelled)
    assert first["usage"]["calls"] == lost == len(model.calls) - 1
    assert first["usage"]["estimated"]
    cost = ran.of("budget")[-1]["cost"]
    assert sum(model.tokens) < total_tokens(cost["spent"]) <= cost["limits"]["tokens"]
    assert cost["left"]["calls"] == cost["limits"]["calls"] - len(model.calls)


async def test_runs_at_the_same_time_pay_for_their_own_calls(settings: Settings) -> None:
    """Of two reasoners on one home, as two processes are."""
    both = [made(settings), made(settings)]
    for one in both:
        one.model.script = lambda call: Say(
            dream_text(call) if call.expert and call.schema else "It falls.", logprob=-2.0
        )
    try:
        for asked in both:  # loads what both need
            await asked.reasoner.aask(QUESTION, strategy="direct")
        results = await asyncio.gather(
            *(a.reasoner.aask(f"{QUESTION} {n}", seed=n) for n in range(6) for a in both)
        )
        runs = await both[0].reasoner.aruns(100)
    finally:
        for asked in both:
            await asked.reasoner.aclose()

    assert len(runs) == 14
    assert {(run.status, run.worker) for run in runs} == {("finished", "")}
    assert sum(run.calls for run in runs) == sum(len(a.model.calls) for a in both)
    assert sum(run.tokens for run in runs) == sum(sum(a.model.tokens) for a in both)
    for result in results:
        spent = result.cost["spent"]
        assert spent["calls"] == sum(a["usage"]["calls"] for a in result.attempts)
        assert total_tokens(spent) <= result.cost["limits"]["tokens"]


async def test_calls_before_and_after_a_persons_word_are_charged_once(settings: Settings) -> None:
    sent: list[str] = []

    def send(text: str) -> str:
        """Send a message."""
        sent.append(text)
        return "sent"

    reason = settings.reason.model_copy(update={"ask_before": ("tool",)})
    asked = made(settings.model_copy(update={"reason": reason}))
    asked.reasoner._tools = (send,)
    asked.model.abilities = {"tools": "none", "json_schema": True}
    said = iter(['{"tool":"send","text":"hello"}', '{"answer":"Done."}'])
    asked.model.script = lambda _: next(said)
    try:
        with pytest.raises(RunWaiting) as caught:
            await asked.reasoner.aask("Say hello", strategy="tools")
        assert (len(asked.model.calls), sent) == (1, [])
        result = await asked.reasoner.areply(caught.value.run_id, {"approve": True})
    finally:
        await asked.reasoner.aclose()

    assert (result.answer, sent) == ("Done.", ["hello"])
    spent = result.cost["spent"]
    assert (spent["calls"], total_tokens(spent)) == (2, sum(asked.model.tokens))
    assert not spent["estimated"]


async def test_what_fails_before_the_work_begins_gives_the_lease_back(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(**_: Any) -> Any:
        raise ConfigError("no OpenTelemetry here")

    monkeypatch.setattr("reverie.agents.recording.open_spans", missing)
    asked.reasoner._tracer_provider = object()  # type: ignore[assignment]  # never asked

    with pytest.raises(ConfigError, match="no OpenTelemetry here"):
        await asked.reasoner.aask(QUESTION, strategy="direct")

    [run] = await asked.reasoner.aruns()
    assert (run.status, run.worker) == ("failed", "")
