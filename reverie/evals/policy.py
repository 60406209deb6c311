"""Offline policy evaluation: what another way to choose strategies would have earned, estimated
from the log of what was chosen, with which probability, and how it was scored.

Three estimators: inverse propensity scoring (Horvitz and Thompson 1952), the same self-normalised
(Swaminathan and Joachims 2015), and doubly robust (Dudík, Langford and Li 2011, arXiv 1103.4601),
which adds a regression of the rewards. Each block of the log is judged by a regression, and for a
policy that learns by a policy, that saw only the blocks before it: so the estimates hold for logs
whose choices depended on earlier outcomes, and nothing is judged by what it was fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from reverie.errors import ConfigError
from reverie.graphs import features
from reverie.graphs.bandit import NEUTRAL, Bandit, BanditOptions
from reverie.graphs.prior import Prior
from reverie.graphs.strategies import known_strategies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reverie.knowledge.strategies import Outcome

CLIP = 200.0
"""Importance weights above it are cut to it: a little bias for much less variance."""

_BLOCKS = 10
_LEAST = 2
"""A standard error needs two choices."""
_NOISE = 0.4
"""Standard deviation of rewards in the regression: how strongly its prior holds."""
_NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class Logged:
    """One choice that was scored."""

    features: NDArray[np.float64]
    """[F], with the constant 1 first."""
    strategy: str
    propensity: float
    """With which probability the logging policy chose it, 0 to 1."""
    reward: float
    allowed: tuple[str, ...]
    """What could have been chosen."""


Policy = Callable[[Logged], Mapping[str, float]]
"""The probability of every allowed strategy; it must not look at what was chosen."""

Learner = Callable[[Sequence[Logged]], Policy]
"""Makes a policy of the part of a log that lies before the choices it is judged by."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean reward per choice, its standard error, and the 95 % interval."""

    mean: float
    error: float

    @property
    def low(self) -> float:
        return self.mean - _NORMAL * self.error

    @property
    def high(self) -> float:
        return self.mean + _NORMAL * self.error


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a policy is estimated to earn, beside what the log earned."""

    runs: int
    """Choices that it rests on."""
    effective: float
    """How many choices of the policy's own they are worth: (sum w)^2 / sum w^2."""
    clipped: float
    """The share of choices whose weight was cut to ``CLIP``."""
    logged: Estimate
    ips: Estimate
    snips: Estimate
    doubly_robust: Estimate


def evaluate(
    log: Sequence[Logged],
    learner: Learner,
    *,
    variances: NDArray[np.float64] | None = None,
    clip: float = CLIP,
) -> Evaluation:
    """Estimate what the policy that ``learner`` makes would have earned on the questions of
    ``log``, which is in the order of time. ``variances`` [F] are those of the regression's prior.

    Raises ConfigError when there are too few choices.
    """
    if len(log) < _LEAST:
        raise ConfigError(
            f"{len(log)} scored choices are too few to evaluate a policy by",
            hint="score more runs with reverie feedback, or use a verifier",
        )
    prior = features.prior_variances() if variances is None else variances
    weights, corrected = [], []
    for start, end in _blocks(len(log)):
        policy = learner(log[:start])
        model = _Rewards(log[:start], prior)
        for one in log[start:end]:
            chances = policy(one)
            weight = chances.get(one.strategy, 0.0) / max(one.propensity, 1e-9)
            expected = model.rewards(one.features, one.allowed)
            baseline = sum(chances.get(name, 0.0) * r for name, r in expected.items())
            weight = min(weight, clip)
            weights.append(weight)
            guess = expected.get(one.strategy, NEUTRAL)
            corrected.append(baseline + weight * (one.reward - guess))
    w, rewards = np.array(weights), np.array([one.reward for one in log])
    total = float(w.sum())
    normalised = float((w * rewards).sum()) / total if total > 0 else math.nan
    spread = w * (rewards - normalised)
    return Evaluation(
        runs=len(log),
        effective=total**2 / float((w**2).sum()) if total > 0 else 0.0,
        clipped=float((w >= clip).mean()),
        logged=_mean(rewards),
        ips=_mean(w * rewards),
        snips=Estimate(
            normalised,
            math.sqrt(float((spread**2).sum())) / total if total > 0 else math.inf,
        ),
        doubly_robust=_mean(np.array(corrected)),
    )


def evaluate_strategies(
    outcomes: Iterable[Outcome], name: str, *, token_price: float
) -> Evaluation:
    """Estimate what ``name`` would have earned: a strategy always, ``uniform``, or ``learned``, the
    policy that learns as selection does. ``outcomes`` are those in force, in order.

    Only first choices count that were drawn and that a person or a verifier scored. For a single
    strategy, only those where it was allowed. Raises ConfigError.
    """
    log = [
        Logged(
            features=np.asarray(o.features, dtype=np.float64),
            strategy=o.strategy,
            propensity=o.propensity,
            reward=o.score - token_price * o.tokens / 1000.0,
            allowed=o.allowed,
        )
        for o in outcomes
        if _drawn(o)
    ]
    if name == "uniform":
        return evaluate(log, uniform)
    if name == "learned":
        return evaluate(log, learned(BanditOptions(token_price=token_price)))
    allowed = [one for one in log if name in one.allowed]
    if log and not allowed:
        known = sorted({strategy for one in log for strategy in one.allowed})
        raise ConfigError(
            f"{name!r} was never a candidate where a choice was scored",
            hint=f"evaluate uniform, learned, or one of {', '.join(known)}",
        )
    return evaluate(allowed, always(name))


def _drawn(outcome: Outcome) -> bool:
    """Whether an outcome says something of choices: one that could not have been another does not,
    such as the first ones, before anything was scored.
    """
    free = outcome.propensity < 1.0 or len(outcome.allowed) == 1
    return outcome.position == 0 and free and not outcome.forced and outcome.source != "confidence"


def uniform(past: Sequence[Logged]) -> Policy:
    """Every allowed strategy alike."""
    del past
    return lambda one: dict.fromkeys(one.allowed, 1.0 / len(one.allowed))


def always(name: str) -> Learner:
    """One strategy, whatever is asked."""
    return lambda past: lambda one: {name: 1.0}  # noqa: ARG005  # it neither learns nor looks


def learned(
    options: BanditOptions,
    *,
    variances: NDArray[np.float64] | None = None,
    costs: Mapping[str, float] | None = None,
) -> Learner:
    """Thompson sampling, with what the past has taught it. ``costs`` are the declared ones."""
    declared = {s.name: float(s.cost) for s in known_strategies().values()}

    def learn(past: Sequence[Logged]) -> Policy:
        # It is fitted to the past, and so not shared.
        bandit = Bandit(features.new_prior() if variances is None else Prior(variances), options)
        bandit.declare(declared if costs is None else costs)
        bandit.absorb_rewards((one.strategy, one.features, one.reward) for one in past)

        def policy(one: Logged) -> Mapping[str, float]:
            bandit.declare(dict.fromkeys(one.allowed, 0.0))
            return bandit.draw(one.allowed, one.features, "evaluation").first

        return policy

    return learn


class _Rewards:
    """A ridge regression of the rewards of each strategy, around the mean reward."""

    def __init__(self, past: Sequence[Logged], variances: NDArray[np.float64]) -> None:
        self._mean = float(np.mean([one.reward for one in past])) if past else NEUTRAL
        self._weights: dict[str, NDArray[np.float64]] = {}
        for name in {one.strategy for one in past}:
            mine = [one for one in past if one.strategy == name]
            rows = np.stack([one.features for one in mine])  # [N, F]
            targets = np.array([one.reward - self._mean for one in mine])
            precision = np.diag(1.0 / variances) + rows.T @ rows / _NOISE**2
            solved = np.linalg.solve(precision, rows.T @ targets / _NOISE**2)
            self._weights[name] = solved.astype(np.float64)

    def rewards(self, features: NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
        return {
            name: self._mean + float(features @ self._weights[name])
            if name in self._weights
            else self._mean
            for name in names
        }


def _mean(values: NDArray[np.float64]) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)))


def _blocks(count: int) -> list[tuple[int, int]]:
    edges = [round(count * i / _BLOCKS) for i in range(_BLOCKS + 1)]
    return [(start, end) for start, end in pairwise(edges) if end > start]
