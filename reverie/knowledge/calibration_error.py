"""How far confidence is from what came true: Brier score and expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

BINS = 10

Binning = Literal["mass", "width"]
"""``mass``: each bin holds about as many answers; ``width``: each covers as much of 0 to 1."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar confidence: how many, their mean confidence and mean score."""

    count: int
    confidence: float
    right: float


def brier(confidence: ArrayLike, right: ArrayLike) -> float:
    """Mean squared difference between confidence [N] and score [N], both 0 to 1; lower is better
    (Brier 1950). NaN without answers.
    """
    import numpy as np

    said, came = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    return float(np.mean((said - came) ** 2)) if said.size else float("nan")


def calibration_error(
    confidence: ArrayLike, right: ArrayLike, *, binning: Binning = "mass", bins: int = BINS
) -> float:
    """Expected calibration error: the mean of |mean confidence - share right| over the bins,
    weighted by their answers (Naeini et al. 2015; bins of equal mass: Nguyen and O'Connor 2015).
    NaN without answers.
    """
    found = reliability_bins(confidence, right, binning=binning, bins=bins)
    total = sum(b.count for b in found)
    if not total:
        return float("nan")
    return sum(b.count * abs(b.confidence - b.right) for b in found) / total


def reliability_bins(
    confidence: ArrayLike, right: ArrayLike, *, binning: Binning = "mass", bins: int = BINS
) -> Sequence[Bin]:
    """The bins that are not empty, from low to high. Equal confidences share a bin, so bins of
    equal mass may be fewer than ``bins`` and of unequal size.
    """
    import numpy as np

    said, came = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    if not said.size:
        return ()
    inner = (
        np.linspace(0, 1, bins + 1)[1:-1]
        if binning == "width"
        else np.quantile(said, np.linspace(0, 1, bins + 1)[1:-1], method="lower")
    )
    place: NDArray[np.intp] = np.searchsorted(
        inner, said, side="right" if binning == "width" else "left"
    )
    return tuple(
        Bin(int(inside.sum()), float(said[inside].mean()), float(came[inside].mean()))
        for inside in (place == number for number in range(bins))
        if inside.any()
    )
