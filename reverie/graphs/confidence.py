"""How sure the model was of what it wrote: uncalibrated, a score from 0 to 1, no probability."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_probability(tokens: Sequence[tuple[str, float]]) -> float | None:
    """The geometric mean of the tokens' probabilities, from (token, natural log-probability).

    None without tokens. Length-normalised sequence likelihood: exp(1/n sum log p_i).
    """
    if not tokens:
        return None
    return math.exp(sum(logprob for _, logprob in tokens) / len(tokens))


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
