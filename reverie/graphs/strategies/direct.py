"""Direct: one call, one short answer."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from reverie.graphs.attempt import answered, cut_off
from reverie.graphs.confidence import signals_of
from reverie.graphs.context import Context
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, attempt_failed
from reverie.graphs.strategies.registry import strategy

NAME = "direct"


@strategy(NAME, cost=200, summary="one call, one short answer")
def build() -> StateGraph[StrategyState, Context, StrategyState, StrategyState]:
    """START → ask → END."""
    graph = StateGraph(StrategyState, context_schema=Context)
    graph.add_node("ask", _ask, error_handler=attempt_failed(NAME))
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


async def _ask(state: StrategyState, runtime: Runtime[Context]) -> dict[str, Any]:
    async with Step(state, runtime, f"{NAME}.ask") as step:
        reply = await step.ask(
            "ask",
            step.messages(NAME, question=state["question"]),
            max_tokens=step.context.answer_tokens,
        )
        return step.update(
            attempt=answered(NAME, reply.text.strip(), signals_of(reply.tokens)),
            notices=cut_off(reply),
        )
