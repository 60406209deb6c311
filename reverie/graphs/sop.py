"""A standard operating procedure as a graph: a node for every step, in order, under its own name.

Conditions (``when_N``) and checks (``check_N``) are nodes that route, so that the drawing shows
them. A step with a tool has two nodes: its arguments are written in the first, and ``call_N`` calls
it, so that going on with a run repeats no model call. ``answer`` makes the attempt of what there
is.
"""

from __future__ import annotations

from typing import Any

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from reverie.graphs.attempt import failure_of
from reverie.graphs.context import Context
from reverie.graphs.sop_answer import answer_node
from reverie.graphs.sop_checks import check_node, precondition_node, when_node
from reverie.graphs.sop_plan import ANSWER, PRECONDITIONS, SopPlan
from reverie.graphs.sop_state import SopState
from reverie.graphs.sop_steps import model_node
from reverie.graphs.sop_tools import arguments_node, call_node
from reverie.graphs.step import spent_by
from reverie.knowledge.sops.sop import Sop


def compile_sop(sop: Sop) -> StateGraph[SopState, Context, SopState, SopState]:
    """The graph that follows ``sop``: from a StrategyState to an Attempt. Run it with the recursion
    limit of its ``SopPlan``.
    """
    plan = SopPlan(sop)
    graph = StateGraph(SopState, context_schema=Context)

    # Any: the types of LangGraph know neither factories of nodes nor handlers that go anywhere.
    failed: Any = _failed

    def add(name: str, node: Any, *ways: str) -> None:
        graph.add_node(name, node, error_handler=failed, destinations=tuple(dict.fromkeys(ways)))

    if sop.preconditions:
        add(PRECONDITIONS, precondition_node(plan), plan.entry(1), ANSWER)
    for number, step in enumerate(sop.steps, 1):
        name, coming = plan.name(number), plan.entry(number + 1)
        # Where the budget does not pay for all steps, the last one is done with what there is.
        early = (plan.name(plan.last), ANSWER)
        if step.condition:
            add(plan.when(number), when_node(plan, number), name, coming, *early)
        done = plan.check(number) if step.check else coming
        if step.tool:
            add(name, arguments_node(plan, number), plan.call(number), name, *early)
            ways = (done, plan.call(number), *((name,) if not step.check else ()))
            add(plan.call(number), call_node(plan, number), *ways)
        else:
            again = () if step.check else (name,)
            add(name, model_node(plan, number), done, *again, *early)
        if step.check:
            add(plan.check(number), check_node(plan, number), coming, name, *early)
    answer: Any = answer_node(plan)
    graph.add_node(ANSWER, answer)
    graph.add_edge(START, plan.first)
    graph.add_edge(ANSWER, END)
    return graph


async def _failed(
    state: SopState,  # noqa: ARG001  # LangGraph calls handlers with the state first
    error: NodeError,
) -> Command[str]:
    """Whatever ended a step: the answer is made of what there is by then."""
    kind, message, hint = failure_of(error.error)
    failure = {"kind": kind, "message": message, "hint": hint, "abstained": False}
    return Command(update={"ledger": spent_by(error.error), "failure": failure}, goto=ANSWER)
