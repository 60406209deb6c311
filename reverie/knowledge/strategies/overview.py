"""What attempts came to, per strategy: uses, success, cost, and where they are going."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Final

from typing_extensions import TypedDict

from reverie.knowledge.strategies.records import Point

TREND_FROM: Final = 6
"""Scored attempts below which there is no trend to speak of."""

_BINS: Final = 8
_Z: Final = 1.96  # two-sided, 95 %


class Interval(TypedDict):
    """A mean score and where the true one lies with 95 %, 0 to 1."""

    mean: float
    low: float
    high: float


class StrategySummary(TypedDict):
    """One strategy's attempts, of all types of tasks or of one."""

    strategy: str
    task_type: str
    """Empty: of all types."""
    uses: int
    scored: int
    pending: int
    """Attempts with an answer that nothing has scored."""
    failed: int
    success: Interval | None
    """None when nothing is scored."""
    tokens: float | None
    """Mean of the attempts that called a model; None when none did."""
    seconds: float | None
    recent: float | None
    """Mean score of the last third of the scored attempts; None with fewer than six."""
    before: float | None
    """And of the attempts before those."""
    trend: list[float]
    """Mean scores of up to eight stretches, oldest first."""
    last: float
    """When it was last used, seconds since 1970."""


def summarise(points: Iterable[Point], *, by_type: bool = False) -> list[StrategySummary]:
    """One summary per strategy, or per type of task and strategy; most used first."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        key = (point.task_type if by_type else "", point.strategy)
        groups.setdefault(key, []).append(point)
    summaries = [_summary(name, kind, group) for (kind, name), group in groups.items()]
    return sorted(summaries, key=lambda s: (s["task_type"], -s["uses"], s["strategy"]))


def interval(scores: Sequence[tuple[float, float]]) -> Interval | None:
    """The weighted mean of (score, weight) with Wilson's interval (1927), whose number of trials is
    the sum of the weights; None without any weight.
    """
    trials = sum(weight for _, weight in scores)
    if trials <= 0:
        return None
    mean = sum(score * weight for score, weight in scores) / trials
    scale = 1 + _Z**2 / trials
    middle = (mean + _Z**2 / (2 * trials)) / scale
    half = _Z / scale * math.sqrt(mean * (1 - mean) / trials + _Z**2 / (4 * trials**2))
    return Interval(mean=mean, low=max(0.0, middle - half), high=min(1.0, middle + half))


def _summary(strategy: str, task_type: str, points: Sequence[Point]) -> StrategySummary:
    scored = [(p.score, p.weight) for p in points if p.score is not None]
    third = len(scored) // 3
    recent = interval(scored[-third:]) if len(scored) >= TREND_FROM else None
    before = interval(scored[:-third]) if len(scored) >= TREND_FROM else None
    paid = [p for p in points if p.calls]
    return StrategySummary(
        strategy=strategy,
        task_type=task_type,
        uses=len(points),
        scored=len(scored),
        pending=sum(p.score is None and p.status == "ok" for p in points),
        failed=sum(p.status == "failed" for p in points),
        success=interval(scored),
        tokens=sum(p.tokens for p in paid) / len(paid) if paid else None,
        seconds=sum(p.seconds for p in paid) / len(paid) if paid else None,
        recent=recent["mean"] if recent else None,
        before=before["mean"] if before else None,
        trend=[m["mean"] for part in _stretches(scored) if (m := interval(part)) is not None],
        last=max(p.created for p in points),
    )


def _stretches(
    scored: Sequence[tuple[float, float]],
) -> Iterable[Sequence[tuple[float, float]]]:
    if len(scored) < TREND_FROM:
        return []
    number = min(_BINS, len(scored) // 2)
    edges = [round(i * len(scored) / number) for i in range(number + 1)]
    return [scored[a:b] for a, b in itertools.pairwise(edges)]
