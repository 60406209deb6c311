"""Features: bounded, named, stable, and similar where questions are."""

from __future__ import annotations

import numpy as np
import pytest

from reverie.graphs.features import (
    EMBEDDED,
    NAMES,
    features_of,
    features_version,
    prior_variances,
    projection,
)
from reverie.models.profile import ModelProfile

FIRST_ROW = [0.173197781432, 0.059770015826, 0.012857431356]
SUM = -28.264442200
SMALL = ModelProfile(name="small", parameters=135_000_000, window=2048)
LARGE = ModelProfile(
    name="large", parameters=70_000_000_000, window=131_072, logprobs=True, json_schema=True
)


def unit(seed: int, dimension: int = 384) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def named(profile: ModelProfile = SMALL, **told: object) -> dict[str, float]:
    options = {"tokens_left": 8000, "later": False, **told}
    made = features_of(unit(0), "logic", profile, **options)  # type: ignore[arg-type]
    return dict(zip(NAMES, made, strict=True))


def test_every_feature_has_a_name_and_a_prior_variance() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(prior_variances()) == len(named())
    assert (prior_variances() > 0).all()
    assert NAMES[0] == "intercept"


def test_they_say_what_is_asked_and_what_there_is() -> None:
    features = named()
    assert features["intercept"] == 1.0
    assert (features["later"], named(later=True)["later"]) == (0.0, 1.0)
    assert [n for n in NAMES if n.startswith("task:") and features[n]] == ["task:logic"]
    assert features["budget"] == 0.0
    assert named(tokens_left=128_000)["budget"] == 1.0
    assert named(tokens_left=0)["budget"] == -1.5
    assert features["model:parameters"] < 0 < named(LARGE)["model:parameters"]
    assert features["model:window"] < 0 < named(LARGE)["model:window"]
    assert (features["model:logprobs"], named(LARGE)["model:logprobs"]) == (0.0, 1.0)


def test_an_unknown_model_says_nothing() -> None:
    features = named(ModelProfile(name="unknown", window=None))

    assert (features["model:parameters"], features["model:window"]) == (0.0, 0.0)


@pytest.mark.parametrize("tokens", [0, 1, 10**12])
def test_they_are_bounded(tokens: int) -> None:
    giant = ModelProfile(name="giant", parameters=10**15, window=10**9)

    assert all(abs(value) <= 1.5 for value in named(giant, tokens_left=tokens).values())


def test_the_projection_keeps_similarity() -> None:
    vectors = np.stack([unit(seed) for seed in range(40)])
    vectors[20:] = vectors[:20] + 0.5 * vectors[20:]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    short = vectors @ projection(384)

    error = short @ short.T - vectors @ vectors.T
    assert short.shape == (40, EMBEDDED)
    # The standard deviation of such an error is at most sqrt(2 / 128) = .125.
    assert np.abs(error).max() < 0.6
    assert error.std() < 0.125
    close = np.einsum("if,if->i", short[:20], short[20:])
    assert close.min() > 0.6


def test_the_projection_is_always_the_same() -> None:
    """Features are stored: a matrix that another release drew would make them meaningless."""
    matrix = projection(384)

    assert matrix[0, :3] == pytest.approx(FIRST_ROW, abs=1e-9)
    assert float(matrix.sum()) == pytest.approx(SUM, abs=1e-6)


def test_short_vectors_stay_as_they_are() -> None:
    vector = unit(3, 64)

    assert vector @ projection(64) == pytest.approx([*vector, *[0.0] * (EMBEDDED - 64)])


def test_versions_tell_embedders_apart() -> None:
    assert features_version("a") != features_version("b")
