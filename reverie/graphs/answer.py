"""The end of a run: the answer of the best attempt, an abstention, or the error that stopped it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime

from reverie import errors
from reverie.errors import ReverieError
from reverie.graphs.budget import Ledger, ledger_of
from reverie.graphs.call_events import passed_over
from reverie.graphs.context import Context
from reverie.graphs.records import Answer, Attempt
from reverie.graphs.state import ReasonState
from reverie.graphs.strategies import require_strategy


async def answer(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Answer with the last attempt that succeeded, or abstain.

    Raises an attempt's error when every one failed: error text is never an answer.
    """
    ledger = ledger_of(state, runtime.context)
    final = conclude(state["attempts"], ledger)
    runtime.stream_writer({"type": "answer", "answer": final})
    runtime.stream_writer({"type": "budget", "cost": ledger.cost()})
    notices = [
        passed_over(use["name"], why)
        for use in ledger.spent["backends"]
        for why in use["passed_over"]
    ]
    return {"answer": final, "notices": notices}


def conclude(attempts: Sequence[Attempt], ledger: Ledger) -> Answer:
    """The answer that the attempts come to. Raises what stopped them when all failed."""
    for status in ("ok", "abstained"):
        for attempt in reversed(attempts):
            if attempt["status"] == status:
                return {
                    "status": "answered" if status == "ok" else "abstained",
                    "text": attempt["answer"],
                    "output": None,
                    "strategy": attempt["strategy"],
                    "confidence": attempt["confidence"],
                    "calibrated": attempt["calibrated"],
                    "stopped": _stopped(attempt, attempts[-1], ledger),
                }
    raise _error_of(_telling(attempts))


def _stopped(attempt: Attempt, last: Attempt, ledger: Ledger) -> str:
    """Why the run ended before it had done all it set out to do; empty when it had not."""
    exhausted = ledger.exhausted()
    lost = sum(dream["status"] == "failed" for dream in attempt["dreams"])
    if not exhausted:
        return last["error"] if last["error_type"] == "BudgetExceeded" else ""
    if lost:
        finished = len(attempt["dreams"]) - lost
        return f"{exhausted}; answered from the {finished} dreams that finished"
    return exhausted


def _telling(attempts: Sequence[Attempt]) -> Attempt:
    """The failure to report: the last one that more budget would not have mended; if all lacked
    budget, that of the cheapest strategy, which knows the smallest budget that would do.
    """
    others = [a for a in attempts if a["error_type"] != "BudgetExceeded"]
    if others:
        return others[-1]
    return min(attempts, key=lambda a: require_strategy(a["strategy"]).cost)


def _error_of(attempt: Attempt) -> ReverieError:
    kind = getattr(errors, attempt["error_type"], ReverieError)
    error: ReverieError = kind(attempt["error"], hint=attempt["hint"])
    return error
