"""The ways to choose that the selection benchmark compares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reverie.evals.bench.simulated import TASKS, World
from reverie.evals.policy import Logged
from reverie.graphs.bandit import Bandit, BanditOptions
from reverie.graphs.features import new_prior

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEARNED = "learned selection"
UNIFORM = "uniform"
BEST = "best fixed in hindsight"
GREEDY = "epsilon-greedy"
GREEDY_SEEING = "epsilon-greedy, same features"
UNWATCHED = "learned, blind to shifts"

_EPSILON = 0.1


@dataclass(frozen=True, slots=True)
class Run:
    """What one policy did in one world."""

    regret: NDArray[np.float64]
    """[T], expected reward of the best strategy for the task, less that of the chosen one."""
    log: Sequence[Logged] = ()


def thompson(
    world: World, seed: int, options: BanditOptions | None = None, *, draws: int = 1
) -> Run:
    """The learned selection, with its own code and defaults. Propensities take many ``draws``; the
    choice itself takes one.
    """
    bandit = _bandit(world, options or BanditOptions())
    chosen: list[int] = []
    log: list[Logged] = []
    for task, features in enumerate(world.features):
        drawn = bandit.draw(world.strategies, features, f"{seed}:{task}", draws=draws)
        arm = world.strategies.index(drawn.order[0])
        reward = earned(world, task, arm)
        bandit.absorb_rewards([(drawn.order[0], features, reward)])
        chosen.append(arm)
        log.append(
            Logged(features, drawn.order[0], drawn.propensities[0], reward, world.strategies)
        )
    return Run(_regret(world, chosen), log)


def _unwatched(world: World, seed: int) -> Run:
    return thompson(world, seed, BanditOptions(shift_threshold=math.inf))


def _uniform(world: World, seed: int) -> Run:
    """Its expected regret: nothing needs to be drawn."""
    del seed
    return Run(world.rewards.max(axis=1) - world.rewards.mean(axis=1))


def _best_fixed(world: World, seed: int) -> Run:
    """The one strategy that is best for all tasks together."""
    del seed
    best = int(world.rewards.sum(axis=0).argmax())
    return Run(_regret(world, [best] * TASKS))


def _greedy(world: World, seed: int) -> Run:
    """The strategy with the best mean reward so far, whatever is asked; at times any other."""
    random = np.random.default_rng([seed, 4])
    total, count = np.zeros(len(world.costs)), np.zeros(len(world.costs))
    chosen = []
    for task in range(TASKS):
        arm = int(np.where(count > 0, total / np.maximum(count, 1), np.inf).argmax())
        if random.random() < _EPSILON:
            arm = int(random.integers(len(total)))
        total[arm] += earned(world, task, arm)
        count[arm] += 1
        chosen.append(arm)
    return Run(_regret(world, chosen))


def _greedy_seeing(world: World, seed: int) -> Run:
    """The strategy whose expected reward for this task is best by the same regression, which ages
    its outcomes alike but looks for no shift; at times any other.
    """
    random = np.random.default_rng([seed, 5])
    bandit = _bandit(world, BanditOptions(shift_threshold=math.inf))
    chosen = []
    for task, features in enumerate(world.features):
        expected = bandit.expected(world.strategies, features)
        arm = int(np.argmax([e.mean for e in expected]))
        if random.random() < _EPSILON:
            arm = int(random.integers(len(expected)))
        reward = earned(world, task, arm)
        bandit.absorb_rewards([(world.strategies[arm], features, reward)])
        chosen.append(arm)
    return Run(_regret(world, chosen))


POLICIES: Mapping[str, Callable[[World, int], Run]] = {
    LEARNED: thompson,
    UNIFORM: _uniform,
    BEST: _best_fixed,
    GREEDY: _greedy,
    GREEDY_SEEING: _greedy_seeing,
    UNWATCHED: _unwatched,
}


def _bandit(world: World, options: BanditOptions) -> Bandit:
    bandit = Bandit(new_prior(), replace(options, token_price=world.token_price))
    bandit.declare(dict(zip(world.strategies, world.costs.tolist(), strict=True)))
    return bandit


def earned(world: World, task: int, arm: int) -> float:
    return float(world.success[task, arm]) - world.token_price * float(world.costs[arm]) / 1000


def _regret(world: World, chosen: Sequence[int]) -> NDArray[np.float64]:
    earned = world.rewards[np.arange(len(chosen)), np.array(chosen)]
    lost: NDArray[np.float64] = world.rewards[: len(chosen)].max(axis=1) - earned
    return lost
