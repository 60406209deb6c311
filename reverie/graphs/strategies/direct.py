"""Direct: one call, one short answer."""

from __future__ import annotations

from typing import Any

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from reverie.graphs.attempt import answered, charge_of, cut_off, failed, failure_of
from reverie.graphs.budget import ledger_of
from reverie.graphs.call import call_model
from reverie.graphs.call_events import CallEvents
from reverie.graphs.confidence import mean_probability
from reverie.graphs.context import Context
from reverie.graphs.prompt import load_prompt
from reverie.graphs.resources import find_resources
from reverie.graphs.state import StrategyState
from reverie.graphs.strategies.registry import strategy

NAME = "direct"
_MAX_TOKENS = 96
_PROMPT = load_prompt(NAME)  # here, not in a node: it is a file


@strategy(NAME, cost=200, summary="one call, one short answer")
def build() -> StateGraph[StrategyState, Context, StrategyState, StrategyState]:
    """START → ask → END."""
    graph = StateGraph(StrategyState, context_schema=Context)
    graph.add_node("ask", _ask, error_handler=_ask_failed)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


async def _ask(state: StrategyState, runtime: Runtime[Context]) -> dict[str, Any]:
    ledger = ledger_of(state, runtime.context.limits)
    context = runtime.context
    model = await find_resources(context.resources).model(context.model, context.preview)
    reply = await call_model(
        model,
        _PROMPT.messages(question=state["question"]),
        left=ledger.left(),
        max_tokens=_MAX_TOKENS,
        events=CallEvents(runtime.stream_writer),
    )
    return {
        "ledger": [ledger.spend(f"{NAME}:ask", reply.usage, node=NAME)],
        "attempt": answered(NAME, reply.text.strip(), mean_probability(reply.tokens)),
        "notices": [*reply.notices, *cut_off(reply)],
    }


async def _ask_failed(
    state: StrategyState, error: NodeError, runtime: Runtime[Context]
) -> dict[str, Any]:
    ledger = ledger_of(state, runtime.context.limits)
    return {
        "ledger": charge_of(error, ledger, f"{NAME}:ask", node=NAME),
        "attempt": failed(NAME, *failure_of(error.error)),
    }
