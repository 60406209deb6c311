"""Assessing an attempt: accept it, or go on to the next strategy while the budget lasts."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from reverie.graphs.attempt import failed
from reverie.graphs.budget import ledger_of
from reverie.graphs.context import Context
from reverie.graphs.records import Attempt
from reverie.graphs.select import candidates
from reverie.graphs.state import ReasonState


async def assess(
    state: ReasonState, runtime: Runtime[Context]
) -> Command[Literal["select", "answer"]]:
    """File the attempt, and say what comes next."""
    attempt = state.get("attempt") or _nothing(state["choice"]["strategy"])
    attempts = [*state["attempts"], attempt]
    go_on = _next(state, attempts, runtime.context)
    accepted = attempt["status"] == "ok"
    why = "accepted" if accepted else attempt["error"]
    runtime.stream_writer({"type": "assessed", "accepted": accepted, "why": why})
    return Command(
        update={"attempts": attempts, "attempt": None}, goto="select" if go_on else "answer"
    )


def _nothing(strategy: str) -> Attempt:
    return failed(
        strategy,
        "OutputInvalid",
        f"the strategy {strategy} ended without an attempt",
        "its graph has to write `attempt` to the state",
    )


def _next(state: ReasonState, attempts: list[Attempt], context: Context) -> bool:
    """Whether another strategy should be tried. One that was asked for is never replaced."""
    if attempts[-1]["status"] == "ok" or context.strategy != "auto":
        return False
    ledger = ledger_of(state, context)
    tried = [a["strategy"] for a in attempts]
    return not ledger.exhausted() and bool(candidates(context, tried, ledger))
