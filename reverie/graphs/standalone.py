"""A strategy as a graph that runs by itself, as Studio shows it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from reverie.graphs.context import Context
from reverie.graphs.question import clean_question
from reverie.graphs.recall import new_run_id
from reverie.graphs.resources import find_resources
from reverie.graphs.state import InputState, StrategyState
from reverie.graphs.strategies import require_strategy

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

RECURSION_LIMIT = 64


def build(name: str) -> StateGraph[StrategyState, Context, InputState, StrategyState]:
    """START → begin → the strategy ``name`` → END. Raises ConfigError for an unknown one."""
    graph = StateGraph(StrategyState, context_schema=Context, input_schema=InputState)
    graph.add_node("begin", _begin)
    graph.add_node(name, require_strategy(name).build().compile(name=name))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", name)
    graph.add_edge(name, END)
    return graph


def standalone(name: str) -> CompiledStateGraph[Any, Context, Any, Any]:
    """The graph of ``build``, without a checkpointer."""
    graph = build(name).compile(name=name)
    return graph.with_config(recursion_limit=RECURSION_LIMIT)


async def _begin(state: StrategyState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Open the books. A thread may be asked again: what an earlier run left in them ends here."""
    # In a thread: the default resources read the settings, which are files.
    resources = await asyncio.to_thread(find_resources, runtime.context.resources)
    return {
        "question": clean_question(state["question"]),
        "run_id": new_run_id(),
        "started": time.time(),
        "ledger": Overwrite([]),
        "notices": Overwrite(list(resources.notices)),
        "scope": "",
        "template": "",
        "attempts": [],
        "attempt": None,
    }
