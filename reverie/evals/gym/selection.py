"""The learning selector on a row of questions: after each answer it is told whether it was right.

Live, every answer comes from the model. Recorded, the answers are those that each strategy gave to
the same question before; all else is the same reason graph with its own memory: what is recalled,
selected, accepted or tried again, stored and learned.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import TypedDict

from reverie.errors import ConfigError, ReverieError
from reverie.evals.gym.families import GymQuestion, is_right
from reverie.evals.gym.record import Record, ask_for_result
from reverie.models.profile import ModelProfile

if TYPE_CHECKING:
    from langgraph.graph import StateGraph
    from langgraph.runtime import Runtime

    from reverie.agents.reasoner import Reasoner
    from reverie.graphs.budget import Entry
    from reverie.graphs.context import Context
    from reverie.graphs.records import Attempt
    from reverie.graphs.resources import Resources
    from reverie.graphs.state import ReasonState, StrategyState
    from reverie.graphs.strategies import Strategy
    from reverie.models.chat_model import ChatModel
    from reverie.settings import Settings


class Taken(TypedDict):
    """One question of the row, and what the selector did with it."""

    id: str
    family: str
    tried: list[str]
    """Its attempts, in order."""
    strategy: str
    """The one whose answer was given; empty when none answered."""
    propensity: float
    """Of the first choice."""
    right: int
    tokens: int
    """Of all attempts."""


async def select_live(
    reasoner: Reasoner, row: Sequence[GymQuestion], *, seed: int
) -> AsyncIterator[Taken]:
    """Ask ``row`` with the learned choice, one question after the other."""
    for at, question in enumerate(row):
        record, result, run_id = await ask_for_result(reasoner, question, "auto", seed=seed + at)
        if run_id:
            await reasoner.afeedback(run_id, float(record["right"]))
        tried = [attempt["strategy"] for attempt in result.attempts] if result else []
        yield {
            "id": question.id,
            "family": question.family,
            "tried": tried,
            "strategy": record["strategy"] if result else "",
            "propensity": result.choice["propensity"] if result else 1.0,
            "right": record["right"],
            "tokens": record["tokens"],
        }


async def select_recorded(
    settings: Settings,
    records: Sequence[Record],
    row: Sequence[GymQuestion],
    *,
    seed: int,
) -> AsyncIterator[Taken]:
    """The same with answers from ``records``, which have to hold every strategy of the settings for
    every question. Raises ConfigError when one is missing.
    """
    from reverie.graphs.confidence import model_of, recalibrate
    from reverie.graphs.context import Context
    from reverie.graphs.learn import record_run
    from reverie.graphs.question import clean_question
    from reverie.graphs.reason import RECURSION_LIMIT, build

    answers = _answers(records, row, settings.reason.strategies)
    resources = _recorded_resources(settings)
    graph = build(_played(answers)).compile()
    try:
        memory = await resources.memory()
        for at, question in enumerate(row):
            context = Context.of(settings, resources=resources.key, seed=seed + at)
            run_id = f"{seed}-{question.id}"
            state: Any = {}
            try:
                async for part in graph.astream(
                    {"question": clean_question(question.text), "run_id": run_id},
                    {"recursion_limit": RECURSION_LIMIT},
                    context=context,
                    stream_mode="values",
                ):
                    state = part
            except ReverieError:  # every attempt failed
                await record_run(cast("ReasonState", state), resources, context, status="failed")
            one = await _taken(question, state, answers)
            await memory.score(run_id, float(one["right"]))
            await recalibrate(resources, model_of(resources, context))
            yield one
    finally:
        await resources.close()


_Answers = Mapping[tuple[str, str], Record]
"""By question, as it enters a run, and strategy."""


def _answers(
    records: Sequence[Record], row: Sequence[GymQuestion], strategies: Sequence[str]
) -> _Answers:
    from reverie.graphs.question import clean_question

    by_id = {(record["id"], record["strategy"]): record for record in records}
    answers: dict[tuple[str, str], Record] = {}
    for question in row:
        for strategy in strategies:
            record = by_id.get((question.id, strategy))
            if record is None:
                raise ConfigError(
                    f"there is no record of {question.id} with {strategy}",
                    hint="make it with python -m reverie.evals.gym record",
                )
            answers[clean_question(question.text), strategy] = record
    return answers


async def _taken(question: GymQuestion, state: Any, answers: _Answers) -> Taken:
    attempts: list[Attempt] = state.get("attempts", [])
    answer = state.get("answer")
    text = answer["text"] if answer else ""
    right = bool(text) and await asyncio.to_thread(is_right, question, text)
    tried = [attempt["strategy"] for attempt in attempts]
    choices = state.get("choices") or [state["choice"]]
    return {
        "id": question.id,
        "family": question.family,
        "tried": tried,
        "strategy": answer["strategy"] if answer else "",
        "propensity": choices[0]["propensity"],
        "right": int(right),
        "tokens": sum(answers[state["question"], strategy]["tokens"] for strategy in tried),
    }


# -- strategies and a model that were recorded -------------------------------------------------


def _played(answers: _Answers) -> dict[str, Strategy]:
    """Every strategy, with a node in place of its graph that gives the recorded attempt."""
    from reverie.graphs.strategies import known_strategies

    return {
        name: dataclasses.replace(strategy, build=functools.partial(_graph, name, answers))
        for name, strategy in known_strategies().items()
    }


def _graph(name: str, answers: _Answers) -> StateGraph[Any, Any, Any, Any]:
    from langgraph.graph import END, START, StateGraph

    from reverie.graphs.budget import ledger_of
    from reverie.graphs.context import Context
    from reverie.graphs.state import StrategyState

    async def play(state: StrategyState, runtime: Runtime[Context]) -> dict[str, Any]:
        record = answers[state["question"], name]
        ledger = ledger_of(state, runtime.context)
        scope = state.get("scope") or ""
        entry: Entry = ledger.spend(
            f"{scope}:{name}.recorded", _usage(record), node=f"{name}.recorded", scope=scope
        )
        return {"attempt": _attempt(record), "ledger": [entry], "notices": []}

    play.__annotations__ = {"state": StrategyState, "runtime": "Runtime[Context]"}
    graph = StateGraph(StrategyState, context_schema=Context)
    graph.add_node("recorded", play)
    graph.add_edge(START, "recorded")
    graph.add_edge("recorded", END)
    return graph


def _attempt(record: Record) -> Attempt:
    from reverie.graphs.attempt import answered, failed

    if record["status"] == "ok":
        return answered(record["strategy"], record["answer"], record["signals"])
    return failed(record["strategy"], record["error_type"], record["error"])


def _usage(record: Record) -> Any:
    from reverie.graphs.budget import NO_USAGE

    return NO_USAGE | {
        "tokens_in": record["tokens_in"],
        "tokens_out": record["tokens_out"],
        "calls": record["calls"],
    }


def _recorded_resources(settings: Settings) -> Resources:
    from reverie.graphs.resources import Resources

    class Recorded(Resources):
        """Resources whose model is known by its profile only."""

        async def model(self, name: str = "", preview: bool | None = None) -> ChatModel:
            del name, preview
            return cast("ChatModel", _ProfileOnly())

    return Recorded(settings)


class _ProfileOnly:
    """What a run looks at of a model that it never asks."""

    reverie_profile = ModelProfile(
        name="recorded",
        window=8192,
        parameters=134_515_008,
        json_schema=True,
        schema_patterns=True,
        tools="none",
        logprobs=True,
        prefill=True,
    )
    """As the embedded engine describes the measuring model: the selector looks at some of it."""
    counts_exactly = False

    async def aclose(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""
