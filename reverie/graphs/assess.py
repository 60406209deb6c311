"""Assessing an attempt: how sure can one be of it, is that enough, and what is tried if not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, cast

from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import TypeAdapter, ValidationError

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.acceptance import acceptable, best_attempt
from reverie.graphs.ask_person import waiting_for_answer
from reverie.graphs.attempt import failed
from reverie.graphs.budget import Ledger, ledger_of
from reverie.graphs.confidence import calibrated, find_calibration
from reverie.graphs.context import Context
from reverie.graphs.escalation import NextTry, next_try
from reverie.graphs.lost import uncharged
from reverie.graphs.records import Attempt, Choice
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.state import ReasonState
from reverie.graphs.verify import LONGEST, verified

_GRACE_SECONDS = 5.0
"""What a verifier gets to judge an answer that came when the run's seconds were nearly over."""

_End = Literal["ask_person", "shape", "answer"]


async def assess(
    state: ReasonState, runtime: Runtime[Context]
) -> Command[Literal["select", "ask_person", "shape", "answer"]]:
    """File the attempt with what it cost and how sure one can be of it, and say what comes next."""
    context, choice = runtime.context, state["choice"]
    # In a thread: a run that is resumed may read its settings here.
    resources = await asyncio.to_thread(find_resources, context.resources)
    lost = await uncharged(state, context)
    known = {entry["id"] for entry in (*state["ledger"], *lost)}
    # Where the strategy came to its end, the ledger has it all.
    noted = resources.meter.take(state["run_id"])
    lost += [entry for entry in noted if entry["id"] not in known]
    ledger = ledger_of(state, context).plus(*lost)
    closing = [ledger.release(choice["scope"], node="assess")] if choice["scope"] else []
    ledger = ledger.plus(*closing)
    attempt = _filed(state.get("attempt"), choice, ledger)
    notices: list[str] = []
    seconds = min(LONGEST, max(_GRACE_SECONDS, ledger.left()["seconds"]))
    await _judge(attempt, state["question"], resources, context, notices, seconds)
    # The calibrations are opened here first: whether they were damaged is known only now.
    told = {*state["notices"], *notices}
    notices += [text for text in resources.notices if text not in told]
    attempts = [*state["attempts"], attempt]
    accepted, why = acceptable(attempt, context)
    coming: NextTry | None = None
    if not accepted:
        after = await next_try(state, attempts, ledger, resources, context)
        why = f"{why}; {after.why}"
        coming = after if isinstance(after, NextTry) else None
    for text in notices:
        runtime.stream_writer({"type": "notice", "text": text})
    runtime.stream_writer({"type": "assessed", "accepted": accepted, "why": why})
    goto = "select" if coming else _end(attempts, context)
    if goto == "ask_person":
        runtime.stream_writer(waiting_for_answer({**state, "attempts": attempts}))
    return Command(
        update={
            "attempts": attempts,
            "attempt": None,
            "planned": coming.planned if coming else None,
            "ledger": [*lost, *closing],
            "notices": notices,
        },
        goto=goto,
    )


def _filed(attempt: Any, choice: Choice, ledger: Ledger) -> Attempt:
    """What the strategy returned, or a failed attempt in its place, with what it cost."""
    filed = _checked(attempt, choice["strategy"])
    # Whatever it says: what select chose was tried.
    filed["strategy"], filed["template"] = choice["strategy"], choice["template"]
    filed["usage"] = ledger.spent_in(choice["scope"]) if choice["scope"] else ledger.spent
    return filed


def _checked(attempt: Any, strategy: str) -> Attempt:
    if attempt is None:
        return failed(
            strategy,
            "OutputInvalid",
            f"the strategy {strategy} ended without an attempt",
            "its graph has to write `attempt` to the state",
        )
    try:
        _attempts().validate_python(attempt)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the attempt"
        return failed(
            strategy,
            "OutputInvalid",
            f"the strategy {strategy} ended with an attempt that is none: {where}: {first['msg']}",
            "make attempts with reverie.graphs.attempt.answered and failed",
        )
    return cast("Attempt", dict(cast("Mapping[str, Any]", attempt)))


@cache
def _attempts() -> TypeAdapter[Attempt]:
    return TypeAdapter(Attempt)


async def _judge(  # noqa: PLR0917  # the attempt, who judges it, and for how long
    attempt: Attempt,
    question: str,
    resources: Resources,
    context: Context,
    notices: list[str],
    seconds: float,
) -> None:
    """Fill in what the verifier says within ``seconds``, and the confidence, calibrated where it
    was.
    """
    if attempt["status"] != "ok":
        return
    signals = attempt["signals"].copy()
    verdict = None
    if context.verifier:
        answer = attempt["answer"]
        verdict = await verified(resources, context, question, answer, notices, seconds=seconds)
        signals["verifier"] = verdict
    attempt["signals"] = signals
    try:
        calibration = await find_calibration(resources, context, attempt["strategy"])
    except KnowledgeUnavailable as error:
        calibration = None
        notices.append(f"confidence is not calibrated: {error}")
    confidence, fitted = calibrated(signals, calibration, attempt["strategy"])
    if confidence is None:
        return  # what the strategy itself says of it
    attempt["confidence"], attempt["calibrated"] = confidence, fitted
    if verdict is not None and not (calibration and "verifier" in calibration.reads):
        attempt["confidence"], attempt["calibrated"] = verdict, False


def _end(attempts: list[Attempt], context: Context) -> _End:
    """Where a run goes that tries nothing more."""
    best = best_attempt(attempts, context)
    if best is not None and best["status"] == "abstained" and "abstain" in context.ask_before:
        return "ask_person"
    return "answer" if context.output_schema is None else "shape"
