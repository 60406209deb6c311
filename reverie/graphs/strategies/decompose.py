"""Decompose: split the question, answer its parts in turn, then the question itself (least-to-most
prompting, Zhou et al. 2022, arXiv 2205.10625).

split → solve, once per part, each with the answers of the parts before it → conclude. A question
that does not split, or a budget that does not pay for parts, is answered directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from reverie.graphs.attempt import answered, cut_off, failed, failure_of
from reverie.graphs.call import SMALLEST_ANSWER
from reverie.graphs.confidence import mean_probability, signals_of
from reverie.graphs.context import Context
from reverie.graphs.outside_text import as_data
from reverie.graphs.plain_words import plain_words, strings_in
from reverie.graphs.records import SubAnswer
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, attempt_failed, spent_by
from reverie.graphs.strategies.registry import strategy

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.models.profile import ModelProfile

NAME = "decompose"

MOST_PARTS = 4
_JOINING = 16
"""Tokens that a part's question and answer may add to a later prompt beside their own."""


class DecomposeState(StrategyState):
    """The strategy's own state."""

    parts: NotRequired[list[str]]
    """The questions in order; empty: the question does not split."""
    solved: NotRequired[list[SubAnswer]]


@strategy(NAME, cost=1000, summary="split the question, answer the parts, then the whole")
def build() -> StateGraph[DecomposeState, Context, DecomposeState, DecomposeState]:
    """START → split → solve → … → solve → conclude → END."""
    graph = StateGraph(DecomposeState, context_schema=Context)
    graph.add_node("split", _split, error_handler=attempt_failed(NAME))
    graph.add_node("solve", _solve, error_handler=_part_failed)
    graph.add_node("conclude", _conclude, error_handler=_conclusion_failed)
    graph.add_edge(START, "split")
    graph.add_edge("conclude", END)
    return graph


async def _split(
    state: DecomposeState, runtime: Runtime[Context]
) -> Command[Literal["solve", "conclude"]]:
    """Ask for the parts, when at least one of them could be paid."""
    question = state["question"]
    async with Step(state, runtime, f"{NAME}.split") as step:
        messages = step.messages(NAME, question=question)
        prompt = await step.count(messages)
        direct = await step.count(step.messages("direct", question=question))
        room = step.left["tokens"] - prompt - direct - 2 * SMALLEST_ANSWER
        if room < SMALLEST_ANSWER or step.left["calls"] < 2:
            notices = ["the budget does not pay for splitting the question"]
            return Command(update=step.update(parts=[], notices=notices), goto="conclude")
        reply = await step.ask(
            "split",
            messages,
            max_tokens=min(step.context.thought_tokens, room),
            json_schema=_schema(step.model.reverie_profile),
            shown=False,
        )
        parts = _parts(reply.text, question)
        update = step.update(parts=parts, solved=[])
        return Command(update=update, goto="solve" if parts else "conclude")


async def _solve(
    state: DecomposeState, runtime: Runtime[Context]
) -> Command[Literal["solve", "conclude"]]:
    """Answer the next part, unless that would leave too little for the question itself."""
    parts, solved = state.get("parts", []), state.get("solved", [])
    part = parts[len(solved)]
    async with Step(state, runtime, f"{NAME}.solve") as step:
        messages = step.messages(
            f"{NAME}_part", question=state["question"], known=_known(solved), part=part
        )
        prompt = await step.count(messages)
        last = await step.count(_last(step, state["question"], solved))
        last += -(-len(part.encode()) // 2) + _JOINING
        # What is written now stands in the last prompt again.
        room = (step.left["tokens"] - prompt - last - SMALLEST_ANSWER) // 2
        if room < SMALLEST_ANSWER or step.left["calls"] < 2:
            notices = [f"the budget paid for {len(solved)} of {len(parts)} parts of the question"]
            return Command(update=step.update(notices=notices), goto="conclude")
        reply = await step.ask(
            str(len(solved)), messages, max_tokens=min(step.context.answer_tokens, room)
        )
        text = reply.text.strip()
        sub: SubAnswer = {
            "question": part,
            "answer": text,
            "confidence": mean_probability(reply.tokens),
        }
        step.write({"type": "sub_answered", "sub": sub})
        solved = [*solved, sub]
        goto: Literal["solve", "conclude"] = "solve" if len(solved) < len(parts) else "conclude"
        return Command(update=step.update(solved=solved), goto=goto)


async def _conclude(state: DecomposeState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Answer the question, with what is known of its parts."""
    solved = state.get("solved", [])
    async with Step(state, runtime, f"{NAME}.conclude") as step:
        reply = await step.ask(
            "conclude",
            _last(step, state["question"], solved),
            max_tokens=step.context.answer_tokens,
        )
        attempt = answered(NAME, reply.text.strip(), signals_of(reply.tokens))
        attempt["subanswers"] = solved
        return step.update(attempt=attempt, notices=cut_off(reply))


async def _part_failed(
    state: DecomposeState, error: NodeError
) -> Command[Literal["conclude", "__end__"]]:
    """Without time or tokens for a part, the question is answered with the parts there are."""
    kind, why, hint = failure_of(error.error)
    solved = state.get("solved", [])
    update: dict[str, Any] = {"ledger": spent_by(error.error)}
    if kind == "BudgetExceeded" and solved:
        return Command(update={**update, "notices": [why]}, goto="conclude")
    attempt = {**failed(NAME, kind, why, hint), "subanswers": solved}
    return Command(update={**update, "attempt": attempt}, goto="__end__")


async def _conclusion_failed(state: DecomposeState, error: NodeError) -> dict[str, Any]:
    """Without budget for it, the last part's answer is the best so far: it asks for the answer."""
    kind, why, hint = failure_of(error.error)
    solved = state.get("solved", [])
    update: dict[str, Any] = {"ledger": spent_by(error.error)}
    if kind == "BudgetExceeded" and solved:
        attempt = answered(NAME, solved[-1]["answer"])
        attempt["confidence"] = solved[-1]["confidence"]
        update["notices"] = [f"answered with the last part's answer: {why}"]
    else:
        attempt = failed(NAME, kind, why, hint)
    return {**update, "attempt": {**attempt, "subanswers": solved}}


def _last(step: Step, question: str, solved: Sequence[SubAnswer]) -> list[BaseMessage]:
    """The prompt that asks for the answer."""
    if not solved:
        return step.messages("direct", question=question)
    return step.messages(f"{NAME}_conclude", question=question, known=_known(solved))


def _known(solved: Sequence[SubAnswer]) -> str:
    """What the parts came to. The model's own words, but it may have read others'."""
    return "\n".join(f"{as_data(sub['question'])} {as_data(sub['answer'])}" for sub in solved)


def _schema(profile: ModelProfile) -> dict[str, Any]:
    items = {"type": "array", "items": plain_words(profile), "minItems": 1, "maxItems": MOST_PARTS}
    return {
        "type": "object",
        "properties": {"questions": items},
        "required": ["questions"],
        "additionalProperties": False,
    }


def _parts(text: str, question: str) -> list[str]:
    """The parts, each once; none when the question does not split: there is but one, or the reply
    cannot be read.
    """
    parts = list(dict.fromkeys(strings_in(text, "questions")))[:MOST_PARTS]
    others = [part for part in parts if part.casefold() != question.casefold()]
    # The question itself comes last anyway.
    return others if len(parts) > 1 else []
