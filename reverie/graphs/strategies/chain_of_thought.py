"""Chain of thought: reason in steps first, then answer (Wei et al. 2022, arXiv 2201.11903).

Two calls of one conversation: the reasoning, up to "Answer:", and the answer that follows from it.
The second call's prompt is the first one's and its reply, so the server's prefix cache pays for it.
"""

from __future__ import annotations

from typing import Any

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from reverie.graphs.attempt import answered, charge_of, failed, failure_of
from reverie.graphs.budget import ledger_of
from reverie.graphs.call import call_model
from reverie.graphs.confidence import mean_probability
from reverie.graphs.context import Context
from reverie.graphs.prompt import load_prompt
from reverie.graphs.resources import find_resources
from reverie.graphs.state import StrategyState
from reverie.graphs.strategies.registry import strategy

NAME = "chain_of_thought"
_THOUGHT_TOKENS = 160
_ANSWER_TOKENS = 64
_CUE = "Answer:"


class ThoughtState(StrategyState):
    """The strategy's own state."""

    thought: str


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
    ledger = ledger_of(state, runtime.context.limits)
    left = ledger.left()
    reply = await call_model(
        await find_resources(runtime.context.resources).model(runtime.context.model),
        load_prompt(NAME).messages(question=state["question"]),
        left=left,
        max_tokens=_THOUGHT_TOKENS,
        stop=(_CUE,),
        on_text=lambda text: runtime.stream_writer({"type": "token", "branch": None, "text": text}),
    )
    return {
        "ledger": [ledger.spend(f"{NAME}:think", reply.usage, node=NAME)],
        "thought": reply.text.strip(),
    }


async def _conclude(state: ThoughtState, runtime: Runtime[Context]) -> dict[str, Any]:
    ledger = ledger_of(state, runtime.context.limits)
    opening = f"{state['thought']}\n{_CUE}"
    reply = await call_model(
        await find_resources(runtime.context.resources).model(runtime.context.model),
        load_prompt(NAME).messages(question=state["question"]),
        left=ledger.left(),
        max_tokens=_ANSWER_TOKENS,
        prefill=opening,
        stop=("\n",),
        on_text=lambda text: runtime.stream_writer(
            {"type": "token", "branch": None, "text": text.removeprefix(state["thought"])}
        ),
    )
    answer = reply.text.removeprefix(opening).strip()
    return {
        "ledger": [ledger.spend(f"{NAME}:conclude", reply.usage, node=NAME)],
        "attempt": answered(NAME, answer, mean_probability(reply.tokens)),
    }


async def _failed(
    state: ThoughtState, error: NodeError, runtime: Runtime[Context]
) -> dict[str, Any]:
    ledger = ledger_of(state, runtime.context.limits)
    return {
        "thought": "",
        "ledger": charge_of(error, ledger, f"{NAME}:{error.node}", node=NAME),
        "attempt": failed(NAME, *failure_of(error.error)),
    }


def _whether_thought(state: ThoughtState) -> str:
    return "conclude" if state.get("thought") else END
