"""What a strategy returns, put together from replies and failures."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.errors import NodeError

from reverie.errors import ReverieError
from reverie.graphs.budget import NO_USAGE, Entry, Ledger
from reverie.graphs.call import CallFailed, Reply
from reverie.graphs.confidence import raw_confidence
from reverie.graphs.records import Attempt, Dream, Fact, Signals, Verdict

NO_SIGNALS: Signals = {"mean": None, "weakest": None, "agreement": None, "verifier": None}


def answered(strategy: str, answer: str, signals: Signals = NO_SIGNALS) -> Attempt:
    """An attempt that answers; one without a word in it is a failure."""
    if not answer:
        return failed(strategy, "OutputInvalid", "the model gave an empty answer")
    attempt = _attempt(strategy, answer=answer, confidence=raw_confidence(signals))
    attempt["signals"] = signals.copy()
    return attempt


def judged(
    strategy: str, winner: Dream | None, verdict: Verdict, dreams: list[Dream], facts: list[Fact]
) -> Attempt:
    """An attempt of several candidates, with the verdict on them."""
    attempt = _attempt(
        strategy,
        answer=winner["answer"] if winner else "",
        confidence=winner["confidence"] if winner else None,
    )
    attempt |= {"dreams": dreams, "evidence": facts, "verdict": verdict}
    attempt["signals"] = {**NO_SIGNALS, "mean": attempt["confidence"]}
    if winner is None:
        attempt |= {"status": "abstained", "error": verdict["why"]}
    return attempt


def failed(strategy: str, kind: str, message: str, hint: str = "") -> Attempt:
    """An attempt that has no answer, and why."""
    attempt = _attempt(strategy, answer="", confidence=None)
    attempt |= {"status": "failed", "error": message, "error_type": kind, "hint": hint}
    return attempt


def cut_off(reply: Reply) -> list[str]:
    """A notice, when the reply ended because it had to and not because it was over."""
    if reply.complete:
        return []
    tokens = len(reply.tokens) or reply.usage["tokens_out"]  # not every server tells its tokens
    return [f"the answer was cut off after {tokens} tokens"]


def failure_of(error: BaseException) -> tuple[str, str, str]:
    """Type, message and hint of whatever ended a node."""
    cause = error
    while not isinstance(cause, ReverieError) and isinstance(
        inner := getattr(cause, "error", None), BaseException
    ):
        cause = inner  # what a call or a step failed with
    if isinstance(cause, ReverieError):
        return type(cause).__name__, cause.message, cause.hint
    return "InternalError", f"{type(cause).__name__}: {cause}", "this is a bug in Reverie"


def charge_of(
    error: NodeError, ledger: Ledger, call_id: str, *, node: str, scope: str = ""
) -> Sequence[Entry]:
    """What a failed node's call had cost by then."""
    if isinstance(error.error, CallFailed) and error.error.usage["calls"]:
        return [ledger.spend(call_id, error.error.usage, node=node, scope=scope)]
    return []


def _attempt(strategy: str, *, answer: str, confidence: float | None) -> Attempt:
    return {
        "strategy": strategy,
        "status": "ok",
        "answer": answer,
        "confidence": confidence,
        "calibrated": False,
        "signals": NO_SIGNALS.copy(),
        "evidence": [],
        "dreams": [],
        "samples": [],
        "tools": [],
        "subanswers": [],
        "verdict": None,
        "template": "",
        "usage": NO_USAGE.copy(),
        "error": "",
        "error_type": "",
        "hint": "",
    }
