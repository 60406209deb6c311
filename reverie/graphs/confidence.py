"""How sure one can be of an answer: from its tokens' probabilities, the agreement of samples, and a
verifier; and, once outcomes are known, calibrated to the share that was right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.records import Signals
from reverie.knowledge.calibration import Calibration, Outcome, raw_score

if TYPE_CHECKING:
    from reverie.graphs.context import Context
    from reverie.graphs.resources import Resources

WINDOW = 3
"""Tokens in a row that the weakest window has."""


def mean_probability(tokens: Sequence[tuple[str, float]]) -> float | None:
    """The geometric mean of the tokens' probabilities, from (token, natural log-probability).

    None without tokens. Length-normalised sequence likelihood: exp(1/n sum log p_i).
    """
    if not tokens:
        return None
    return math.exp(sum(logprob for _, logprob in tokens) / len(tokens))


def weakest_window(tokens: Sequence[tuple[str, float]], size: int = WINDOW) -> float | None:
    """The lowest geometric mean probability over ``size`` tokens in a row; None without tokens."""
    if not tokens:
        return None
    logprobs = [logprob for _, logprob in tokens]
    size = min(size, len(logprobs))
    windows = (logprobs[i : i + size] for i in range(len(logprobs) - size + 1))
    return math.exp(min(sum(window) for window in windows) / size)


def signals_of(
    tokens: Sequence[tuple[str, float]] = (),
    *,
    agreement: float | None = None,
    verifier: float | None = None,
) -> Signals:
    """What speaks for an answer that ``tokens`` wrote."""
    return {
        "mean": mean_probability(tokens),
        "weakest": weakest_window(tokens),
        "agreement": agreement,
        "verifier": verifier,
    }


def raw_confidence(signals: Signals) -> float | None:
    """One score from 0 to 1 of the signals, uncalibrated: a verifier's word before the agreement of
    samples, and that before the model's own probability, which is the geometric mean of its mean
    and its weakest window. None without any.
    """
    return raw_score(_scored(signals))


def calibrated(
    signals: Signals, calibration: Calibration | None, strategy: str = ""
) -> tuple[float | None, bool]:
    """The confidence in an answer of ``strategy``, and whether it is a probability: else it is the
    raw score, because nothing was calibrated yet or nothing is there to judge by.
    """
    if calibration is not None:
        value = calibration.apply(_scored(signals), strategy)
        if value is not None:
            return value, True
    return raw_confidence(signals), False


async def find_calibration(
    resources: Resources, context: Context, strategy: str
) -> Calibration | None:
    """The calibration of a strategy with the context's model; None while it is uncalibrated.
    Raises KnowledgeUnavailable.
    """
    store = await resources.calibrations()
    return await store.find(model_of(resources, context), strategy)


async def recalibrate(resources: Resources, model: str) -> Sequence[Calibration]:
    """Fit ``model``'s confidence to the scores in the strategy memory, if enough new ones came.
    Called where scores arrive, never on the way to an answer.

    Where that cannot be stored, confidence stays what it was: the scores themselves are safe.
    Raises KnowledgeUnavailable when they cannot be read.
    """
    judged = await (await resources.memory()).judged(model)
    outcomes = []
    for one in judged:
        signals = dict(one.signals)
        if one.source == "verifier":  # it is the score: nothing could be learned beside it
            signals["verifier"] = None
        outcomes.append(Outcome(one.strategy, signals, one.score, group=one.question))
    try:
        return await (await resources.calibrations()).refit(model, outcomes)
    except KnowledgeUnavailable:  # whoever wants to know a confidence is told
        return ()


def model_of(resources: Resources, context: Context) -> str:
    """The name under which what the context's model did is kept."""
    return context.model or resources.settings.model.name


def span(tokens: Sequence[tuple[str, float]], text: str) -> Sequence[tuple[str, float]]:
    """The tokens that wrote ``text``, the first place where it stands; all when it is not there.

    Tokens that lie partly inside count.
    """
    written = "".join(token for token, _ in tokens)
    begin = written.find(text)
    if not text or begin < 0:
        return tokens
    end = begin + len(text)
    found, at = [], 0
    for token, logprob in tokens:
        if at < end and at + len(token) > begin:
            found.append((token, logprob))
        at += len(token)
    return found


def _scored(signals: Signals) -> dict[str, float | None]:
    return {
        "mean": signals["mean"],
        "weakest": signals["weakest"],
        "agreement": signals["agreement"],
        "verifier": signals["verifier"],
    }
