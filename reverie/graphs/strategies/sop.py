"""SOP: follow a standard operating procedure that fits the question, or the one that was named.

match → carry_out, in which the procedure runs as the graph that it compiles to. Abstains where no
procedure fits.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NotRequired

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from reverie.errors import ConfigError
from reverie.graphs.attempt import failed
from reverie.graphs.context import Context
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.sop import compile_sop
from reverie.graphs.sop_match import best_sop
from reverie.graphs.sop_plan import SopPlan
from reverie.graphs.state import StrategyState
from reverie.graphs.step import attempt_failed
from reverie.graphs.strategies.registry import strategy
from reverie.knowledge.sops import Sop, StoredSop

NAME = "sop"


class SopChoice(StrategyState):
    """The strategy's own state."""

    procedure: NotRequired[dict[str, Any]]
    """The procedure itself: a run that is gone on with follows the same."""


@strategy(NAME, cost=1500, summary="follow a standard operating procedure that fits")
def build() -> StateGraph[SopChoice, Context, SopChoice, SopChoice]:
    """START → match → carry_out → END."""
    graph = StateGraph(SopChoice, context_schema=Context)
    graph.add_node("match", _match, error_handler=attempt_failed(NAME))
    graph.add_node("carry_out", _carry_out, error_handler=attempt_failed(NAME))
    graph.add_edge(START, "match")
    graph.add_edge("carry_out", END)
    return graph


async def _match(
    state: SopChoice, runtime: Runtime[Context]
) -> Command[Literal["carry_out", "__end__"]]:
    """Look for the procedure."""
    context = runtime.context
    # In a thread: the default resources read the settings, which are files.
    resources = await asyncio.to_thread(find_resources, context.resources)
    found, why = await _wanted(state["question"], context.sop, resources)
    if found is None:
        attempt = failed(NAME, "", why)
        attempt["status"] = "abstained"
        return Command(update={"attempt": attempt}, goto="__end__")
    runtime.stream_writer({"type": "notice", "text": why})
    update = {"procedure": found.sop.document(), "notices": [why]}
    return Command(update=update, goto="carry_out")


async def _wanted(question: str, name: str, resources: Resources) -> tuple[StoredSop | None, str]:
    """The procedure to follow, and why; None: none fits. Raises ConfigError for an unknown name."""
    if not name:
        return await best_sop(question, resources)
    stored = await (await resources.sops()).get(name)
    return stored, f"follows the SOP {stored.name}, version {stored.number}, as asked for"


async def _carry_out(state: SopChoice, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run the procedure's own graph, under this node's namespace: it has its checkpoints there."""
    try:
        sop = Sop.model_validate(state["procedure"])
    except ValueError as error:
        raise ConfigError(
            f"the procedure of this run was written by another Reverie: {error}",
            hint="ask the question anew",
        ) from error
    graph = (await asyncio.to_thread(compile_sop, sop)).compile(name=sop.name)
    given: Any = {key: value for key, value in state.items() if key != "procedure"}
    config: Any = {"recursion_limit": SopPlan(sop).recursion_limit}
    ended = await graph.ainvoke(given, config, context=runtime.context)
    return {key: ended[key] for key in ("attempt", "ledger", "notices") if key in ended}
