"""How procedures did, derived from the log of outcomes: success with its uncertainty.

A version's success is Beta(alpha, beta). Its prior is worth two outcomes with the mean of all
procedures; for one type of task the prior is the version's own mean, likewise. Outcomes fade as
they do for strategies: an old one counts exp(-outcomes since then / memory).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from reverie.knowledge.sops.beta import beta_below, beta_quantile
from reverie.knowledge.sops.records import SopRecord, State, Used

PRIOR: Final = 2.0
"""Outcomes that a prior is worth."""
ENOUGH: Final = 4
"""Outcomes below which nothing is promoted or demoted."""
DEMOTED_BELOW: Final = 0.4
PROMOTED_ABOVE: Final = 0.6
SURE: Final = 0.9
"""Probability of lying below or above from which on it counts."""

_LATEST: Final = 8


class SopStatistics:
    """The records of every version, from the attempts that ``used`` them."""

    def __init__(self, used: Iterable[Used], *, memory: int = 1000) -> None:
        """``memory``: after how many outcomes an old one counts exp(-1)."""
        self._memory = memory
        self._used: dict[str, list[Used]] = {}
        for one in used:
            self._used.setdefault(one.key, []).append(one)
        successes, weights = self._sums(u for known in self._used.values() for u in known)
        self._mean = (1.0 + successes) / (2.0 + weights)

    def record(self, key: str, task_type: str | None = None) -> SopRecord:
        """How the version ``key`` did; with a ``task_type``, what is expected of it there."""
        used = self._used.get(key, [])
        successes, weights = self._sums(used)
        alpha = PRIOR * self._mean + successes
        beta = PRIOR * (1.0 - self._mean) + weights - successes
        scored = [u for u in used if _outcome(u) is not None]
        # Promotion and demotion are of the version as a whole.
        state = _state(alpha, beta, len(scored))
        if task_type is not None:
            mean = alpha / (alpha + beta)
            used = [u for u in used if u.task_type == task_type]
            scored = [u for u in scored if u.task_type == task_type]
            successes, weights = self._sums(used)
            alpha = PRIOR * mean + successes
            beta = PRIOR * (1.0 - mean) + weights - successes
        return SopRecord(
            uses=len(used),
            scored=len(scored),
            alpha=alpha,
            beta=beta,
            mean=alpha / (alpha + beta),
            low=beta_quantile(0.025, alpha, beta),
            high=beta_quantile(0.975, alpha, beta),
            state=state,
            trend=[o[0] for u in scored[-_LATEST:] if (o := _outcome(u)) is not None],
        )

    def by_type(self, key: str) -> dict[str, SopRecord]:
        """How a version did on each type of task that it was used for."""
        types = sorted({u.task_type for u in self._used.get(key, [])})
        return {task_type: self.record(key, task_type) for task_type in types}

    def _sums(self, used: Iterable[Used]) -> tuple[float, float]:
        """Weighted successes, and the weights."""
        successes = weights = 0.0
        for one in used:
            outcome = _outcome(one)
            if outcome is not None:
                counts = outcome[1] * math.exp(-max(0, one.age) / self._memory)
                successes += counts * outcome[0]
                weights += counts
        return successes, weights


def _outcome(used: Used) -> tuple[float, float] | None:
    """Score and weight; None: nothing is known. A procedure that did not carry through has failed,
    whether or not somebody has said so.
    """
    if used.score is not None:
        return used.score, used.weight
    return (0.0, 1.0) if used.fault else None


def _state(alpha: float, beta: float, scored: int) -> State:
    if not scored:
        return "untried"
    if scored < ENOUGH:
        return "tried"
    if beta_below(DEMOTED_BELOW, alpha, beta) >= SURE:
        return "demoted"
    return "promoted" if 1.0 - beta_below(PROMOTED_ABOVE, alpha, beta) >= SURE else "tried"
