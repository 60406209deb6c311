"""What the learned choice would do now, computed from the log of outcomes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from reverie.evals.policy import Estimate
    from reverie.knowledge.strategies import Outcome
    from reverie.settings import Settings

_TYPICAL: Final = 100
"""Latest questions whose mean features make the typical question."""


class ArmNow(TypedDict):
    """One strategy that may be chosen. Rewards are scores minus the price of tokens."""

    strategy: str
    prior: float
    """The reward that was expected before any outcome, with ``prior_sd``."""
    prior_sd: float
    expected: float
    """And now, on a question like the latest ones, with ``sd``."""
    sd: float
    chance: float
    """With which probability it would be chosen first."""
    runs: int
    """Outcomes that this rests on."""
    staleness: float | None
    """Seconds since its latest outcome; None: there is none."""


class ChoiceNow(TypedDict):
    """The state of the learned choice."""

    arms: list[ArmNow]
    entropy: float
    """Of the chances: 0 certain, 1 uniform."""
    outcomes: int
    pending: int
    shifts: int
    """How often rewards changed so much that what was learned before was put aside."""


def choice_now(outcomes: Sequence[Outcome], settings: Settings, pending: int) -> ChoiceNow:
    """What the policy believes and would do, for the strategies that the settings allow, on a
    question with the mean features of the latest ones.
    """
    import numpy as np

    from reverie.graphs.bandit import Bandit, BanditOptions
    from reverie.graphs.features import new_prior
    from reverie.graphs.strategies import known_strategies, require_strategy

    names = [require_strategy(name).name for name in settings.reason.strategies]
    options = BanditOptions(
        token_price=settings.learn.token_price, memory=float(settings.learn.memory)
    )
    bandit = Bandit(new_prior(), options)
    bandit.declare({s.name: float(s.cost) for s in known_strategies().values()})
    bandit.absorb(outcomes)
    usable = [
        o.features for o in outcomes if o.features.shape == (bandit.width,) and o.position == 0
    ]
    typical = np.zeros(bandit.width)
    typical[0] = 1.0
    if usable:
        typical = np.mean(usable[-_TYPICAL:], axis=0)
    drawn = bandit.draw(names, typical, "now")
    staleness = bandit.staleness(time.time())
    arms = [
        ArmNow(
            strategy=belief.strategy,
            prior=(prior := bandit.prior(belief.strategy)).mean,
            prior_sd=prior.sd,
            expected=belief.mean,
            sd=belief.sd,
            chance=drawn.first[belief.strategy],
            runs=belief.runs,
            staleness=staleness[belief.strategy],
        )
        for belief in bandit.expected(names, typical)
    ]
    return ChoiceNow(
        arms=arms,
        entropy=drawn.entropy,
        outcomes=bandit.outcomes,
        pending=pending,
        shifts=bandit.shifts,
    )


class EstimateNow(TypedDict):
    """A mean reward per choice with its 95 % interval; None where it cannot be told."""

    mean: float | None
    low: float | None
    high: float | None


class PolicyNow(TypedDict):
    """What another policy is estimated to have earned, beside what was earned."""

    policy: str
    choices: int
    """Choices that it rests on: drawn ones that a person or a verifier scored."""
    effective: float
    """How many choices of the policy's own they are worth."""
    clipped: float
    """The share of choices whose weight had to be limited."""
    logged: EstimateNow
    doubly_robust: EstimateNow
    ips: EstimateNow
    snips: EstimateNow


def evaluated(outcomes: Sequence[Outcome], policy: str, settings: Settings) -> PolicyNow:
    """What ``policy`` would have earned. Raises ConfigError when too little is known."""
    from reverie.evals.policy import evaluate_strategies
    from reverie.graphs.strategies import require_strategy

    if policy not in ("uniform", "learned"):
        policy = require_strategy(policy).name
    found = evaluate_strategies(outcomes, policy, token_price=settings.learn.token_price)
    return PolicyNow(
        policy=policy,
        choices=found.runs,
        effective=found.effective,
        clipped=found.clipped,
        logged=_estimate(found.logged),
        doubly_robust=_estimate(found.doubly_robust),
        ips=_estimate(found.ips),
        snips=_estimate(found.snips),
    )


def _estimate(found: Estimate) -> EstimateNow:
    return EstimateNow(mean=_finite(found.mean), low=_finite(found.low), high=_finite(found.high))


def _finite(value: float) -> float | None:
    """JSON has no other numbers."""
    return float(value) if math.isfinite(value) else None
