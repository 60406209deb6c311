"""Simulated families of tasks, to see how a choice between strategies learns. Nothing here asks a
model: whether a strategy succeeds at a task is drawn with a probability that is known, so that
regret and the truth of an estimate can be computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from reverie.graphs.features import features_of
from reverie.models.profile import ModelProfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASKS = 2000
SHIFT = TASKS // 2
"""The task at which the family ``shift`` changes."""

_DIMENSION = 384
_WITHIN, _BETWEEN = 0.70, 0.16
"""Mean cosines of questions of the same kind and of different kinds: about those that
all-MiniLM-L6-v2 gives to the questions of reasoning-gym's families."""

_MODEL = ModelProfile(name="simulated", parameters=1_000_000_000, window=8192)


@dataclass(frozen=True)
class World:
    """One draw of a family: ``TASKS`` tasks in a row, K strategies."""

    features: NDArray[np.float64]
    """[T, F]"""
    rates: NDArray[np.float64]
    """[T, K], the probability that a strategy succeeds."""
    costs: NDArray[np.float64]
    """[K], in tokens."""
    token_price: float
    success: NDArray[np.bool_]
    """[T, K], what would happen: every policy meets the same."""

    @property
    def strategies(self) -> tuple[str, ...]:
        return tuple(f"s{number}" for number in range(len(self.costs)))

    @cached_property
    def rewards(self) -> NDArray[np.float64]:
        """[T, K], expected: what regret is measured by."""
        return self.rates - self.token_price * self.costs / 1000.0


Family = Callable[[int], World]
"""Makes a world of a seed."""


def kinds(seed: int) -> World:
    """Eight kinds of questions; which of five strategies works is another matter for each."""
    random = np.random.default_rng([seed, 1])
    rates = random.beta(1.0, 1.0, size=(8, 5))
    return _world(random, rates, np.full(5, 600.0), 0.02)


def costs(seed: int) -> World:
    """Six kinds, and strategies of 200 to 4,000 tokens: the dearer succeed more often, but on the
    easy kinds not often enough to be worth their tokens.
    """
    random = np.random.default_rng([seed, 2])
    prices = np.array([200.0, 600.0, 1200.0, 2500.0, 4000.0])
    effort = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    base = random.uniform(0.2, 0.8, size=(6, 1))
    gain = random.uniform(-0.1, 0.9, size=(6, 1))
    rates = base + gain * effort + random.normal(0.0, 0.08, size=(6, 5))
    return _world(random, rates, prices, 0.1)


def shift(seed: int) -> World:
    """Five kinds; after half of the tasks every strategy works for others than before."""
    random = np.random.default_rng([seed, 3])
    before = random.beta(1.0, 1.0, size=(5, 5))
    after = random.beta(1.0, 1.0, size=(5, 5))
    return _world(random, before, np.full(5, 600.0), 0.02, after)


FAMILIES: dict[str, Family] = {"kinds": kinds, "costs": costs, "shift": shift}


def _world(
    random: np.random.Generator,
    rates: NDArray[np.float64],
    prices: NDArray[np.float64],
    token_price: float,
    after: NDArray[np.float64] | None = None,
) -> World:
    rates = np.clip(rates, 0.02, 0.98)
    kind = random.integers(len(rates), size=TASKS)
    of_task = rates[kind]
    if after is not None:
        of_task[SHIFT:] = np.clip(after, 0.02, 0.98)[kind[SHIFT:]]
    vectors = _embeddings(random, kind, len(rates))
    budgets = random.integers(2000, 16_000, size=TASKS)
    features = [
        features_of(vector, "other", _MODEL, tokens_left=int(budget), later=False)
        for vector, budget in zip(vectors, budgets, strict=True)
    ]
    return World(
        features=np.array(features),
        rates=of_task,
        costs=prices,
        token_price=token_price,
        success=random.random(of_task.shape) < of_task,
    )


def _embeddings(
    random: np.random.Generator, kind: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Unit vectors [T, D] with the cosines of real ones: a part that all share, one of the kind,
    and one of the question.
    """

    def units(rows: int) -> NDArray[np.float64]:
        drawn = random.standard_normal((rows, _DIMENSION))
        made: NDArray[np.float64] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return made

    shared, kinds_, own = units(1), units(count), units(len(kind))
    vectors = (
        math.sqrt(_BETWEEN) * shared
        + math.sqrt(_WITHIN - _BETWEEN) * kinds_[kind]
        + math.sqrt(1.0 - _WITHIN) * own
    )
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)
