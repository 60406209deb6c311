"""The bandit's arithmetic, against closed forms; and that a log means the same in any portions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reverie.graphs.bandit import Bandit, BanditOptions, entropy_of
from reverie.graphs.prior import Prior
from reverie.knowledge.strategies import Outcome

VARIANCES = np.array([0.25, 0.1, 0.1])
COSTS = {"a": 0.0, "b": 0.0}
STILL = BanditOptions(
    token_price=0.0, memory=1e12, shift_threshold=math.inf, exploration=1.0, uniform=0.0
)
X = np.array([1.0, 0.5, -0.5])


def outcome(
    seq: int,
    strategy: str,
    score: float,
    features: Sequence[float] = (1.0, 0.0, 0.0),
    *,
    weight: float = 1.0,
    tokens: int = 0,
    run: str = "",
    at: float = 0.0,
) -> Outcome:
    return Outcome(
        seq=seq,
        run_id=run or str(seq),
        position=0,
        strategy=strategy,
        features=np.asarray(features, dtype=np.float32),
        score=score,
        weight=weight,
        tokens=tokens,
        at=at,
        replaces=bool(run),
        source="feedback",
        task_type="other",
        propensity=1.0,
        forced=False,
        allowed=("a", "b"),
    )


def bandit(
    options: BanditOptions = STILL,
    costs: dict[str, float] | None = None,
    directions: slice | None = None,
) -> Bandit:
    made = Bandit(Prior(VARIANCES, directions), options)
    made.declare(costs or COSTS)
    return made


def moments(made: Bandit, x: NDArray[np.float64] = X) -> NDArray[np.float64]:
    """[2, 2]: mean and standard deviation of a and of b."""
    return np.array([(e.mean, e.sd) for e in made.expected(["a", "b"], x)])


def drawn_log(count: int, seed: int = 0) -> list[Outcome]:
    random = np.random.default_rng(seed)
    return [
        outcome(
            seq,
            "ab"[random.integers(2)],
            float(random.random() < 0.6),
            (1.0, *random.normal(size=2)),
            weight=float(random.choice([0.2, 1.0])),
            tokens=int(random.integers(1000)),
        )
        for seq in range(1, count + 1)
    ]


def ridge(
    log: Sequence[Outcome], weights: Sequence[float], x: NDArray[np.float64], prior: float = 0.5
) -> tuple[float, float]:
    """The posterior of a Bayesian linear regression in closed form, all data at once."""
    noise = STILL.noise**2
    rows = np.array([o.features for o in log], dtype=float).reshape(-1, 3)
    targets = np.array([o.score for o in log]) - prior
    scale = np.asarray(weights) / noise
    covariance = np.linalg.inv(np.diag(1 / VARIANCES) + (rows.T * scale) @ rows)
    mean = covariance @ (rows.T @ (scale * targets))
    return prior * x[0] + float(x @ mean), math.sqrt(float(x @ covariance @ x))


def test_the_prior_is_neutral_less_the_price_of_the_declared_cost() -> None:
    made = bandit(BanditOptions(token_price=0.05), {"a": 200, "b": 2000})

    assert made.prior("a").mean == pytest.approx(0.49)
    assert made.prior("b").mean == pytest.approx(0.40)
    assert made.prior("a").sd == 0.5
    assert [e.mean for e in made.expected(["a", "b"], X)] == pytest.approx([0.49, 0.40])


def test_the_posterior_is_that_of_the_regression() -> None:
    log = drawn_log(200)
    made = bandit()

    made.absorb(log)

    for name, (mean, sd) in zip("ab", moments(made), strict=True):
        mine = [o for o in log if o.strategy == name]
        expected = ridge(mine, [o.weight for o in mine], X)
        assert (mean, sd) == pytest.approx(expected, rel=1e-6)
    assert made.outcomes == 200


def test_tokens_cost_reward() -> None:
    made = bandit(BanditOptions(token_price=0.1, memory=1e12, shift_threshold=math.inf))
    made.absorb([outcome(i, "ab"[i % 2], 1.0, tokens=4000 * (i % 2)) for i in range(1, 400)])

    dear, cheap = made.expected(["b", "a"], np.array([1.0, 0, 0]))
    assert cheap.mean == pytest.approx(1.0, abs=0.01)
    assert dear.mean == pytest.approx(0.6, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=8), st.integers(0, 5))
def test_a_log_means_the_same_in_any_portions(cuts: list[int], seed: int) -> None:
    """Also where outcomes age, scores are replaced, and a shift may be noticed in between."""
    options = BanditOptions(memory=50.0, shift_threshold=3.0)
    log = drawn_log(120, seed)
    log += [outcome(121 + i, log[i].strategy, 1 - log[i].score, run=str(i + 1)) for i in range(9)]
    whole, parts = (bandit(options, directions=slice(1, 3)) for _ in range(2))

    whole.absorb(log)
    start = 0
    for cut in cuts:
        parts.absorb(log[start : start + cut])
        parts.expected(["a"], X)  # asking in between changes nothing
        parts.absorb(log[: start + cut])  # and what was read before is passed over
        start += cut
    parts.absorb(log)

    assert moments(parts) == pytest.approx(moments(whole), rel=1e-6)
    assert (parts.seq, parts.shifts, parts.outcomes) == (whole.seq, whole.shifts, 120)


def test_the_order_of_arrival_does_not_matter_where_nothing_ages() -> None:
    log = drawn_log(60)
    late = [
        outcome(i + 1, o.strategy, o.score, o.features.tolist(), weight=o.weight)
        for i, o in enumerate(reversed(log))
    ]
    first, second = bandit(), bandit()

    first.absorb(log)
    second.absorb(late)

    assert moments(first) == pytest.approx(moments(second), rel=1e-6)


def test_a_replaced_score_counts_as_if_it_had_been_the_first() -> None:
    options = BanditOptions(memory=30.0, token_price=0.0, shift_threshold=math.inf)
    log = drawn_log(100)
    wrong = [outcome(o.seq, o.strategy, 1 - o.score, o.features.tolist(), weight=0.2) for o in log]
    right = [
        outcome(100 + o.seq, o.strategy, o.score, o.features.tolist(), run=o.run_id) for o in log
    ]
    told_twice, told_once = bandit(options), bandit(options)

    told_twice.absorb([*wrong, *right])
    told_once.absorb(
        [outcome(o.seq, o.strategy, o.score, o.features.tolist(), weight=1.0) for o in log]
    )

    assert moments(told_twice) == pytest.approx(moments(told_once), rel=1e-5)
    assert told_twice.outcomes == 100


def test_old_outcomes_count_less() -> None:
    options = BanditOptions(memory=50.0, token_price=0.0, shift_threshold=math.inf)
    log = [outcome(seq, "a", float(seq <= 100)) for seq in range(1, 201)]
    made = bandit(options)

    made.absorb(log)

    # They age in whole steps, so what the newest has aged is between nothing and one step.
    ages = [200 - o.seq for o in log]
    exact = ridge(log, [math.exp(-age / 50) for age in ages], X)
    assert moments(made)[0] == pytest.approx(exact, rel=0.02)
    assert moments(made)[0][0] < 0.25  # without ageing it would be about a half


def test_ten_thousand_outcomes_and_replaced_scores_leave_no_error_behind() -> None:
    """The sums, updated step by step, against the closed form over what is in force."""
    memory, count = 1000, 10_050
    made = bandit(BanditOptions(token_price=0.0, memory=memory, shift_threshold=math.inf))
    random = np.random.default_rng(3)
    log: list[Outcome] = []
    seq = 0
    for number in range(count):
        seq += 1
        features = (1.0, *random.normal(size=2))
        log.append(
            outcome(seq, "ab"[number % 2], float(random.random()), features, run=f"r{number}")
        )
        made.absorb([log[-1]])
        if number % 3 == 0:  # one of the latest is scored again
            seq += 1
            again = max(0, number - int(random.integers(80)))
            old = log[again]
            log[again] = outcome(
                seq, old.strategy, float(random.random()), old.features.tolist(), run=old.run_id
            )
            made.absorb([log[again]])

    steps = memory // 10  # outcomes age in steps
    weights = [math.exp(-(count // steps - (n + 1) // steps) / 10) for n in range(count)]
    for row, name in enumerate("ab"):
        mine = [(o, w) for o, w in zip(log, weights, strict=True) if o.strategy == name]
        expected = ridge([o for o, _ in mine], [w for _, w in mine], X)
        assert moments(made)[row] == pytest.approx(expected, rel=1e-6)
    assert made.outcomes == count


def test_scores_of_less_weight_move_less() -> None:
    full, half = bandit(), bandit()
    full.absorb([outcome(1, "a", 1.0)])
    half.absorb([outcome(1, "a", 1.0, weight=0.5), outcome(2, "a", 1.0, weight=0.5)])
    weak = bandit()
    weak.absorb([outcome(1, "a", 1.0, weight=0.2)])
    none = bandit()
    none.absorb([outcome(1, "a", 1.0, weight=0.0)])

    assert moments(half) == pytest.approx(moments(full))
    assert 0.5 < moments(weak)[0][0] < moments(full)[0][0]
    assert moments(none) == pytest.approx(moments(bandit()))


def test_similar_questions_share_and_others_do_not() -> None:
    made = bandit()
    made.absorb([outcome(i, "a", 1.0, (1.0, 1.0, 0.0)) for i in range(1, 5)])
    made.absorb([outcome(i, "a", 0.0, (1.0, -1.0, 0.0)) for i in range(5, 9)])

    like, unlike = (made.expected(["a"], np.array([1.0, v, 0.0]))[0] for v in (1.0, -1.0))
    assert like.mean > 0.8
    assert unlike.mean < 0.2
    assert like.sd < 0.25 < made.expected(["b"], X)[0].sd


def test_what_does_not_fit_the_features_is_passed_over() -> None:
    made = bandit()

    made.absorb([outcome(1, "a", 1.0, (1.0,)), outcome(2, "a", 1.0, (1.0, math.nan, 0.0))])

    assert (made.seq, made.outcomes) == (2, 0)
    assert moments(made) == pytest.approx(moments(bandit()))


def test_a_strategy_that_was_never_declared_becomes_an_arm() -> None:
    made = bandit()
    made.absorb([outcome(1, "gone", 1.0)])

    assert made.expected(["gone"], X)[0].runs == 1
    assert moments(made) == pytest.approx(moments(bandit()))


# -- choosing ----------------------------------------------------------------------------------


def skewed() -> Bandit:
    made = bandit()
    made.absorb([outcome(1, "a", 1.0), outcome(2, "b", 0.3), outcome(3, "b", 0.2)])
    return made


def test_propensities_are_those_of_the_closed_form() -> None:
    made = skewed()
    (mean_a, sd_a), (mean_b, sd_b) = moments(made)
    exact = NormalDist().cdf((mean_a - mean_b) / math.hypot(sd_a, sd_b))
    assert 0.6 < exact < 0.95

    for seed in range(8):
        drawn = made.draw(["a", "b"], X, str(seed))
        right = exact if drawn.order[0] == "a" else 1 - exact
        assert drawn.errors[0] == pytest.approx(math.sqrt(exact * (1 - exact) / 2000), rel=0.2)
        assert abs(drawn.propensities[0] - right) < 4 * drawn.errors[0]
        assert drawn.first["a"] == pytest.approx(exact, abs=4 * drawn.errors[0])
        assert drawn.propensities[1] == 1.0  # only one is left


def test_choices_come_as_often_as_their_propensity_says() -> None:
    made = skewed()

    draws = [made.draw(["a", "b"], X, str(seed)) for seed in range(600)]

    share = Counter(d.order[0] for d in draws)["a"] / len(draws)
    assert share == pytest.approx(draws[0].first["a"], abs=0.07)


def test_later_places_come_as_often_as_their_propensities_say() -> None:
    made = bandit(STILL, {"a": 0.0, "b": 0.0, "c": 0.0})
    made.absorb([outcome(1, "a", 1.0), outcome(2, "b", 0.6), outcome(3, "c", 0.3)])
    later = np.array([1.0, 0.0, 0.0])

    draws = [made.draw(["a", "b", "c"], X, str(seed), later=later) for seed in range(600)]

    for first in "abc":
        with_first = [d for d in draws if d.order[0] == first]
        if len(with_first) < 60:
            continue
        for second in set("abc") - {first}:
            mine = [d for d in with_first if d.order[1] == second]
            share = len(mine) / len(with_first)
            spread = 3 / math.sqrt(len(with_first)) / 2
            assert mine[0].propensities[1] == pytest.approx(share, abs=spread + 0.05)
    assert all(d.propensities[2] == 1.0 for d in draws)


def test_what_followed_well_before_comes_next() -> None:
    made = bandit(STILL, {"a": 0.0, "b": 0.0, "c": 0.0})
    # All that is known is that a comes first: b and c are alike.
    made.absorb([outcome(i, "a", 1.0) for i in range(1, 30)])

    def seconds(follows: dict[tuple[str, str], float]) -> Counter[str]:
        draws = [
            made.draw(["a", "b", "c"], X, str(seed), later=X, follows=follows)
            for seed in range(200)
        ]
        return Counter(d.order[1] for d in draws if d.order[0] == "a")

    even, bent = seconds({}), seconds({("a", "c"): 0.6, ("c", "b"): 5.0})
    assert 0.35 < even["c"] / even.total() < 0.65
    assert bent["c"] / bent.total() > 0.75


def test_the_same_seed_draws_the_same() -> None:
    made = skewed()

    assert made.draw(["a", "b"], X, "seed") == made.draw(["a", "b"], X, "seed")
    first = {made.draw(["a", "b"], X, str(seed)).order for seed in range(40)}
    assert first == {("a", "b"), ("b", "a")}


def test_entropy_and_staleness_are_told() -> None:
    fresh = bandit()
    assert fresh.draw(["a", "b"], X, "1").entropy == pytest.approx(1.0, abs=0.01)
    assert fresh.staleness(100.0) == {"a": None, "b": None}

    fresh.absorb([outcome(i, "ab"[i % 2], float(i % 2 == 0), at=10.0 + i) for i in range(1, 200)])

    assert fresh.draw(["a", "b"], X, "1").entropy < 0.05
    assert fresh.staleness(300.0) == {"a": 92.0, "b": 91.0}
    assert entropy_of([1.0]) == 0.0
    assert entropy_of([0.25] * 4) == pytest.approx(1.0)


# -- shifts ------------------------------------------------------------------------------------


def bernoulli(rates: dict[str, tuple[float, float]], seed: int, tasks: int = 800) -> Bandit:
    """Strategies in turn, succeeding at the first rate in the first half, then at the second."""
    random = np.random.default_rng(seed)
    made = bandit(BanditOptions(token_price=0.0))
    for seq in range(1, tasks + 1):
        name = list(rates)[seq % len(rates)]
        rate = rates[name][seq > tasks // 2]
        made.absorb([outcome(seq, name, float(random.random() < rate))])
    return made


def test_a_shift_is_noticed_and_what_was_learned_before_put_aside() -> None:
    for seed in range(5):
        shifted = bernoulli({"a": (0.9, 0.3), "b": (0.2, 0.8)}, seed)
        assert shifted.shifts >= 1
        (mean_a, _), (mean_b, _) = moments(shifted, np.array([1.0, 0, 0]))
        assert mean_a == pytest.approx(0.3, abs=0.15)
        assert mean_b == pytest.approx(0.8, abs=0.15)


def test_without_a_shift_none_is_noticed() -> None:
    for seed in range(5):
        assert bernoulli({"a": (0.9, 0.9), "b": (0.3, 0.3)}, seed).shifts == 0
        assert bernoulli({"a": (0.5, 0.5), "b": (0.5, 0.5)}, seed).shifts == 0
