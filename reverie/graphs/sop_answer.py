"""The end of a procedure: the attempt that is made of its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from reverie.graphs.attempt import NO_SIGNALS, answered, failed
from reverie.graphs.records import Attempt, SubAnswer
from reverie.graphs.sop_plan import SopPlan
from reverie.graphs.sop_state import SopState

STRATEGY: Final = "sop"


def answer_node(plan: SopPlan) -> Callable[[SopState], Awaitable[dict[str, Any]]]:
    """The last done step's result is the answer. Without budget for all steps that is the best so
    far; whatever else ended the procedure is a failed attempt.
    """

    async def answer(state: SopState) -> dict[str, Any]:
        results = state.get("results", [])
        failure = state.get("failure")
        done = [r for r in results if r["status"] == "done"]
        notices: list[str] = []
        if failure and failure["abstained"]:
            attempt = failed(STRATEGY, "", failure["message"])
            attempt["status"] = "abstained"
        elif failure and not (failure["kind"] == "BudgetExceeded" and done):
            attempt = failed(STRATEGY, failure["kind"], failure["message"], failure["hint"])
        elif done:
            attempt = answered(STRATEGY, done[-1]["result"], state.get("signals", NO_SIGNALS))
            if failure:
                said = f"answered with the result of step {done[-1]['step']}: {failure['message']}"
                notices.append(said)
        else:
            attempt = failed(
                STRATEGY, "OutputInvalid", "every step was skipped: no condition held", ""
            )
        return {"attempt": _filled(plan, state, attempt), "notices": notices}

    return answer


def _filled(plan: SopPlan, state: SopState, attempt: Attempt) -> Attempt:
    """With the steps, as parts of the question, the tools, and which procedure it was."""
    results = state.get("results", [])
    parts: list[SubAnswer] = [
        {"question": r["action"], "answer": r["result"], "confidence": r["confidence"]}
        for r in results
        if r["status"] == "done"
    ]
    sop = plan.sop
    return {
        **attempt,
        "subanswers": parts,
        "tools": state.get("uses", []),
        "sop": {"name": sop.name, "version": sop.version, "steps": results},
    }
