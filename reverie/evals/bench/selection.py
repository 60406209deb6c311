"""How fast the learned selection learns, on simulated families of tasks; and whether what is
estimated from its log is true. Every success is drawn: no model is asked.

With the environment variable BENCH_PLOTS set to a folder, a picture is left there.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reverie.evals.bench import Goal, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.evals.bench.selection_estimates import estimates as estimates_of
from reverie.evals.bench.selection_plot import draw
from reverie.evals.bench.selection_policies import (
    GREEDY_SEEING,
    LEARNED,
    POLICIES,
    UNIFORM,
    UNWATCHED,
)
from reverie.evals.bench.simulated import FAMILIES, SHIFT, TASKS
from reverie.graphs.bandit import Bandit
from reverie.graphs.features import NAMES, new_prior

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = tuple(range(100, 120))
"""The options of the bandit were chosen on other seeds: see docs/selection.md."""

PLOTS = "BENCH_PLOTS"

_BEFORE, _WINDOW = 200, 50
_BACK = 0.1
"""A choice has adapted when its regret a task, over 50 tasks, is above that of the 200 tasks before
the shift by at most a tenth of what a uniform choice loses."""


def run(repeats: int, progress: Progress) -> Report:  # noqa: ARG001  # 20 seeds are the repeats
    """Every policy in every family, on 20 seeds."""
    regrets = measure(SEEDS, progress)
    if folder := os.environ.get(PLOTS):
        progress(f"drawing {draw(regrets, Path(folder) / 'selection.png')}")
    progress("estimates from logs against the truth")
    estimates = estimates_of(SEEDS)
    progress("the time of a choice")
    tables = [_regret_table(family, runs) for family, runs in regrets.items()]
    shift = regrets["shift"]
    adapting = {
        name: (
            adapted_after(shift[name], shift[UNIFORM]),
            *adapted_between(shift[name], shift[UNIFORM]),
        )
        for name in (LEARNED, UNWATCHED, GREEDY_SEEING)
    }
    tables.append(
        Table(
            "Tasks until regret is back after the shift (simulated)",
            ("choice", "tasks", "95 % from", "to"),
            tuple((name, *map(_tasks, tasks)) for name, tasks in adapting.items()),
        )
    )
    times = _times()
    tables += [estimates, times]
    return Report(
        tuple(tables),
        goals=(*_goals(regrets, adapting[LEARNED][0]), _time_goal(times)),
        facts={
            "simulated": "every success is drawn",
            "seeds": f"{SEEDS[0]} to {SEEDS[-1]}",
            "tasks": TASKS,
            "processor": processor(),
            "load": load_average(),
        },
    )


def measure(seeds: Sequence[int], progress: Progress) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Regret by family and policy: [seeds, T]."""
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for family, make in FAMILIES.items():
        progress(f"family {family}: {len(seeds)} seeds of {TASKS} tasks")
        worlds = [make(seed) for seed in seeds]
        policies = dict(POLICIES)
        if family != "shift":
            del policies[UNWATCHED]
        found[family] = {
            name: np.stack(
                [policy(world, seed).regret for world, seed in zip(worlds, seeds, strict=True)]
            )
            for name, policy in policies.items()
        }
    return found


# -- what is said of them ----------------------------------------------------------------------


def growth(regret: NDArray[np.float64], until: int = TASKS) -> float:
    """The exponent b of cumulative regret ~ tasks^b, fitted from task 200 on to the mean of the
    seeds [S, T]: below 1 it is sublinear.
    """
    total = regret.cumsum(axis=1).mean(axis=0)
    at = np.arange(200, until + 1, 20)
    return float(np.polyfit(np.log(at), np.log(total[at - 1]), 1)[0])


def adapted_after(regret: NDArray[np.float64], loss: NDArray[np.float64]) -> float:
    """Tasks after the shift until the choice has adapted (see ``_BACK``), on the mean of the seeds
    [S, T]; ``loss`` is the regret of a uniform choice. inf: not within the tasks that there are.
    """
    mean = regret.mean(axis=0)
    before = mean[SHIFT - _BEFORE : SHIFT].mean()
    enough = before + _BACK * loss.mean(axis=0)[SHIFT:].mean()
    for end in range(SHIFT + _WINDOW, TASKS + 1):
        if mean[end - _WINDOW : end].mean() <= enough:
            return float(end - SHIFT)
    return math.inf


def adapted_between(
    regret: NDArray[np.float64], loss: NDArray[np.float64], draws: int = 200
) -> tuple[float, float]:
    """The middle 95 % of ``adapted_after`` over draws of as many seeds [S, T], with replacement."""
    random = np.random.default_rng(0)
    seeds = len(regret)
    drawn = random.integers(seeds, size=(draws, seeds))
    found = sorted(adapted_after(regret[rows], loss[rows]) for rows in drawn)
    # Of the ranks themselves: between two of them one may be infinite.
    return found[round(0.025 * (draws - 1))], found[round(0.975 * (draws - 1))]


def _regret_table(family: str, runs: Mapping[str, NDArray[np.float64]]) -> Table:
    loss = runs[UNIFORM].sum(axis=1)
    until = SHIFT if family == "shift" else TASKS
    rows = []
    for name, regret in runs.items():
        total = regret.sum(axis=1)
        rows.append(
            (
                name,
                float(total.mean()),
                float(total.std(ddof=1)),
                float((total / loss).mean()),
                float((total / loss).max()),
                growth(regret, until),
            )
        )
    beside = f" (exponent: before the shift at {SHIFT})" if family == "shift" else ""
    return Table(
        f"Simulated family {family}: regret after {TASKS} tasks, {len(loss)} seeds{beside}",
        ("choice", "regret", "spread", "of uniform's", "worst seed", "exponent"),
        tuple(rows),
    )


def _goals(
    regrets: Mapping[str, Mapping[str, NDArray[np.float64]]], adapted: float
) -> tuple[Goal, ...]:
    goals = []
    for family, runs in regrets.items():
        share = float((runs[LEARNED].sum(axis=1) / runs[UNIFORM].sum(axis=1)).mean())
        goals.append(Goal(f"{family}: regret as a share of a uniform choice's", 1 / 3, share))
        until = SHIFT if family == "shift" else TASKS
        goals.append(Goal(f"{family}: growth exponent", 0.99, growth(runs[LEARNED], until)))
    return (*goals, Goal("shift: tasks until adapted", 200, adapted))


def _tasks(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else f"not within {TASKS - SHIFT}"


# -- time --------------------------------------------------------------------------------------


def _times(arms: int = 10, outcomes: int = 10_000) -> Table:
    """Of a choice between ten strategies when 10,000 outcomes are known."""
    random = np.random.default_rng(0)
    names = [f"s{number}" for number in range(arms)]
    width = len(NAMES)
    rewards = [
        (names[int(random.integers(arms))], random.standard_normal(width) / 4, random.random())
        for _ in range(outcomes)
    ]
    bandit = Bandit(new_prior())
    bandit.declare(dict.fromkeys(names, 500.0))
    began = time.perf_counter()
    bandit.absorb_rewards(rewards)
    reading = time.perf_counter() - began
    x = random.standard_normal(width) / 4
    warm = [_timed(lambda: bandit.draw(names, x, "1", later=x)) for _ in range(200)]
    after = []
    for one in rewards[:100]:
        bandit.absorb_rewards([one])
        after.append(_timed(lambda: bandit.draw(names, x, "1", later=x)))
    return Table(
        f"A choice between {arms} strategies after {outcomes:,} outcomes",
        ("what", "median ms", "95th percentile ms"),
        (
            ("choose", *_spread(warm)),
            ("choose after one more outcome", *_spread(after)),
            ("read all outcomes, once a process", 1000 * reading, 1000 * reading),
        ),
    )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _spread(seconds: Sequence[float]) -> tuple[float, float]:
    return 1000 * float(np.median(seconds)), 1000 * float(np.percentile(seconds, 95))


def _time_goal(times: Table) -> Goal:
    return Goal("ms to choose, median", 2.0, float(times.rows[0][1]))
