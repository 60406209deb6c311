"""Self-consistency: several chains of thought, and one weighted vote over where they end
(Wang et al. 2022, arXiv 2203.11171).

Samples are sent out in waves. Each wave is the smallest that can settle the vote, and the next one
goes out only while the outcome can still change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from langgraph.errors import NodeError
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send

from reverie.graphs.context import Context
from reverie.graphs.sample import (
    SampleTask,
    SamplingState,
    Turn,
    Wanted,
    Written,
    answered_by,
    plan,
    sample,
    sample_failed,
    sampling_failed,
    told,
)
from reverie.graphs.step import Step
from reverie.graphs.strategies.registry import strategy
from reverie.graphs.vote import Tally, elected, next_wave, poll, settled

NAME = "self_consistency"

MOST_WAVES = 6
"""The last one sends all samples that are left."""


class VotingState(SamplingState):
    """The strategy's own state."""

    waves: int
    """How many were sent out."""


@strategy(NAME, cost=1800, summary="several chains of thought, one weighted vote")
def build() -> StateGraph[VotingState, Context, VotingState, VotingState]:
    """START → plan → sample (once per branch) → tally → (sample again | END)."""
    graph = StateGraph(VotingState, context_schema=Context)
    graph.add_node("plan", _plan, error_handler=_failed)
    graph.add_node("sample", sample, input_schema=SampleTask, error_handler=sample_failed)
    graph.add_node("tally", _tally, error_handler=_failed)
    graph.add_edge(START, "plan")
    graph.add_edge("sample", "tally")
    return graph


async def _plan(state: VotingState, runtime: Runtime[Context]) -> Command[Literal["sample"]]:
    """Reserve for as many samples as the budget pays for, and send the first wave."""
    async with Step(state, runtime, f"{NAME}.plan") as step:
        turns = (Turn(prompt=NAME, values={"question": state["question"]}),)
        numbers = range(1, step.context.samples + 1)
        wanted = [Wanted(f"sample {n}", turns, step.context.temperature) for n in numbers]
        tasks, entries, notices = await plan(step, wanted, reasons=True)
        first = next_wave(Tally((), (), ()), len(tasks))
        update = step.update(
            planned=tasks,
            written=Overwrite([]),
            waves=1,
            ledger=entries,
            notices=told(step, notices),
        )
        return Command(update=update, goto=[Send("sample", task) for task in tasks[:first]])


async def _tally(
    state: VotingState, runtime: Runtime[Context]
) -> Command[Literal["sample", "__end__"]]:
    """Count the votes; send another wave, or give back what is not needed and answer."""
    async with Step(state, runtime, f"{NAME}.tally") as step:
        written, out = state["written"], state["planned"][len(state["written"]) :]
        tally, notices = await poll(step.resources, state["question"], answered_by(written))
        decided = settled(tally, len(out))
        if out and not decided and step.left["seconds"] > 0 and not _hopeless(written):
            last = state["waves"] >= MOST_WAVES - 1
            size = len(out) if last else next_wave(tally, len(out))
            update = step.update(waves=state["waves"] + 1, notices=told(step, notices))
            return Command(update=update, goto=[Send("sample", task) for task in out[:size]])
        if out:
            notices.append(_given_back(len(written), out, decided=decided))
        update = step.update(
            attempt=elected(NAME, step, written, tally, out=len(out) if decided else 0),
            ledger=[step.ledger.release(task["scope"], node=step.node) for task in out],
            notices=told(step, notices),
        )
        return Command(update=update, goto="__end__")


async def _failed(
    state: VotingState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["__end__"]]:
    return Command(update=sampling_failed(NAME, state, error, runtime), goto="__end__")


def _hopeless(written: Sequence[Written]) -> bool:
    """Whether all failed for a reason that the next ones would share."""
    return all(w["error_type"] not in ("", "OutputInvalid") for w in written)


def _given_back(asked: int, out: Sequence[SampleTask], *, decided: bool) -> str:
    tokens = sum(task["left"]["tokens"] for task in out)
    why = "the vote was settled" if decided else "no more could be asked"
    return f"{why} after {asked} of {asked + len(out)} samples: {tokens} tokens were given back"
