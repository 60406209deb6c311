"""Calibration: fitted to scored answers, kept as numbers, and honest about how good it is."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.calibration import (
    MINIMUM_EACH,
    MINIMUM_OUTCOMES,
    REFIT_STEP,
    Calibration,
    Calibrations,
    Outcome,
    raw_score,
)
from reverie.knowledge.calibration_error import brier, calibration_error, reliability_bins
from reverie.knowledge.calibration_fit import ISOTONIC_FROM, fit, fit_all

MODEL = "some/model"


def signals(mean: float | None = None, **others: float | None) -> dict[str, float | None]:
    return {"mean": mean, "weakest": None, "agreement": None, "verifier": None, **others}


def overconfident(count: int, *, seed: int = 0, strategy: str = "direct") -> list[Outcome]:
    """Answers of a model that says 0.5 to 1 and is right half as often as it says."""
    drawn = np.random.default_rng(seed)
    said = [drawn.uniform(0.5, 1.0) for _ in range(count)]
    return [
        Outcome(strategy, signals(p), float(drawn.random() < p - 0.4), f"{seed}:{i}")
        for i, p in enumerate(said)
    ]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Calibrations]:
    opened = await Calibrations.open(tmp_path / "calibration.sqlite")
    yield opened
    await opened.close()


# -- the error of a confidence ------------------------------------------------------------------


def test_the_errors_are_those_of_a_worked_example() -> None:
    said, came = [0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1]

    assert brier(said, came) == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert calibration_error(said, came, binning="width") == pytest.approx((0.4 * 2 + 0.1 * 2) / 4)
    assert calibration_error(said, came, binning="mass", bins=2) == pytest.approx(0.25)
    assert [b.count for b in reliability_bins(said, came, binning="width")] == [2, 2]


def test_bins_of_equal_mass_hold_equally_many_and_equal_width_equally_much() -> None:
    said = [(i + 0.5) / 1000 for i in range(500)]  # all in the lower half

    mass = reliability_bins(said, [0.0] * 500, binning="mass")
    width = reliability_bins(said, [0.0] * 500, binning="width")

    assert len(mass) == 10
    assert all(48 <= b.count <= 52 for b in mass)
    assert [b.count for b in width] == [100] * 5


def test_equal_confidences_share_a_bin() -> None:
    bins = reliability_bins([0.7] * 50 + [0.2] * 10, [1.0] * 60, binning="mass")

    assert [b.count for b in bins] == [10, 50]


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60))
def test_errors_lie_between_none_and_all(pairs: list[tuple[float, float]]) -> None:
    said, came = [p for p, _ in pairs], [c for _, c in pairs]

    for binning in ("mass", "width"):
        assert 0 <= calibration_error(said, came, binning=binning) <= 1 + 1e-9  # type: ignore[arg-type]  # both are binnings
        assert sum(b.count for b in reliability_bins(said, came, binning=binning)) == len(pairs)  # type: ignore[arg-type]  # as above
    assert 0 <= brier(said, came) <= 1
    assert calibration_error(came, came) == 0


def test_nothing_has_no_error() -> None:
    assert math.isnan(brier([], []))
    assert math.isnan(calibration_error([], []))


# -- the raw score ------------------------------------------------------------------------------


def test_a_verifier_comes_before_agreement_and_that_before_the_models_own() -> None:
    assert raw_score(signals(0.9, weakest=0.4, agreement=0.6, verifier=0.0)) == 0.0
    assert raw_score(signals(0.9, weakest=0.4, agreement=0.6)) == 0.6
    assert raw_score(signals(0.9, weakest=0.4)) == pytest.approx(0.6)
    assert raw_score(signals(0.9)) == 0.9
    assert raw_score(signals()) is None


# -- fitting ------------------------------------------------------------------------------------


def test_it_is_uncalibrated_until_there_are_enough_of_both_kinds() -> None:
    many = overconfident(400)
    right = [o for o in many if o.right]
    wrong = [o for o in many if not o.right]

    assert fit_all(many[: MINIMUM_OUTCOMES - 1]) == []
    assert fit_all(right) == []
    assert fit_all(wrong) == []
    assert fit_all([*wrong[:100], *right[: MINIMUM_EACH - 1]]) == []
    assert len(fit_all([*wrong[:100], *right[:MINIMUM_EACH]])) == 1


def test_it_says_how_often_a_model_is_right_that_believes_too_much() -> None:
    (calibration,) = fit_all(overconfident(800))
    unseen = overconfident(2000, seed=1)
    said = [calibration.apply(o.signals) or 0.0 for o in unseen]
    came = [o.right for o in unseen]
    raw = [raw_score(o.signals) or 0.0 for o in unseen]

    assert calibration_error(said, came) < 0.08
    assert calibration_error(raw, came) > 0.3
    assert brier(said, came) < brier(raw, came)
    assert calibration.before is not None
    assert calibration.after is not None
    # What it reports of itself is what is found on answers that it never saw.
    assert calibration.before.ece_mass == pytest.approx(calibration_error(raw, came), abs=0.05)
    assert calibration.after.brier == pytest.approx(brier(said, came), abs=0.03)
    assert calibration.after.ece_width < calibration.before.ece_width


def test_held_out_means_held_out() -> None:
    """On pure noise a fit cannot look better than the base rate."""
    drawn = np.random.default_rng(3)
    noise = [
        Outcome("direct", signals(drawn.random()), float(drawn.random() < 0.3), str(i))
        for i in range(600)
    ]

    (calibration,) = fit_all(noise)

    assert calibration.after is not None
    share = sum(o.right for o in noise) / len(noise)
    assert calibration.after.brier > share * (1 - share) * 0.99


def test_answers_to_one_question_are_never_on_both_sides() -> None:
    """Each question's answers agree, and here its strategy gives it away: a fit that saw one of
    them would know the others.
    """
    drawn = np.random.default_rng(5)
    outcomes = []
    for question in range(60):
        right, mean = float(drawn.random() < 0.5), drawn.random()
        outcomes += [Outcome(f"s{question}", signals(mean), right, str(question))] * 5

    together = fit(outcomes)
    apart = fit([Outcome(o.strategy, o.signals, o.right) for o in outcomes])

    assert together is not None
    assert apart is not None
    assert together.after is not None
    assert apart.after is not None
    assert together.after.brier > 0.2
    assert apart.after.brier < 0.1


def test_isotonic_regression_takes_part_only_from_some_hundred_answers_on() -> None:
    def stepped(count: int) -> list[Outcome]:  # right only in the middle of the log-odds' tail
        drawn = np.random.default_rng(2)
        said = [drawn.random() for _ in range(count)]
        return [
            Outcome("direct", signals(p), float(drawn.random() < (0.9 if p > 0.97 else 0.1)))
            for p in said
        ]

    few, many = fit(stepped(ISOTONIC_FROM - 1)), fit(stepped(3000))

    assert few is not None
    assert many is not None
    assert few.kind != "isotonic"
    assert many.kind == "isotonic"
    low, high = many.apply(signals(0.5)), many.apply(signals(0.99))
    assert low == pytest.approx(0.1, abs=0.05)
    assert high == pytest.approx(0.9, abs=0.08)
    assert 0 < (many.apply(signals(0.0)) or 0) < (many.apply(signals(1.0)) or 1) < 1


def test_several_signals_are_weighed_when_one_is_not_enough() -> None:
    drawn = np.random.default_rng(4)
    outcomes = []
    for i in range(600):
        mean, agreement = drawn.random(), drawn.random()
        right = float(drawn.random() < (0.95 if mean + agreement > 1 else 0.05))
        outcomes.append(Outcome("vote", signals(mean, agreement=agreement), right, str(i)))

    calibration = fit(outcomes)

    assert calibration is not None
    assert calibration.kind == "logistic"
    assert set(calibration.reads) == {"mean", "agreement"}
    both = calibration.apply(signals(0.9, agreement=0.9))
    neither = calibration.apply(signals(0.1, agreement=0.1))
    assert both is not None
    assert neither is not None
    assert neither < 0.2
    assert both > 0.8


def test_strategies_with_enough_answers_get_their_own() -> None:
    good = [Outcome("tools", o.signals, 1.0 - o.right, o.group) for o in overconfident(300)]
    found = fit_all([*good, *overconfident(300, seed=1), *overconfident(20, seed=2, strategy="x")])

    assert [c.strategy for c in found] == ["", "direct", "tools"]
    assert found[0].outcomes == 620
    by_name = {c.strategy: c.apply(signals(0.75)) or 0 for c in found}
    assert by_name["direct"] < 0.5 < by_name["tools"]


def test_a_score_between_right_and_wrong_counts_as_part_of_both() -> None:
    halves = [Outcome("direct", signals(0.8), 0.5, str(i)) for i in range(100)]
    sides = [Outcome("direct", signals(0.8), float(i % 2), str(i)) for i in range(100)]

    one, other = fit([*halves, *overconfident(100)]), fit([*sides, *overconfident(100)])

    assert one is not None
    assert other is not None
    assert one.apply(signals(0.8)) == pytest.approx(other.apply(signals(0.8)), abs=0.03)


def test_a_signal_that_was_never_seen_is_left_aside() -> None:
    calibration = fit(overconfident(200))

    assert calibration is not None
    assert calibration.reads == ("mean",)
    assert calibration.apply(signals(0.6, verifier=1.0)) == calibration.apply(signals(0.6))


def test_answers_without_signals_get_their_own_share_or_none() -> None:
    dumb = [Outcome("tools", signals(), float(i % 10 != 0), str(i)) for i in range(40)]

    with_some, without = fit([*overconfident(200), *dumb]), fit(overconfident(200))

    assert with_some is not None
    assert without is not None
    assert with_some.apply(signals()) == pytest.approx(0.88, abs=0.02)
    assert without.apply(signals()) is None


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["mean", "agreement"]),
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=60, max_size=120),
    st.floats(0, 1) | st.none(),
)
def test_whatever_was_fitted_it_gives_probabilities(
    name: str, pairs: Sequence[tuple[float, bool]], value: float | None
) -> None:
    outcomes = [
        Outcome("direct", signals(**{name: p}), float(right), str(i))
        for i, (p, right) in enumerate(pairs)
    ]
    calibration = fit(outcomes)

    if calibration is not None:
        said = calibration.apply(signals(**{name: value}))
        assert said is None if value is None else 0 <= (said or 0.0) <= 1
        again = fit(outcomes)
        assert again == calibration  # nothing is drawn


# -- the store ----------------------------------------------------------------------------------


async def test_what_was_fitted_is_found_again(store: Calibrations, tmp_path: Path) -> None:
    assert await store.find(MODEL, "direct") is None
    outcomes = [*overconfident(200), *overconfident(120, seed=1, strategy="chain_of_thought")]

    stored = await store.refit(MODEL, outcomes)

    assert [(c.model, c.strategy, c.version) for c in stored] == [
        (MODEL, "", 1),
        (MODEL, "chain_of_thought", 1),
        (MODEL, "direct", 1),
    ]
    assert await store.find(MODEL, "direct") == stored[2]
    assert await store.find(MODEL, "dream") == stored[0]  # of all strategies
    assert await store.find("another", "direct") is None
    assert await store.newest() == stored
    second = await Calibrations.open(tmp_path / "calibration.sqlite")
    assert await second.find(MODEL, "direct") == stored[2]
    await second.close()


async def test_it_is_fitted_again_only_after_enough_new_outcomes(store: Calibrations) -> None:
    outcomes = overconfident(1000)

    assert await store.refit(MODEL, outcomes[: MINIMUM_OUTCOMES - 1]) == []
    (first,) = await store.refit(MODEL, outcomes[:100])
    assert await store.refit(MODEL, outcomes[: 100 + REFIT_STEP - 1]) == []
    (second,) = await store.refit(MODEL, outcomes[: 100 + REFIT_STEP])
    assert [first.version, second.version] == [1, 2]
    assert await store.refit("another", outcomes[:100])
    assert (await store.find(MODEL, "direct")) == second


async def test_a_strategy_that_lost_its_outcomes_falls_back_to_the_models(
    store: Calibrations,
) -> None:
    both = [*overconfident(200), *overconfident(200, seed=1, strategy="x")]
    await store.refit(MODEL, both)
    found = await store.find(MODEL, "x")
    assert found is not None
    assert found.strategy == "x"

    await store.refit(MODEL, [*both[:200], *both[200:230]])

    found = await store.find(MODEL, "x")
    assert found is not None
    assert found.strategy == ""


async def test_processes_that_fit_at_once_store_one_version(
    store: Calibrations, tmp_path: Path
) -> None:
    others = [await Calibrations.open(tmp_path / "calibration.sqlite") for _ in range(3)]
    outcomes = overconfident(100)

    stored = await asyncio.gather(*(s.refit(MODEL, outcomes) for s in (store, *others)))

    assert sorted(len(s) for s in stored) == [0, 0, 0, 1]
    for other in others:
        await other.close()


async def test_old_versions_are_dropped(store: Calibrations, tmp_path: Path) -> None:
    more, fewer = overconfident(MINIMUM_OUTCOMES + REFIT_STEP), overconfident(MINIMUM_OUTCOMES)
    for step in range(25):
        assert await store.refit(MODEL, more if step % 2 else fewer)

    with sqlite3.connect(tmp_path / "calibration.sqlite") as connection:
        versions = [v for (v,) in connection.execute("SELECT version FROM calibrations")]
        documents = [d for (d,) in connection.execute("SELECT document FROM calibrations")]
    connection.close()
    assert max(versions) == 25
    assert len(versions) == 20
    assert all(isinstance(json.loads(d)["numbers"], list) for d in documents)  # plain numbers


async def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "calibration.sqlite"
    path.write_bytes(b"no database" * 100)

    store = await Calibrations.open(path)

    assert "damaged" in store.notices[0]
    assert await store.find(MODEL, "direct") is None
    await store.close()
    with pytest.raises(KnowledgeUnavailable, match="closed"):
        await store.find(MODEL, "direct")


def test_applying_one_needs_no_scikit_learn() -> None:
    code = (
        "import sys\n"
        "from reverie.knowledge.calibration import Calibration\n"
        "c = Calibration('platt', ('raw',), (), (0.0, 1.0))\n"
        "assert abs(c.apply({'mean': 0.5}) - 0.5) < 1e-9\n"
        "print([m for m in ('sklearn', 'numpy', 'scipy') if m in sys.modules])"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def test_a_line_through_points_is_level_beyond_them() -> None:
    line = Calibration("isotonic", (), (0.2, 0.4, 0.8), (0.1, 0.5, 0.6))

    assert [line.apply(signals(x)) for x in (0.0, 0.2, 0.3, 0.4, 0.6, 0.9)] == pytest.approx(
        [0.1, 0.1, 0.3, 0.5, 0.55, 0.6]
    )
