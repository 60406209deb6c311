"""The reason graph: recall → select → one strategy → assess → (select again | answer) → learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from langgraph.errors import GraphRecursionError, NodeError, NodeTimeoutError
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from reverie.graphs.answer import answer
from reverie.graphs.ask_person import ask_person
from reverie.graphs.assess import assess
from reverie.graphs.attempt import failed, failure_of
from reverie.graphs.context import Context
from reverie.graphs.learn import learn
from reverie.graphs.recall import recall
from reverie.graphs.select import select
from reverie.graphs.shape import shape, shape_failed
from reverie.graphs.state import InputState, ReasonState
from reverie.graphs.strategies import Strategy, known_strategies

NAME = "reason"

RECURSION_LIMIT = 64
"""Supersteps: a run takes about six per strategy. The default of LangGraph is ten thousand."""


def build(
    strategies: Mapping[str, Strategy] | None = None,
) -> StateGraph[ReasonState, Context, InputState, ReasonState]:
    """The graph, not compiled: Studio compiles it without a checkpointer, the library with one.

    ``strategies`` are the known ones, or others under the same names, such as recorded ones.
    """
    graph = StateGraph(ReasonState, context_schema=Context, input_schema=InputState)
    strategies = known_strategies() if strategies is None else strategies
    graph.add_node("recall", recall)
    graph.add_node("select", select, destinations=tuple(strategies))
    for name, strategy in strategies.items():
        graph.add_node(name, strategy.build().compile(name=name), error_handler=_strategy_failed)
        graph.add_edge(name, "assess")
    graph.add_node("assess", assess)
    graph.add_node("ask_person", ask_person)
    graph.add_node("shape", shape, error_handler=shape_failed)
    graph.add_node("answer", answer)
    graph.add_node("learn", learn)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "select")
    graph.add_edge("ask_person", "shape")
    graph.add_edge("shape", "answer")
    graph.add_edge("answer", "learn")
    graph.add_edge("learn", END)
    return graph


async def _strategy_failed(
    state: ReasonState,  # noqa: ARG001  # LangGraph calls handlers with the state first
    error: NodeError,
) -> Command[Literal["assess"]]:
    """A strategy that raised, or never ended: a failed attempt, like any other, which assess
    charges with what it had spent.
    """
    kind, message, hint = failure_of(error.error)
    if isinstance(error.error, NodeTimeoutError):
        kind, message = "BudgetExceeded", f"the strategy {error.node} did not end in time"
        hint = "raise --seconds, or use another strategy"
    elif isinstance(error.error, GraphRecursionError):
        kind, message = "ReverieError", f"the strategy {error.node} went round in circles"
        hint = "mend its graph, or use another strategy"
    return Command(update={"attempt": failed(error.node, kind, message, hint)}, goto="assess")


graph = build().compile(name=NAME).with_config(recursion_limit=RECURSION_LIMIT)
