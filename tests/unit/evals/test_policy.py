"""Offline estimates against the truth of small simulated worlds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reverie.errors import ConfigError
from reverie.evals.policy import (
    Evaluation,
    Logged,
    always,
    evaluate,
    evaluate_strategies,
    learned,
    uniform,
)
from reverie.graphs.bandit import BanditOptions
from reverie.graphs.features import prior_variances
from reverie.knowledge.strategies import Outcome

VARIANCES = np.array([0.25, 0.5])
NAMES = ("a", "b", "c")
SEEDS = range(40)


def rate(name: str, side: float) -> float:
    """Strategy a suits one side, b the other, c is mediocre for both."""
    return {"a": 0.5 + 0.4 * side, "b": 0.5 - 0.4 * side, "c": 0.4}[name]


def world(seed: int, count: int = 400) -> list[Logged]:
    """A log whose propensities depend on the question, and on what was earned before."""
    random = np.random.default_rng(seed)
    log, earned = [], 0.0
    for _ in range(count):
        side = float(random.choice([-1.0, 1.0]))
        lean = 0.2 * side + (0.1 if earned > 0 else -0.1)
        chances = np.array([0.4 + lean, 0.4 - lean, 0.2])
        arm = int(random.choice(3, p=chances))
        reward = float(random.random() < rate(NAMES[arm], side))
        earned += reward - 0.5
        features = np.array([1.0, side])
        log.append(Logged(features, NAMES[arm], float(chances[arm]), reward, NAMES))
    return log


def found(seed: int, learner: object) -> Evaluation:
    return evaluate(world(seed), learner, variances=VARIANCES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("learner", "truth"), [(always("a"), 0.5), (always("c"), 0.4), (uniform, 1.4 / 3)]
)
def test_estimates_are_unbiased_and_their_intervals_hold(learner: object, truth: float) -> None:
    evaluations = [found(seed, learner) for seed in SEEDS]

    for name in ("ips", "snips", "doubly_robust"):
        estimates = [getattr(e, name) for e in evaluations]
        errors = np.array([e.mean - truth for e in estimates])
        assert abs(errors.mean()) < 3 * errors.std() / math.sqrt(len(errors)) + 0.005
        inside = np.mean([e.low <= truth <= e.high for e in estimates])
        assert inside > 0.84  # 40 seeds: .95 less three standard errors
        stated = np.mean([e.error for e in estimates])
        assert stated == pytest.approx(errors.std(), rel=0.4)


def test_what_was_logged_is_told_apart_from_the_policy() -> None:
    better = found(0, always("a"))

    assert better.runs == 400
    assert better.logged.mean == pytest.approx(np.mean([o.reward for o in world(0)]))
    assert 50 < better.effective < 400
    assert better.clipped == 0.0


def test_a_regression_makes_estimates_surer() -> None:
    pairs = [found(seed, always("a")) for seed in range(5)]

    assert all(p.doubly_robust.error < p.ips.error for p in pairs)


def test_a_policy_that_learns_is_judged_by_what_it_had_not_seen() -> None:
    options = BanditOptions(token_price=0.0, shift_threshold=math.inf)
    learner = learned(options, variances=VARIANCES, costs=dict.fromkeys(NAMES, 0.0))

    estimate = evaluate(world(1, 1500), learner, variances=VARIANCES).doubly_robust

    # The best that can be is .9 on either side; the first tenth is chosen without knowledge.
    assert 0.7 < estimate.mean < 0.9 + estimate.error
    assert estimate.mean > found(1, uniform).doubly_robust.mean + 0.15


def test_weights_are_cut_and_that_is_said() -> None:
    log = [Logged(np.array([1.0, 0.0]), "a", 0.001, 1.0, NAMES)] * 2
    log += [Logged(np.array([1.0, 0.0]), "b", 0.9, 0.0, NAMES)] * 8

    cut = evaluate(log, always("a"), variances=VARIANCES, clip=5.0)

    assert cut.clipped == pytest.approx(0.2)
    assert cut.ips.mean == pytest.approx(1.0)
    assert cut.effective == pytest.approx(2.0)


def test_a_policy_that_was_never_followed_cannot_be_estimated_by_weights() -> None:
    log = [Logged(np.array([1.0, 0.0]), "a", 1.0, 1.0, NAMES)] * 5

    none = evaluate(log, always("b"), variances=VARIANCES)

    assert none.effective == 0.0
    assert math.isnan(none.snips.mean)
    assert none.snips.error == math.inf


# -- from the strategy memory's log ------------------------------------------------------------


def outcome(seq: int, strategy: str = "direct", **told: object) -> Outcome:
    features = np.zeros(len(prior_variances()), dtype=np.float32)
    features[0] = 1.0
    values: dict[str, object] = {
        "run_id": str(seq),
        "position": 0,
        "features": features,
        "score": 1.0,
        "weight": 1.0,
        "tokens": 1000,
        "at": 0.0,
        "replaces": False,
        "source": "feedback",
        "task_type": "other",
        "propensity": 0.5,
        "forced": False,
        "allowed": ("direct", "dream"),
    }
    return Outcome(seq=seq, strategy=strategy, **{**values, **told})  # type: ignore[arg-type]


def test_rewards_are_scores_less_the_price_of_tokens() -> None:
    found = evaluate_strategies([outcome(i) for i in range(10)], "direct", token_price=0.1)

    assert found.logged.mean == pytest.approx(0.9)
    assert found.snips.mean == pytest.approx(0.9)


def test_only_choices_that_were_free_and_verified_count() -> None:
    log = [outcome(i, "direct" if i % 2 else "dream", score=float(i % 2)) for i in range(20)]
    noise = [
        outcome(20, score=0.0, forced=True, propensity=1.0),
        outcome(21, score=0.0, position=1),
        outcome(22, score=0.0, source="confidence"),
        outcome(23, score=0.0, propensity=1.0),
    ]

    assert evaluate_strategies([*log, *noise], "uniform", token_price=0.02).runs == 20
    found = evaluate_strategies([*log, *noise], "direct", token_price=0.0)
    assert found.snips.mean == 1.0
    assert evaluate_strategies(log, "learned", token_price=0.0).runs == 20


def test_a_strategy_is_judged_only_where_it_was_allowed() -> None:
    both = [outcome(i, "direct" if i % 2 else "dream") for i in range(10)]
    one = [outcome(10 + i, allowed=("direct", "panel"), score=0.0) for i in range(10)]

    assert evaluate_strategies([*both, *one], "dream", token_price=0.0).runs == 10


def test_what_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(ConfigError, match="too few"):
        evaluate_strategies([outcome(1)], "uniform", token_price=0.0)
    with pytest.raises(ConfigError, match="'draem' was never a candidate") as caught:
        evaluate_strategies([outcome(1), outcome(2)], "draem", token_price=0.0)
    assert caught.value.hint == "evaluate uniform, learned, or one of direct, dream"
