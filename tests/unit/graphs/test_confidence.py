"""From token log-probabilities and other signals to a score, and from scores to a probability."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.confidence import (
    calibrated,
    find_calibration,
    mean_probability,
    raw_confidence,
    recalibrate,
    signals_of,
    span,
    weakest_window,
)
from reverie.graphs.context import Context
from reverie.knowledge.calibration import Calibration, Calibrations
from reverie.knowledge.strategies import Run, Source, Trial
from tests.unit.conftest import ScriptedResources

TOKENS = [("The", -0.1), (" ball", -0.2), (" falls", -0.4), (".", -0.8)]


def test_it_is_the_geometric_mean_of_the_probabilities() -> None:
    assert mean_probability([("a", math.log(0.9)), ("b", math.log(0.4))]) == pytest.approx(0.6)
    assert mean_probability([]) is None


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=40))
def test_it_lies_between_the_least_and_the_most_likely_token(logprobs: list[float]) -> None:
    score = mean_probability([("x", logprob) for logprob in logprobs])

    assert score is not None
    low, high = math.exp(min(logprobs)), math.exp(max(logprobs))
    assert low * (1 - 1e-9) <= score <= high * (1 + 1e-9)
    assert 0 <= score <= 1


def test_a_span_is_the_tokens_that_wrote_a_text() -> None:
    assert span(TOKENS, " ball falls") == TOKENS[1:3]
    assert span(TOKENS, "all fal") == TOKENS[1:3]  # half tokens count


@pytest.mark.parametrize("text", ["", "nowhere"])
def test_without_the_text_all_tokens_count(text: str) -> None:
    assert span(TOKENS, text) == TOKENS


def test_the_weakest_window_is_the_worst_few_tokens_in_a_row() -> None:
    tokens = [("a", -0.1), ("b", -2.0), ("c", -2.0), ("d", -2.0), ("e", -0.1)]

    assert weakest_window(tokens) == pytest.approx(math.exp(-2))
    assert weakest_window(tokens[:2]) == pytest.approx(math.exp(-1.05))  # fewer than a window
    assert weakest_window([]) is None


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=40))
def test_the_weakest_window_is_never_surer_than_the_whole(logprobs: list[float]) -> None:
    """Of windows that tile the answer the worst is at most the mean; others only lower it."""
    tokens = [("x", logprob) for logprob in logprobs]
    weakest, least = weakest_window(tokens), min(logprobs)

    assert weakest is not None
    assert math.exp(least) * (1 - 1e-9) <= weakest
    if len(logprobs) % 3 == 0 or len(logprobs) < 3:
        assert weakest <= (mean_probability(tokens) or 0) * (1 + 1e-9)


def test_the_raw_score_takes_the_strongest_signal_there_is() -> None:
    tokens = [("a", math.log(0.9)), ("b", math.log(0.4))]

    assert raw_confidence(signals_of()) is None
    assert raw_confidence(signals_of(tokens)) == pytest.approx(0.6)
    assert raw_confidence(signals_of(tokens, agreement=0.75)) == 0.75
    assert raw_confidence(signals_of(tokens, agreement=0.75, verifier=0.0)) == 0.0


def test_it_says_whether_it_is_a_probability() -> None:
    curve = Calibration("platt", ("raw",), (), (0.0, 0.0))  # one half, whatever the score
    signals = signals_of([("a", math.log(0.9))])

    assert calibrated(signals, None) == (pytest.approx(0.9), False)
    assert calibrated(signals, curve) == (0.5, True)
    assert calibrated(signals_of(), curve) == (None, False)


# -- learning from outcomes ---------------------------------------------------------------------


async def keep(
    resources: ScriptedResources,
    number: int,
    *,
    mean: float,
    score: float,
    source: Source = "feedback",
    verifier: float | None = None,
    model: str = "m",
) -> None:
    """A run in the strategy memory, with one answer that was scored."""
    memory = await resources.memory()
    vector = (await (await resources.embedder()).embed(["Why?"]))[0]
    signals = {"mean": mean, "weakest": mean, "agreement": None, "verifier": verifier}
    trial = Trial("direct", 1.0, "ok", answer="so", signals=signals, model=model)
    run = Run(f"{model}{number:06}", f"Why {number}?", "direct", 1.0, model=model, trials=(trial,))
    await memory.record(run, vector)
    await memory.score(run.run_id, score, source=source)


async def found(resources: ScriptedResources, model: str = "m") -> Calibration | None:
    context = Context(resources=resources.key, model=model)
    return await find_calibration(resources, context, "direct")


async def test_feedback_calibrates_the_model_that_answered(resources: ScriptedResources) -> None:
    drawn = np.random.default_rng(0)
    for number in range(60):
        mean = float(drawn.uniform(0.5, 1.0))
        await keep(resources, number, mean=mean, score=float(drawn.random() < mean - 0.4))
        if number < 10:
            assert await recalibrate(resources, "m") == []
    assert await found(resources) is None

    assert await recalibrate(resources, "m")

    calibration = await found(resources)
    assert calibration is not None
    assert calibration.outcomes == 60
    value, fitted = calibrated(signals_of([("a", math.log(0.75))]), calibration, "direct")
    assert fitted
    assert value == pytest.approx(0.35, abs=0.15)
    assert await found(resources, "another") is None


async def test_confidence_never_trains_itself(resources: ScriptedResources) -> None:
    for number in range(60):
        await keep(
            resources, number, mean=0.5, score=float(number % 2), source="confidence", model="m"
        )

    assert await recalibrate(resources, "m") == []


async def test_a_verifiers_word_does_not_predict_itself(resources: ScriptedResources) -> None:
    """The score is the verifier's: a fit that saw its signal would be sure without having learned
    anything.
    """
    drawn = np.random.default_rng(1)
    for number in range(80):
        right = float(drawn.random() < 0.4)
        mean = float(drawn.uniform(0.5, 1))
        await keep(resources, number, mean=mean, score=right, source="verifier", verifier=right)

    await recalibrate(resources, "m")

    calibration = await found(resources)
    assert calibration is not None
    assert "verifier" not in calibration.reads
    assert calibration.after is not None
    assert calibration.after.brier > 0.2  # the means say nothing


async def test_a_file_that_cannot_be_written_leaves_the_scores_and_the_confidence(
    resources: ScriptedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: Calibrations, *_: Any) -> None:
        raise KnowledgeUnavailable("the disk is full", hint="")

    for number in range(60):
        await keep(resources, number, mean=0.5, score=float(number % 2))
    monkeypatch.setattr(Calibrations, "refit", full)

    assert await recalibrate(resources, "m") == ()
    assert await found(resources) is None
