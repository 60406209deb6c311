"""Whether what is estimated from the log of a choice is true, in simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from reverie.evals.bench import Table
from reverie.evals.bench.selection_policies import earned, thompson
from reverie.evals.bench.simulated import FAMILIES, TASKS, World
from reverie.evals.policy import Estimate, Evaluation, Logged, always, evaluate, uniform
from reverie.graphs.bandit import DRAWS


def estimates(seeds: Sequence[int]) -> Table:
    """Every strategy always, and a uniform choice, estimated from logs of two kinds."""
    rows = []
    for label, logger in (("uniform", _log_uniform), ("learned selection", _log_learned)):
        cases = [case for seed in seeds for case in _cases(FAMILIES["kinds"](seed), seed, logger)]
        for name in ("ips", "snips", "doubly_robust"):
            errors = np.array([case[name].mean - case["truth"].mean for case in cases])
            inside = [c[name].low <= c["truth"].mean <= c[name].high for c in cases]
            rows.append(
                (
                    f"{name.replace('_', ' ')}, log of a {label}",
                    len(cases),
                    f"{errors.mean():+.4f}",
                    f"{math.sqrt((errors**2).mean()):.4f}",
                    f"{np.mean([c[name].error for c in cases]):.4f}",
                    f"{100 * np.mean(inside):.0f} %",
                )
            )
    return Table(
        "Estimates of a mean reward from 2,000 logged choices, against the truth (simulated)",
        ("estimate", "cases", "bias", "error", "stated error", "inside the 95 % interval"),
        tuple(rows),
    )


_Case = dict[str, Estimate]


def _cases(
    world: World, seed: int, logger: Callable[[World, int], Sequence[Logged]]
) -> list[_Case]:
    log = logger(world, seed)
    cases = []
    for number, name in enumerate(world.strategies):
        found = evaluate(log, always(name))
        cases.append(_case(found, float(world.rewards[:, number].mean())))
    cases.append(_case(evaluate(log, uniform), float(world.rewards.mean())))
    return cases


def _case(found: Evaluation, truth: float) -> _Case:
    names = ("ips", "snips", "doubly_robust")
    return {"truth": Estimate(truth, 0.0), **{name: getattr(found, name) for name in names}}


def _log_uniform(world: World, seed: int) -> Sequence[Logged]:
    random = np.random.default_rng([seed, 6])
    arms = random.integers(len(world.costs), size=TASKS)
    return [
        Logged(
            world.features[task],
            world.strategies[arm],
            1 / len(world.costs),
            earned(world, task, int(arm)),
            world.strategies,
        )
        for task, arm in enumerate(arms)
    ]


def _log_learned(world: World, seed: int) -> Sequence[Logged]:
    return thompson(world, seed, draws=DRAWS).log
