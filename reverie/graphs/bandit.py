"""Linear Thompson sampling over strategies (Agrawal and Goyal 2013, arXiv 1209.3352).

Each strategy is an arm with a Bayesian linear regression of its reward on the features of the
question. Old outcomes are discounted (Russac, Vernade and Cappé 2019, arXiv 1909.09146); when
rewards stop agreeing with what was expected of them, which a CUSUM test on the residuals notices
(Page 1954), everything learned before is discounted at once.

Pure computation: no files, no clock. The same log of outcomes, in whatever portions it is read,
gives the same beliefs, so several processes that share the log agree.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reverie.graphs.prior import Prior
    from reverie.knowledge.strategies import Outcome

NEUTRAL = 0.5
"""The score that is expected of a strategy that nobody scored yet."""

DRAWS = 2000
"""Samples behind a propensity p: its standard error sqrt(p (1 - p) / 2000) is at most .0112."""


_STEP = 0.1
"""Outcomes age in steps of this share of the memory: each one costs an inversion per arm."""

_MOST_NOISE = 0.5
"""A score between 0 and 1 has no larger standard deviation: so no noise passes for a shift."""

_FORGOTTEN = 10.0
"""An outcome discounted by exp(-10) counts nothing. A later score of it counts as a new one."""


@dataclass(frozen=True, slots=True)
class BanditOptions:
    """How outcomes become beliefs. Chosen on simulated tasks, see docs/selection.md."""

    token_price: float = 0.02
    """Reward = score - token_price * tokens / 1000."""
    memory: float = 1000.0
    """Outcomes after which an old one counts 1/e."""
    noise: float = 0.5
    """Standard deviation of a reward of weight 1 around its expectation."""
    exploration: float = 0.3
    """Factor on the standard deviations that rewards are sampled with."""
    uniform: float = 0.03
    """The share of first choices that is drawn from all alike. So each has a probability that other
    policies can be estimated from, and what became better is found again.
    """
    shift_slack: float = 0.4
    """Residuals below so many standard deviations are no sign of a shift."""
    shift_threshold: float = 8.0
    """Summed residuals beyond the slack, in standard deviations, that mean a shift; inf: never."""
    shift_keep: float = 0.01
    """What an outcome from before a shift still counts."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is believed of one arm's reward for one question: mean, standard deviation of that mean,
    and how many outcomes it rests on.
    """

    strategy: str
    mean: float
    sd: float
    runs: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sampled ranking of the arms, best first, and how likely it was."""

    order: tuple[str, ...]
    propensities: tuple[float, ...]
    """Per place: the probability of its arm, given the arms in the places before."""
    errors: tuple[float, ...]
    """Standard errors of ``propensities``, which are Monte Carlo estimates."""
    first: Mapping[str, float]
    """The probability of each arm to come first."""
    entropy: float
    """Of ``first``, as a share of the most possible: 0 certain, 1 uniform."""


@dataclass(slots=True)
class _Kept:
    """One outcome as it entered the sums: enough to take it out again."""

    arm: int
    features: NDArray[np.float32]
    weight: float
    reward: float
    decay: float
    """The bandit's logarithmic discount when it arrived."""


@dataclass(slots=True)
class _Arm:
    """What is known of an arm beside its sums."""

    name: str
    prior: float
    """Expected reward before any outcome: the prior mean of the intercept."""
    runs: int = 0
    last: float = 0.0
    """When its latest outcome arrived, Unix time; 0: never."""
    drift: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """How far rewards were above, and below, what was expected: see ``_watch``."""
    version: int = -1
    """Of the bandit, when its covariance was made; in between, the covariance follows the sums."""


@dataclass(slots=True)
class Bandit:
    """Arms with a Gaussian prior on their weights: mean (neutral score - price of the declared
    cost, 0, 0, ...), and the covariance of ``shared``, the inverse of its precision P [F, F].

    With features x_i, rewards r_i (centred by the prior mean), weights w_i and discounts d_i of an
    arm: precision = P + sum w_i d_i x_i x_i' / noise^2, and mean = precision^-1 sum w_i d_i r_i x_i
    / noise^2. The first feature has to be the constant 1.
    """

    shared: Prior
    options: BanditOptions = field(default_factory=BanditOptions)
    seq: int = 0
    """The last outcome that was read."""
    shifts: int = 0
    """How often a shift was noticed."""
    _arms: dict[str, int] = field(default_factory=dict)
    _about: list[_Arm] = field(default_factory=list)
    _sums: Any = None  # [K, F, F], without the prior
    _targets: Any = None  # [K, F]
    _covariance: Any = None  # [K, F, F], of arms of this version
    _version: int = 0
    _kept: dict[tuple[str, int], _Kept] = field(default_factory=dict)
    _decay: float = 0.0
    _ticks: int = 0
    _drift: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def __post_init__(self) -> None:
        self._sums = np.zeros((0, self.width, self.width))
        self._targets = np.zeros((0, self.width))
        self._covariance = np.zeros((0, self.width, self.width))

    # -- arms ------------------------------------------------------------------------------

    def declare(self, costs: Mapping[str, float]) -> None:
        """Make arms of these strategies, which typically cost so many tokens each. The prior of
        one that is an arm already stays as it is.
        """
        new = [name for name in costs if name not in self._arms]
        if not new:
            return
        square = np.zeros((len(new), self.width, self.width))
        self._sums = np.concatenate((self._sums, square))
        self._covariance = np.concatenate((self._covariance, square))
        self._targets = np.concatenate((self._targets, np.zeros((len(new), self.width))))
        for name in new:
            self._arms[name] = len(self._about)
            self._about.append(_Arm(name, self._reward(NEUTRAL, costs[name])))

    def prior(self, strategy: str) -> Expected:
        """What is believed of a strategy in general before any outcome."""
        arm = self._about[self._arms[strategy]]
        return Expected(strategy, arm.prior, math.sqrt(float(self.shared.variances[0])), 0)

    # -- learning --------------------------------------------------------------------------

    def absorb(self, outcomes: Iterable[Outcome]) -> int:
        """Learn from outcomes in the order of the log; those read before are passed over. Returns
        how many were new. Strategies that were not declared become arms that cost what was
        measured first.
        """
        new = 0
        for outcome in outcomes:
            if outcome.seq <= self.seq:
                continue
            self.seq = outcome.seq
            features = np.asarray(outcome.features, dtype=np.float32)
            if features.shape != (self.width,) or not np.isfinite(features).all():
                continue  # of another version
            self.declare({outcome.strategy: outcome.tokens})
            reward = self._reward(outcome.score, outcome.tokens)
            key = (outcome.run_id, outcome.position)
            self._learn(
                outcome.strategy, features, reward, key, weight=outcome.weight, at=outcome.at
            )
            new += 1
        return new

    def absorb_rewards(self, rewards: Iterable[tuple[str, NDArray[np.float64], float]]) -> None:
        """Learn from strategies, features [F] and rewards of which nothing else is known."""
        for strategy, features, reward in rewards:
            self.declare({strategy: 0.0})
            self.seq += 1
            self._learn(strategy, features.astype(np.float32), reward, ("", self.seq))

    def _learn(
        self,
        strategy: str,
        features: NDArray[np.float32],
        reward: float,
        key: tuple[str, int],
        *,
        weight: float = 1.0,
        at: float = 0.0,
    ) -> None:
        number = self._arms[strategy]
        arm = self._about[number]
        reward -= arm.prior
        before = self._kept.get(key)
        if before is not None and before.arm == number:
            # A new score of the same attempt: it keeps the age of the first.
            self._add(before, -1.0)
            before.reward, before.weight = reward, weight
            self._add(before, 1.0)
        else:
            self._tick()
            if self.shared.see(features.astype(np.float64)):
                self._version += 1
            kept = _Kept(number, features, weight, reward, self._decay)
            if weight > 0 and math.isfinite(self.options.shift_threshold):
                self._watch(kept)
                kept.decay = self._decay  # which a shift has moved
            self._add(kept, 1.0)
            self._kept[key] = kept
            arm.runs += 1
        arm.last = max(arm.last, at)

    def _add(self, kept: _Kept, sign: float) -> None:
        """Put an outcome into the sums, or take it out. The covariance follows by the formula of
        Sherman and Morrison.
        """
        discount = math.exp(self._decay - kept.decay)
        scale = sign * kept.weight * discount / self.options.noise**2
        x = kept.features.astype(np.float64)
        self._sums[kept.arm] += scale * np.outer(x, x)
        self._targets[kept.arm] += scale * kept.reward * x
        if self._about[kept.arm].version == self._version:
            spread = self._covariance[kept.arm] @ x
            share = 1.0 + scale * float(x @ spread)
            self._covariance[kept.arm] -= np.outer(spread, spread * (scale / share))

    def _tick(self) -> None:
        """One outcome more: every so often, what is known ages."""
        self._ticks += 1
        step = max(1, round(self.options.memory * _STEP))
        if self._ticks % step == 0:
            self._age(step / self.options.memory)
            self.shared.age(math.exp(-step / self.options.memory))
            least = self._decay + _FORGOTTEN
            self._kept = {key: kept for key, kept in self._kept.items() if kept.decay < least}

    def _age(self, by: float) -> None:
        """Discount everything by exp(-by)."""
        self._decay -= by
        self._sums *= math.exp(-by)
        self._targets *= math.exp(-by)
        self._version += 1

    def _watch(self, kept: _Kept) -> None:
        """CUSUM sums over standardised residuals, up and down, of the arm and of all arms together;
        past the threshold, a shift.

        The arms that are chosen mostly fall together, which shows soonest in all of them; where one
        rises as another falls, that cancels out, and each by itself shows it.
        """
        options, arm = self.options, self._about[kept.arm]
        x = kept.features.astype(np.float64)
        (mean,), (sd,) = self._moments([arm.name], x)
        spread = math.hypot(sd, _MOST_NOISE / math.sqrt(kept.weight))
        residual = float(kept.reward + arm.prior - mean) / spread
        for sums in (arm.drift, self._drift):
            sums[0] = max(0.0, sums[0] + residual - options.shift_slack)
            sums[1] = max(0.0, sums[1] - residual - options.shift_slack)
        if max(*arm.drift, *self._drift) > options.shift_threshold:
            self.shifts += 1
            self._age(-math.log(options.shift_keep))
            for sums in (self._drift, *(other.drift for other in self._about)):
                sums[:] = [0.0, 0.0]

    def _reward(self, score: float, tokens: float) -> float:
        return score - self.options.token_price * tokens / 1000.0

    # -- believing and choosing ------------------------------------------------------------

    def expected(self, strategies: Sequence[str], features: NDArray[np.float64]) -> list[Expected]:
        """What is believed of the arms' rewards for a question with ``features`` [F]."""
        means, sds = self._moments(strategies, features)
        return [
            Expected(name, float(mean), float(sd), self._about[self._arms[name]].runs)
            for name, mean, sd in zip(strategies, means, sds, strict=True)
        ]

    def draw(
        self,
        strategies: Sequence[str],
        features: NDArray[np.float64],
        seed: str,
        *,
        later: NDArray[np.float64] | None = None,
        follows: Mapping[tuple[str, str], float] | None = None,
        draws: int = DRAWS,
    ) -> Drawn:
        """Rank the arms by rewards sampled from their posteriors; the same ``seed`` draws the same.

        The first place is Thompson sampling on ``features`` [F], or, for a small share, any arm;
        the others sample on ``later`` [F], the features after a first attempt, plus ``follows``,
        what it is worth to come right behind another arm. Propensities are shares of ``draws``
        rankings.
        """
        digest = hashlib.sha256(seed.encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        count = len(strategies)
        scale = self.options.exploration
        means, sds = self._moments(strategies, features)
        rewards = means + scale * sds * random.standard_normal((draws, count))
        winners = rewards.argmax(axis=1)
        shares = np.bincount(winners, minlength=count) / draws
        mixed = self.options.uniform
        shares = (1.0 - mixed) * shares + mixed / count
        anyhow = random.random(draws) < mixed
        winners[anyhow] = random.integers(count, size=int(anyhow.sum()))
        if later is not None and count > 1:
            means, sds = self._moments(strategies, later)
            rewards = means + scale * sds * random.standard_normal((draws, count))
        order = [int(winners[0])]
        chances = [float(shares[order[0]])]
        numbers = [draws]
        alike = winners == order[0]
        while len(order) < count:
            before = strategies[order[-1]]
            bonus = np.array([(follows or {}).get((before, name), 0.0) for name in strategies])
            left = rewards[alike] + bonus
            left[:, order] = -np.inf
            winners_left = left.argmax(axis=1)
            # Row 0 is the ranking that is taken: it agrees with itself at every place.
            order.append(int(winners_left[0]))
            agree = winners_left == order[-1]
            chances.append(float(agree.mean()))
            numbers.append(len(agree))
            alike[alike] = agree
        return Drawn(
            order=tuple(strategies[i] for i in order),
            propensities=tuple(chances),
            errors=tuple(math.sqrt(p * (1 - p) / n) for p, n in zip(chances, numbers, strict=True)),
            first={name: float(share) for name, share in zip(strategies, shares, strict=True)},
            entropy=entropy_of(shares),
        )

    def staleness(self, now: float) -> dict[str, float | None]:
        """Seconds since the last outcome of every arm; None for one without any."""
        return {a.name: max(0.0, now - a.last) if a.runs else None for a in self._about}

    @property
    def width(self) -> int:
        """F, the number of features."""
        return len(self.shared.variances)

    @property
    def outcomes(self) -> int:
        """How many attempts were learned from, in all."""
        return sum(arm.runs for arm in self._about)

    def _moments(
        self, strategies: Sequence[str], features: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means [K] and standard deviations [K] of the arms' expected rewards."""
        rows = [self._arms[name] for name in strategies]
        stale = [row for row in rows if self._about[row].version < self._version]
        if stale:
            self._covariance[stale] = np.linalg.inv(self._sums[stale] + self.shared.precision)
            for row in stale:
                self._about[row].version = self._version
        x = np.asarray(features, dtype=np.float64)
        # One by one: all at once would copy the matrices.
        spread = np.stack([self._covariance[row] @ x for row in rows])  # [K, F]
        priors = np.array([self._about[row].prior for row in rows])
        means = priors * x[0] + (spread * self._targets[rows]).sum(axis=1)
        return means, np.sqrt(np.maximum(spread @ x, 0.0))


def entropy_of(shares: Sequence[float] | NDArray[np.float64]) -> float:
    """Entropy of a distribution over K arms, divided by log K: 0 to 1; 0 for a single arm."""
    values = np.asarray(shares, dtype=np.float64)
    if len(values) < 2:
        return 0.0
    positive = values[values > 0]
    return abs(float(-(positive * np.log(positive)).sum() / math.log(len(values))))
