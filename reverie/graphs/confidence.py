"""How sure the model was of what it wrote: uncalibrated, a score from 0 to 1, no probability."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reverie.graphs.records import Signals


def mean_probability(tokens: Sequence[tuple[str, float]]) -> float | None:
    """The geometric mean of the tokens' probabilities, from (token, natural log-probability).

    None without tokens. Length-normalised sequence likelihood: exp(1/n sum log p_i).
    """
    if not tokens:
        return None
    return math.exp(sum(logprob for _, logprob in tokens) / len(tokens))


def weakest_window(tokens: Sequence[tuple[str, float]], size: int = 3) -> float | None:
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
    samples, and that before the model's own probability.
    """
    for value in (signals["verifier"], signals["agreement"], signals["mean"]):
        if value is not None:
            return value
    return None


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
