"""The prior that follows the questions, against what it is said to be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reverie.graphs.bandit import Bandit, BanditOptions
from reverie.graphs.features import NAMES, new_prior, prior_variances
from reverie.graphs.prior import Prior

VARIANCES = np.array([0.25, 0.1, 0.1, 0.1])
DIRECTIONS = slice(1, 4)


def questions(count: int, seed: int = 0) -> NDArray[np.float64]:
    """[count, 4], which differ a lot in the first direction and little in the others."""
    random = np.random.default_rng(seed)
    drawn = random.normal(size=(count, 3)) * [0.6, 0.05, 0.05] + [0.1, 0.3, 0.0]
    return np.column_stack([np.ones(count), drawn])


def seen(rows: NDArray[np.float64]) -> Prior:
    made = Prior(VARIANCES, DIRECTIONS)
    for row in rows:
        made.see(row)
    return made


def covariance(made: Prior) -> NDArray[np.float64]:
    return np.linalg.inv(made.precision)


def test_at_first_and_without_directions_all_is_alike() -> None:
    for made in (Prior(VARIANCES), Prior(VARIANCES, DIRECTIONS), seen(questions(24))):
        assert covariance(made) == pytest.approx(np.diag(VARIANCES))

    still = Prior(VARIANCES)
    assert not any(still.see(row) for row in questions(300))
    assert covariance(still) == pytest.approx(np.diag(VARIANCES))


def test_where_questions_differ_strategies_may() -> None:
    made = covariance(seen(questions(400)))

    assert made[1, 1] > 0.09
    assert made[1, 1] > 3 * made[2, 2]
    # A quarter stays for what was never seen to differ.
    assert made[2, 2] == pytest.approx(0.025, rel=0.2)
    assert made[0, 0] == pytest.approx(0.25)
    assert np.abs(made[0, 1:]).max() < 1e-12


def test_questions_move_rewards_as_much_as_before() -> None:
    rows = questions(600)
    made = seen(rows[:400])

    late = rows[400:, DIRECTIONS] - rows[:, DIRECTIONS].mean(axis=0)
    fitted = np.einsum("ni,ij,nj->n", late, covariance(made)[DIRECTIONS, DIRECTIONS], late).mean()
    assert fitted == pytest.approx(0.1 * (late**2).sum(axis=1).mean(), rel=0.15)


def test_it_is_fitted_seldom_and_each_time_said() -> None:
    made = Prior(VARIANCES, DIRECTIONS)

    changed = [number for number, row in enumerate(questions(500), 1) if made.see(row)]

    assert changed == [25, 50, 100, 200, 300, 400, 500]


def test_the_same_question_over_and_over_changes_nothing() -> None:
    row = questions(1)[0]
    made = Prior(VARIANCES, DIRECTIONS)

    assert not any(made.see(row) for _ in range(200))
    assert covariance(made) == pytest.approx(np.diag(VARIANCES))


def test_what_was_asked_long_ago_counts_less() -> None:
    other = questions(200)[:, [0, 2, 1, 3]]  # they differ in the second direction
    lasting, ageing = seen(questions(200)), seen(questions(200))
    ageing.age(0.01)
    for row in other:
        lasting.see(row)
        ageing.see(row)

    assert covariance(ageing)[2, 2] > 2 * covariance(ageing)[1, 1]
    assert covariance(lasting)[2, 2] == pytest.approx(covariance(lasting)[1, 1], rel=0.25)


def test_the_embedding_is_what_is_fitted() -> None:
    made = new_prior()
    random = np.random.default_rng(0)
    for _ in range(25):
        made.see(random.normal(size=len(NAMES)))

    fitted = covariance(made)
    embedded = [name.startswith("embedding") for name in NAMES]
    assert np.diag(fitted)[np.invert(embedded)] == pytest.approx(
        prior_variances()[np.invert(embedded)]
    )
    assert not np.allclose(np.diag(fitted)[embedded], prior_variances()[embedded])


def test_wording_stops_being_news() -> None:
    """Two kinds of questions, each worded anew every time: what is uncertain about one more."""
    variances = np.full(65, 0.25)

    def uncertain(shared: Prior) -> float:
        random = np.random.default_rng(1)
        made = Bandit(shared, BanditOptions())
        made.declare({"a": 0.0})
        rows = random.normal(size=(301, len(variances))) * 0.08
        rows[:, 0] = 1.0
        rows[:, 1] = random.choice([-0.7, 0.7], size=301)
        made.absorb_rewards(("a", row, float(row[1] > 0)) for row in rows[:300])
        (believed,) = made.expected(["a"], rows[300])
        assert believed.mean == pytest.approx(float(rows[300, 1] > 0), abs=0.15)
        return believed.sd

    fitted = Prior(variances, slice(1, len(variances)))
    assert uncertain(fitted) < 0.8 * uncertain(Prior(variances))
