"""Chain of thought: reason in steps first, then answer (Wei et al. 2022, arXiv 2201.11903).

Two calls of one conversation: the reasoning, up to "Answer:", and the answer that follows from it.
The second call goes on with the reply where the model can do that; otherwise the reasoning becomes
a turn of the conversation, and the next turn asks for the answer. Either way its prompt begins with
the first one's, so the server's prefix cache pays for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from reverie.errors import BudgetExceeded
from reverie.graphs.attempt import answered, cut_off, failed, failure_of
from reverie.graphs.call import SMALLEST_ANSWER
from reverie.graphs.confidence import signals_of, span
from reverie.graphs.context import Context
from reverie.graphs.records import Limits
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, spent_by
from reverie.graphs.strategies.registry import strategy

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

NAME = "chain_of_thought"
_CUE = "Answer:"

_CUE_TOKENS = 8
"""What the cue, and joining the thought to it, may add to the second prompt."""


class ThoughtState(StrategyState):
    """The strategy's own state."""

    thought: str | None
    """None when there was no room or no luck to think; empty when the model answers at once."""


@strategy(NAME, cost=600, summary="reason in steps, then answer")
def build() -> StateGraph[ThoughtState, Context, ThoughtState, ThoughtState]:
    """START → think → conclude → END."""
    graph = StateGraph(ThoughtState, context_schema=Context)
    graph.add_node("think", _think, error_handler=_failed)
    graph.add_node("conclude", _conclude, error_handler=_failed)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", _whether_thought, {"conclude": "conclude", END: END})
    graph.add_edge("conclude", END)
    return graph


async def _think(state: ThoughtState, runtime: Runtime[Context]) -> dict[str, Any]:
    async with Step(state, runtime, f"{NAME}.think") as step:
        messages = step.messages(NAME, question=state["question"])
        prompt = await step.count(messages)
        room = _room(prompt, await _second_prompt(step, state["question"]), step.left)
        reply = await step.ask(
            "think",
            messages,
            max_tokens=min(step.context.thought_tokens, room),
            stop=(_CUE,),
        )
        return step.update(thought=reply.text.strip())


async def _conclude(state: ThoughtState, runtime: Runtime[Context]) -> dict[str, Any]:
    thought = state["thought"] or ""
    async with Step(state, runtime, f"{NAME}.conclude") as step:
        goes_on = step.model.reverie_profile.prefill
        opening = f"{thought}\n{_CUE}" if goes_on else ""
        if not goes_on:
            step.write({"type": "token", "branch": None, "text": f"\n{_CUE} "})
        reply = await step.ask(
            "conclude",
            _conversation(step, state["question"], None if goes_on else thought),
            max_tokens=step.context.answer_tokens,
            prefill=opening,
            hidden=thought if goes_on else "",
        )
        written = reply.text.removeprefix(opening)
        answer = _conclusion(written, thought)
        wrote = span(reply.tokens, answer) if answer in written else ()
        return step.update(
            attempt=answered(NAME, answer, signals_of(wrote)),
            notices=[] if "\n" in written.strip() else cut_off(reply),
        )


async def _failed(
    state: ThoughtState,
    error: NodeError,
    runtime: Runtime[Context],  # noqa: ARG001  # LangGraph hands it over
) -> dict[str, Any]:
    update: dict[str, Any] = {
        "ledger": spent_by(error.error),
        "attempt": failed(NAME, *failure_of(error.error)),
    }
    kind, why, _ = failure_of(error.error)
    if error.node == "think":
        update["thought"] = None
    elif kind == "BudgetExceeded" and state["thought"]:
        # What the reasoning ended in is the best answer so far.
        update["attempt"] = answered(NAME, _conclusion("", state["thought"]))
        update["notices"] = [f"answered with the end of the reasoning: {why}"]
    return update


def _conversation(step: Step, question: str, thought: str | None) -> list[BaseMessage]:
    """The prompt; with a ``thought``, that as a turn, and the turn that asks for the answer."""
    messages = step.messages(NAME, question=question)
    if thought is None:
        return messages
    # An empty turn is refused by some servers.
    return messages + step.messages(f"{NAME}_conclude", thought=thought or _CUE)


async def _second_prompt(step: Step, question: str) -> int:
    """Tokens of the second call's prompt, apart from the thought in it."""
    goes_on = step.model.reverie_profile.prefill
    return await step.count(_conversation(step, question, None if goes_on else _CUE)) + _CUE_TOKENS


def _room(prompt: int, second: int, left: Limits) -> int:
    """How long the thought may be, in tokens, so that the second call is affordable too: the first
    prompt has ``prompt`` tokens, the second one ``second`` beside the thought. Raises
    BudgetExceeded.
    """
    if left["calls"] < 2:
        raise BudgetExceeded(
            f"chain of thought takes two model calls, and {left['calls']} is left",
            hint="raise budget.calls, or use --strategy direct",
        )
    room = (left["tokens"] - prompt - second - SMALLEST_ANSWER) // 2
    if room < SMALLEST_ANSWER:
        smallest = prompt + second + 3 * SMALLEST_ANSWER
        raise BudgetExceeded(
            f"{left['tokens']} tokens are too few for a chain of thought: the smallest budget that "
            f"would do is {smallest} tokens (two calls with prompts of {prompt} and more)",
            hint=f"give --budget {smallest} or more, or --strategy direct",
        )
    return room


def _conclusion(written: str, thought: str) -> str:
    """The first line that the model wrote; if it wrote none, what its reasoning ended in."""
    lines = [line.strip() for line in written.strip().removeprefix(_CUE).splitlines()]
    lines = [line for line in lines if line]
    return lines[0] if lines else re.split(r"(?<=[.!?])\s+", thought)[-1]


def _whether_thought(state: ThoughtState) -> str:
    return END if state.get("thought") is None else "conclude"
