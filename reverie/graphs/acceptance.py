"""Which attempt is good enough to answer with, and which one is the best."""

from __future__ import annotations

from collections.abc import Sequence

from reverie.graphs.context import Context
from reverie.graphs.records import Attempt

RIGHT = 0.5
"""What a verifier says at least of an answer that it takes for right."""


def acceptable(attempt: Attempt, context: Context) -> tuple[bool, str]:
    """Whether an attempt is good enough to answer with, and why, in words.

    The run's verifier decides if it judged. Otherwise a calibrated confidence has to reach
    ``accept_above``; one that is not calibrated is only a hint, and has to reach ``augment_below``.
    """
    if attempt["status"] != "ok":
        return False, attempt["error"]
    verifier = _verified(attempt, context)
    if verifier is not None:
        return verifier >= RIGHT, f"the verifier {context.verifier} gives it {verifier:.2f}"
    confidence = attempt["confidence"]
    if confidence is None:
        return True, "nothing is there to judge it by"
    least = context.accept_above if attempt["calibrated"] else context.augment_below
    kind = "calibrated" if attempt["calibrated"] else "uncalibrated"
    relation = "at least" if confidence >= least else "below"
    return confidence >= least, f"confidence {confidence:.2f} ({kind}) is {relation} {least:g}"


def best_attempt(attempts: Sequence[Attempt], context: Context) -> Attempt | None:
    """The attempt to answer with: an acceptable one before others, then by what the verifier says,
    then by calibrated confidence, then the latest, which was tried because the others were not good
    enough. Without any answer, the latest that abstained; None when all failed.
    """
    answered = [a for a in attempts if a["status"] == "ok"]
    if answered:
        # Scores that are not calibrated cannot be compared between strategies.
        comparable = all(a["calibrated"] for a in answered)
        ranks = [_rank(a, context, comparable=comparable) for a in answered]
        return max(zip(ranks, range(len(answered)), answered, strict=True))[2]
    abstained = [a for a in attempts if a["status"] == "abstained"]
    return abstained[-1] if abstained else None


def _rank(attempt: Attempt, context: Context, *, comparable: bool) -> tuple[bool, float, float]:
    verifier = _verified(attempt, context)
    return (
        acceptable(attempt, context)[0],
        RIGHT if verifier is None else verifier,
        (attempt["confidence"] or 0.0) if comparable else 0.0,
    )


def _verified(attempt: Attempt, context: Context) -> float | None:
    """What the run's verifier says; a strategy may have set the signal by other means."""
    return attempt["signals"]["verifier"] if context.verifier else None
