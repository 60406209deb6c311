"""Weights fitted to labelled queries."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reverie.errors import ConfigError
from reverie.knowledge.search import Ranked, fit_weights
from reverie.knowledge.search.fusion import fuse


def lists_of(good: float, seed: int = 0, queries: int = 40) -> tuple[list[Any], list[set[str]]]:
    """Two sources over 30 texts; "x" has the right one first with probability ``good``, "y" never
    among its first ten.
    """
    drawn = random.Random(seed)  # noqa: S311  # made-up lists, no secret
    lists, relevant = [], []
    for _ in range(queries):
        texts = [f"{i:02}" for i in range(30)]
        drawn.shuffle(texts)
        right = texts[0]
        x = texts if drawn.random() < good else texts[::-1]
        y = [*drawn.sample(texts[1:], 29), right]
        lists.append({"x": [Ranked(t, 0.0) for t in x[:12]], "y": [Ranked(t, 0.0) for t in y[:30]]})
        relevant.append({right})
    return lists, relevant


def test_the_better_source_gets_the_weight() -> None:
    lists, relevant = lists_of(0.9)

    fit = fit_weights(lists, relevant, {"x": 1.0, "y": 8.0}, at=3)

    assert fit.weights["x"] > fit.weights["y"]
    assert fit.fitted > fit.before
    assert fit.held_out > fit.before
    assert len(fit.folds) == 5
    assert fit.tried > 9


def test_what_is_measured_is_what_fusion_gives() -> None:
    lists, relevant = lists_of(0.5, queries=25)
    weights = {"x": 1.0, "y": 2.0}

    before = fit_weights(lists, relevant, weights, at=4, grid=(1.0,)).before

    by_hand = [
        len(wanted & {one.id for one in fuse(found, weights)[:4]}) / len(wanted)
        for found, wanted in zip(lists, relevant, strict=True)
    ]
    assert before == pytest.approx(sum(by_hand) / len(by_hand))


def test_the_reciprocal_rank_can_be_fitted_too() -> None:
    found = {"x": [Ranked("a", 0), Ranked("b", 0)], "y": [Ranked("b", 0), Ranked("a", 0)]}

    fit = fit_weights([found, found], [{"b"}, {"b"}], {"x": 2.0, "y": 1.0}, measure="mrr", folds=2)

    assert fit.before == 0.5
    assert fit.fitted == 1.0
    assert fit.weights["y"] > fit.weights["x"]


def test_where_nothing_can_be_gained_weights_stay() -> None:
    found = {"x": [Ranked("a", 0)], "y": [Ranked("a", 0)]}

    fit = fit_weights([found] * 4, [{"a"}] * 4, {"x": 1.0, "y": 3.0}, folds=2)

    assert fit.weights == {"x": 1.0, "y": 3.0}
    assert fit.fitted == fit.before == fit.held_out == 1.0


def test_it_is_the_same_every_time_and_a_seed_draws_other_folds() -> None:
    lists, relevant = lists_of(0.6)

    first = fit_weights(lists, relevant, {"x": 1.0, "y": 1.0}, at=2)

    assert first == fit_weights(lists, relevant, {"x": 1.0, "y": 1.0}, at=2)
    other = fit_weights(lists, relevant, {"x": 1.0, "y": 1.0}, at=2, seed=3)
    assert other.weights == first.weights  # folds do not change what is fitted to all


def test_noise_is_not_mistaken_for_a_gain() -> None:
    """Five sources that know nothing: what fitting gains on its own queries is gone on others."""
    drawn = random.Random(5)  # noqa: S311  # made-up lists, no secret
    texts = [f"{i:02}" for i in range(30)]
    lists = [
        {name: [Ranked(t, 0.0) for t in drawn.sample(texts, 15)] for name in "abcde"}
        for _ in range(40)
    ]
    relevant = [{drawn.choice(texts)} for _ in lists]

    fit = fit_weights(lists, relevant, dict.fromkeys("abcde", 1.0), at=5)

    assert fit.fitted > fit.before + 0.05
    assert fit.held_out < fit.fitted - 0.05


@pytest.mark.parametrize(
    ("lists", "relevant", "options", "said"),
    [
        ([{}], [], {}, "1 queries"),
        ([{}] * 4, [{"a"}] * 4, {}, "5 folds"),
        ([{}] * 4, [{"a"}] * 4, {"folds": 1}, "1 folds"),
        ([{}] * 5, [{"a"}] * 4 + [set()], {}, "query 4"),
        ([{}] * 5, [{"a"}] * 5, {"grid": (0.0,)}, "above 0"),
        ([{}] * 5, [{"a"}] * 5, {"grid": (1.0, -1.0)}, "below 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    lists: Any, relevant: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        fit_weights(lists, relevant, {"x": 1.0}, **options)
