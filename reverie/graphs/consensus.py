"""The panel: agents of different roles answer one question, and agree by a weighted vote.

Where they discuss (Du et al. 2023, arXiv 2305.14325), each first reads what the others said and
answers again, unless all said the same at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from langgraph.errors import NodeError
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send

from reverie.errors import BudgetExceeded
from reverie.graphs.budget import Entry
from reverie.graphs.context import Context
from reverie.graphs.outside_text import as_data
from reverie.graphs.records import Sample
from reverie.graphs.sample import (
    SampleTask,
    SamplingState,
    Turn,
    Wanted,
    answered_by,
    messages_of,
    plan,
    sample,
    sample_failed,
    sampling_failed,
    told,
)
from reverie.graphs.step import Step
from reverie.graphs.vote import elected, poll

NAME = "panel"

ROLES = ("solver", "skeptic", "checker")
"""Each has a prompt of its own, ``panel_ROLE``; more agents than roles are drawn again."""


class PanelState(SamplingState):
    """The strategy's own state."""

    seats: list[int]
    """The branches of the first round that take part in the second, in the second one's order."""
    discussed: bool


def build() -> StateGraph[PanelState, Context, PanelState, PanelState]:
    """START → plan → sample (once per agent) → tally → (sample again, in discussion | END)."""
    graph = StateGraph(PanelState, context_schema=Context)
    graph.add_node("plan", _plan, error_handler=_failed)
    graph.add_node("sample", sample, input_schema=SampleTask, error_handler=sample_failed)
    graph.add_node("tally", _tally, error_handler=_failed)
    graph.add_edge(START, "plan")
    graph.add_edge("sample", "tally")
    return graph


async def _plan(state: PanelState, runtime: Runtime[Context]) -> Command[Literal["sample"]]:
    """Reserve for as many agents as the budget pays for, and send them out."""
    async with Step(state, runtime, f"{NAME}.plan") as step:
        context = step.context
        wanted = [_agent(n, state["question"], context) for n in range(context.agents)]
        kept = 0
        if context.consensus == "discuss":
            # The second prompt has the first one in it, and what was written then.
            prompts = [await step.count(messages_of(step, one.turns)) for one in wanted]
            kept = max(prompts) + 2 * (context.thought_tokens + context.answer_tokens)
        tasks, entries, notices = await _affordable(step, wanted, kept)
        update = step.update(
            planned=tasks,
            written=Overwrite([]),
            seats=[],
            discussed=False,
            ledger=entries,
            notices=told(step, notices),
        )
        return Command(update=update, goto=[Send("sample", task) for task in tasks])


async def _tally(
    state: PanelState, runtime: Runtime[Context]
) -> Command[Literal["sample", "__end__"]]:
    """Vote; or have the agents answer again, who have not discussed yet and do not agree."""
    async with Step(state, runtime, f"{NAME}.tally") as step:
        voices = _voices(state)
        tally, notices = await poll(step.resources, state["question"], voices)
        discuss = step.context.consensus == "discuss" and not state["discussed"]
        if discuss and len(tally.totals) > 1 and step.left["seconds"] > 0:
            try:
                tasks, entries, fewer = await _second_round(step, state, voices)
            except BudgetExceeded as error:
                notices.append(f"the panel votes without a discussion: {error.message}")
            else:
                update = step.update(
                    planned=[*state["planned"], *tasks],
                    seats=[s["branch"] for s in voices[: len(tasks)]],
                    discussed=True,
                    ledger=entries,
                    notices=told(step, [*notices, *fewer]),
                )
                return Command(update=update, goto=[Send("sample", task) for task in tasks])
        update = step.update(
            attempt=elected(NAME, step, state["written"], tally), notices=told(step, notices)
        )
        return Command(update=update, goto="__end__")


async def _failed(
    state: PanelState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["__end__"]]:
    return Command(update=sampling_failed(NAME, state, error, runtime), goto="__end__")


async def _affordable(
    step: Step, wanted: Sequence[Wanted], kept: int
) -> tuple[list[SampleTask], list[Entry], list[str]]:
    """The agents that the budget pays for, with ``kept`` tokens for what each says in a discussion;
    without, when not all could take part in one: more voices are worth more. Raises BudgetExceeded.
    """
    if kept:
        try:
            planned = await plan(step, wanted, reasons=True, what="agent", kept=kept)
        except BudgetExceeded:
            pass  # the plan without it tells the smallest budget
        else:
            if len(planned[0]) == len(wanted):
                return planned
    return await plan(step, wanted, reasons=True, what="agent")


async def _second_round(
    step: Step, state: PanelState, voices: Sequence[Sample]
) -> tuple[list[SampleTask], list[Entry], list[str]]:
    """Each agent again, after what it said itself and what the others said. Raises
    BudgetExceeded.
    """
    replies = {one["sample"]["branch"]: one["text"] for one in state["written"]}
    wanted = []
    for mine in voices:
        others = [f"- {v['label']}: {as_data(v['answer'])}" for v in voices if v is not mine]
        said = {"own": replies[mine["branch"]], "others": "\n".join(others)}
        agent = _agent(mine["branch"], state["question"], step.context)
        turns = (*agent.turns, Turn(prompt="panel_discuss", values=said))
        wanted.append(Wanted(f"{agent.label}, again", turns, agent.temperature))
    first = 1 + max(one["sample"]["branch"] for one in state["written"])
    return await plan(step, wanted, reasons=True, what="agent", first=first)


def _voices(state: PanelState) -> list[Sample]:
    """What each agent said last, by agent; one that failed to answer again stands by its first
    answer, and one that never answered has no voice.
    """
    seats, first = state["seats"], len(state["written"]) - len(state["seats"])
    voices: dict[int, Sample] = {}
    for one in answered_by(state["written"]):
        again = one["branch"] - first
        voices[seats[again] if again >= 0 else one["branch"]] = one
    return [voices[agent] for agent in sorted(voices)]


def _agent(number: int, question: str, context: Context) -> Wanted:
    role = ROLES[number % len(ROLES)]
    turn = Turn(prompt=f"panel_{role}", values={"question": question})
    if number < len(ROLES):
        return Wanted(role, (turn,), 0.0)
    # Of two agents with one prompt, one has to be drawn.
    return Wanted(f"{role} {number // len(ROLES) + 1}", (turn,), context.temperature)
