"""What the learned selection sees of a question: the features of its regression.

[1, whether something was tried before, the task type, the budget left, the model, the embedding].
The embedding goes through a fixed random projection (Johnson and Lindenstrauss 1984), which keeps
similar questions similar: the inversions that learning takes are far cheaper for 128 numbers than
for 384.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from reverie.graphs.prior import Prior
from reverie.graphs.task_type import TASK_TYPES, TaskType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reverie.models.profile import ModelProfile

EMBEDDED: Final = 128
"""Numbers that the projected embedding has."""

_DIGITS: Final = 4
"""Features are kept in the run's state, as JSON."""

_PROFILE: Final = ("parameters", "window", "logprobs", "tools", "json_schema")

NAMES: Final[tuple[str, ...]] = (
    "intercept",
    "later",
    *(f"task:{name}" for name in TASK_TYPES),
    "budget",
    *(f"model:{name}" for name in _PROFILE),
    *(f"embedding:{number}" for number in range(EMBEDDED)),
)
"""F names, one a feature."""


def features_version(embedder: str) -> str:
    """Names how features are made. Those of different versions must not be compared."""
    return f"1:{EMBEDDED}:{embedder}"


def features_of(
    vector: NDArray[np.float32],
    task: TaskType,
    profile: ModelProfile,
    *,
    tokens_left: int,
    later: bool,
) -> list[float]:
    """The features [F] of a question with the embedding ``vector`` [D], of length one.

    ``later``: something was tried before in this run, and was not good enough.
    """
    projected = projection(len(vector)).T @ np.asarray(vector, dtype=np.float64)
    features = (
        1.0,
        float(later),
        *(float(task == name) for name in TASK_TYPES),
        # 0 at the default budget of 8,000 tokens, 1 at 16 times as much.
        _clipped(math.log2(max(tokens_left, 1) / 8000) / 4),
        *_of_profile(profile),
        *projected,
    )
    return [round(float(value), _DIGITS) for value in features]


def as_later(features: Sequence[float]) -> list[float]:
    """The same question's features [F], once something was tried and not good enough."""
    return [1.0 if name == "later" else value for name, value in zip(NAMES, features, strict=True)]


def prior_variances() -> NDArray[np.float64]:
    """The prior variance [F] of each feature's weight: how far apart, in reward, it can move two
    strategies before anything was seen.
    """
    of = {"intercept": 0.25, "later": 0.06, "task": 0.06, "budget": 0.04, "model": 0.02}
    # The projected embedding has length one: all its numbers together are worth its variance.
    of["embedding"] = 0.25
    return np.array([of[name.partition(":")[0]] for name in NAMES])


def new_prior() -> Prior:
    """What a bandit believes of the weights of these features at first. Each needs its own."""
    return Prior(prior_variances(), slice(len(NAMES) - EMBEDDED, len(NAMES)))


@functools.cache
def projection(dimension: int) -> NDArray[np.float64]:
    """A fixed matrix [D, 128] that keeps dot products on average. Vectors that are short enough
    stay as they are.
    """
    if dimension <= EMBEDDED:
        return np.eye(dimension, EMBEDDED)
    random = np.random.default_rng(20130617)  # must never change: stored features rest on it
    return random.standard_normal((dimension, EMBEDDED)) / math.sqrt(EMBEDDED)


def _of_profile(profile: ModelProfile) -> Sequence[float]:
    """0 for what is unknown; else around 0 for a model of 1e9 weights and a window of 8,192."""
    parameters, window = profile.parameters, profile.window
    return (
        _clipped(math.log10(parameters / 1e9) / 2) if parameters else 0.0,
        _clipped(math.log2(window / 8192) / 4) if window else 0.0,
        float(profile.logprobs),
        float(profile.tools in ("native", "forced")),
        float(profile.json_schema),
    )


def _clipped(value: float) -> float:
    return min(1.5, max(-1.5, value))
