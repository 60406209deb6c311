"""The end of a run: the answer of the best attempt, an abstention, or the error that stopped it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime

from reverie import errors
from reverie.errors import ReverieError
from reverie.graphs.acceptance import acceptable, best_attempt
from reverie.graphs.budget import Ledger, ledger_of
from reverie.graphs.call_events import passed_over
from reverie.graphs.context import Context
from reverie.graphs.records import Answer, Attempt
from reverie.graphs.state import ReasonState
from reverie.graphs.strategies import require_strategy


async def answer(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Answer with the best attempt, or abstain.

    Raises an attempt's error when every one failed, and what kept an answer from the form that was
    asked for: error text is never an answer.
    """
    context = runtime.context
    if unshaped := state.get("unshaped"):
        raise error_of(unshaped["error_type"], unshaped["error"], unshaped["hint"])
    ledger = ledger_of(state, context)
    final = conclude(state["attempts"], ledger, context)
    final["output"] = state.get("output")
    runtime.stream_writer({"type": "answer", "answer": final})
    runtime.stream_writer({"type": "budget", "cost": ledger.cost()})
    notices = [
        passed_over(use["name"], why)
        for use in ledger.spent["backends"]
        for why in use["passed_over"]
    ]
    return {"answer": final, "notices": notices}


def conclude(attempts: Sequence[Attempt], ledger: Ledger, context: Context) -> Answer:
    """The answer that the attempts come to. Raises what stopped them when all failed."""
    best = best_attempt(attempts, context)
    if best is None:
        told = _telling(attempts)
        raise error_of(told["error_type"], told["error"], told["hint"])
    return {
        "status": "answered" if best["status"] == "ok" else "abstained",
        "text": best["answer"],
        "output": None,
        "strategy": best["strategy"],
        "confidence": best["confidence"],
        "calibrated": best["calibrated"],
        "stopped": _stopped(best, attempts, ledger, context),
    }


def _stopped(best: Attempt, attempts: Sequence[Attempt], ledger: Ledger, context: Context) -> str:
    """Why the run ended before it had done all it set out to do; empty when it had not."""
    accepted, _ = acceptable(best, context)
    exhausted = ledger.exhausted()
    if not exhausted:
        last = attempts[-1]
        exhausted = last["error"] if last["error_type"] == "BudgetExceeded" else ""
    elif lost := sum(dream["status"] == "failed" for dream in best["dreams"]):
        finished = len(best["dreams"]) - lost
        return f"{exhausted}; answered from the {finished} dreams that finished"
    if exhausted and best["status"] == "ok" and not accepted and context.strategy == "auto":
        return f"{exhausted}; answered with the best so far"
    return exhausted


def _telling(attempts: Sequence[Attempt]) -> Attempt:
    """The failure to report: the last one that more budget would not have mended; if all lacked
    budget, that of the cheapest strategy, which knows the smallest budget that would do.
    """
    others = [a for a in attempts if a["error_type"] != "BudgetExceeded"]
    if others:
        return others[-1]
    return min(attempts, key=lambda a: require_strategy(a["strategy"]).cost)


def error_of(kind: str, message: str, hint: str) -> ReverieError:
    """The typed error that a record names."""
    error: ReverieError = getattr(errors, kind, ReverieError)(message, hint=hint)
    return error
