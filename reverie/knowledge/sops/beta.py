"""The Beta distribution: how likely a success rate lies below a value, and its quantiles."""

from __future__ import annotations

import math
from typing import Final

_STEPS: Final = 300
_SMALL: Final = 1e-14


def beta_below(x: float, alpha: float, beta: float) -> float:
    """P(p < x) for p of Beta(alpha, beta): the regularised incomplete beta function, by Lentz's
    continued fraction (Abramowitz and Stegun 1964, 26.5.8).
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (alpha + 1.0) / (alpha + beta + 2.0):  # where the fraction converges fast
        return 1.0 - beta_below(1.0 - x, beta, alpha)
    log = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    front = math.exp(log + alpha * math.log(x) + beta * math.log1p(-x)) / alpha
    return min(1.0, front * _fraction(x, alpha, beta))


def beta_quantile(share: float, alpha: float, beta: float) -> float:
    """The x (0 to 1) with P(p < x) = ``share``."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2.0
        if beta_below(middle, alpha, beta) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _fraction(x: float, alpha: float, beta: float) -> float:
    """1 / (1 + d1 / (1 + d2 / (1 + ...))), from the front (Thompson and Barnett 1986)."""
    c, d = 1.0, 1.0 / _nonzero(1.0 - (alpha + beta) * x / (alpha + 1.0))
    value = d
    for m in range(1, _STEPS):
        even = m * (beta - m) * x / ((alpha + 2 * m - 1) * (alpha + 2 * m))
        odd = -(alpha + m) * (alpha + beta + m) * x / ((alpha + 2 * m) * (alpha + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            value *= c * d
        if abs(1.0 - c * d) < _SMALL:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
