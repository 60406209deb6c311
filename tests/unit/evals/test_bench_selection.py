"""The selection benchmark: its worlds are what they say, and its numbers are what they mean."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reverie.evals.bench import selection
from reverie.evals.bench import selection_policies as policies
from reverie.evals.bench.simulated import FAMILIES, SHIFT, TASKS, costs, kinds, shift


@pytest.mark.parametrize("family", FAMILIES)
def test_a_world_is_repeated_by_its_seed(family: str) -> None:
    world, again = FAMILIES[family](3), FAMILIES[family](3)

    assert (world.features == again.features).all()
    assert (world.success == again.success).all()
    assert (world.rates != FAMILIES[family](4).rates).any()
    assert world.success.mean() == pytest.approx(world.rates.mean(), abs=0.02)


def test_each_family_is_what_its_name_says() -> None:
    by_kind = {tuple(rates) for rates in kinds(0).rates}
    assert len(by_kind) == 8
    assert len(set(costs(0).costs)) == 5
    world = shift(0)
    assert {tuple(r) for r in world.rates[:SHIFT]}.isdisjoint(map(tuple, world.rates[SHIFT:]))


def test_questions_of_a_kind_are_similar() -> None:
    world = kinds(0)
    embedded = world.features[:400, -128:]
    same = (world.rates[:400, None] == world.rates[None, :400]).all(axis=2)
    cosines = embedded @ embedded.T

    assert cosines[same].mean() == pytest.approx(0.70, abs=0.08)
    assert cosines[~same].mean() == pytest.approx(0.16, abs=0.12)


def test_the_learned_choice_beats_a_uniform_one() -> None:
    world = kinds(0)
    few = replace(world, features=world.features[:400], rates=world.rates[:400])
    learned = policies.thompson(few, 0, draws=200)
    loss = policies.POLICIES[policies.UNIFORM](world, 0).regret

    assert learned.regret[200:].sum() < 0.4 * loss[200:400].sum()
    assert all(0 < one.propensity <= 1 for one in learned.log)
    best = policies.POLICIES[policies.BEST](world, 0).regret
    assert best.sum() < loss.sum()


def test_growth_is_the_exponent() -> None:
    at = np.arange(1, TASKS + 1)
    for exponent in (0.5, 1.0):
        regret = np.diff(at**exponent, prepend=0.0)[None]
        assert selection.growth(regret) == pytest.approx(exponent, abs=0.01)


def test_adapted_means_that_regret_is_back() -> None:
    loss = np.full((1, TASKS), 0.5)
    regret = np.full((1, TASKS), 0.1)
    regret[:, SHIFT : SHIFT + 80] = 0.4

    # A window of 50 tasks averages .15 when 50 / 6 of them are from before: that is after 80 + 41.
    assert selection.adapted_after(regret, loss) == pytest.approx(122, abs=1)
    regret[:, SHIFT:] = 0.4
    assert selection.adapted_after(regret, loss) == math.inf


def test_how_far_adapting_depends_on_the_seeds_is_told() -> None:
    loss = np.full((4, TASKS), 0.5)
    alike = np.full((4, TASKS), 0.1)
    alike[:, SHIFT : SHIFT + 80] = 0.4
    one = selection.adapted_after(alike, loss)
    assert selection.adapted_between(alike, loss) == (one, one)

    alike[0, SHIFT:] = 0.9  # one of four never does
    low, high = selection.adapted_between(alike, loss)
    assert low == one
    assert high == math.inf


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    from reverie.evals.bench.selection_plot import draw

    regret = np.random.default_rng(0).random((3, TASKS))
    path = draw({"kinds": {"a": regret}, "shift": {"a": regret, "b": regret}}, tmp_path / "x.png")

    assert path.read_bytes().startswith(b"\x89PNG")
