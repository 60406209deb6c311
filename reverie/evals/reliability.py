"""How reliable confidence is: calibration error, Brier score, and what is gained by leaving out the
answers that one is least sure of; with bootstrap intervals and a plot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reverie.errors import ConfigError
from reverie.knowledge.calibration_error import brier, calibration_error, reliability_bins

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
_SURE = 0.95
"""Of the intervals."""

_Metric = Callable[["NDArray[np.float64]", "NDArray[np.float64]"], float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % bootstrap interval (percentiles)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Reliability:
    """What was measured on a set of answers."""

    answers: int
    accuracy: Estimate
    """Of all answers."""
    accuracy_at_half: Estimate
    """Of the half that one is surest of."""
    brier: Estimate
    ece_mass: Estimate
    """Expected calibration error, ten bins of equal mass."""
    ece_width: Estimate
    """The same with ten bins of equal width."""
    auroc: Estimate
    """How often a right answer has the higher confidence of a right and a wrong one."""


def reliability(
    confidence: ArrayLike,
    right: ArrayLike,
    *,
    groups: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Reliability:
    """Measure ``confidence`` [N] against ``right`` [N], both 0 to 1. Answers with the same entry in
    ``groups`` (to the same question) are drawn together by the bootstrap.
    """
    import numpy as np

    said, came = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    drawn = list(_draws(len(said), groups, seed, resamples))

    def measured(metric: _Metric) -> Estimate:
        values = np.array([metric(said[rows], came[rows]) for rows in drawn])
        edge = (1 - _SURE) / 2
        low, high = np.nanquantile(values, [edge, 1 - edge])
        return Estimate(metric(said, came), float(low), float(high))

    return Reliability(
        answers=len(said),
        accuracy=measured(lambda _, c: float(c.mean())),
        accuracy_at_half=measured(lambda s, c: accuracy_at(s, c, 0.5)),
        brier=measured(brier),
        ece_mass=measured(lambda s, c: calibration_error(s, c, binning="mass")),
        ece_width=measured(lambda s, c: calibration_error(s, c, binning="width")),
        auroc=measured(auroc),
    )


def risk_coverage(
    confidence: ArrayLike, right: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coverage [N] from 1/N to 1, and the share of wrong answers [N] among the surest so many
    (El-Yaniv and Wiener 2010). Among equally sure ones it is that of a random order.
    """
    import numpy as np

    said, came = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    order = np.argsort(-said, kind="stable")
    _, place, counts = np.unique(-said[order], return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=1 - came[order]) / counts
    covered = np.arange(1, len(said) + 1)
    return covered / len(said), np.cumsum(wrong[place]) / covered


def accuracy_at(confidence: ArrayLike, right: ArrayLike, coverage: float) -> float:
    """The share of right answers among the surest ``coverage`` (0 to 1) of them."""
    covered, risk = risk_coverage(confidence, right)
    last = max(1, round(coverage * len(covered)))
    return float(1 - risk[last - 1])


def auroc(confidence: ArrayLike, right: ArrayLike) -> float:
    """Area under the ROC curve of telling right (score from .5) from wrong answers; ties count a
    half. NaN when all are right, or all wrong.
    """
    import numpy as np

    said, came = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float) >= 0.5
    positive, negative = int(came.sum()), int((~came).sum())
    if not positive or not negative:
        return float("nan")
    _, place, counts = np.unique(said, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # mean rank of ties
    total = float(ranks[came].sum()) - positive * (positive + 1) / 2
    return total / (positive * negative)


def draw_reliability(
    path: Path, series: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str = ""
) -> None:
    """Write a PNG: the reliability curve of each series (confidence, right) with bins of equal
    mass, and its accuracy by coverage. Blocks.

    Raises ConfigError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "plots need matplotlib, which is not installed",
            hint="pip install 'reverie[plots]'",
        ) from error
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    curve, cover = figure.subplots(1, 2)
    curve.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--", label="as it should be")
    for name, (confidence, right) in series.items():
        bins = reliability_bins(confidence, right, binning="mass")
        curve.plot([b.confidence for b in bins], [b.right for b in bins], marker="o", label=name)
        covered, risk = risk_coverage(confidence, right)
        cover.plot(covered, 1 - risk, label=name)
    curve.set(
        xlabel="confidence (bins of equal mass)", ylabel="share right", xlim=(0, 1), ylim=(0, 1)
    )
    cover.set(
        xlabel="coverage: the surest share of answers",
        ylabel="share right among them",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    for axes in (curve, cover):
        axes.grid(color="0.93")
        axes.legend(frameon=False)
    if title:
        figure.suptitle(title)
    figure.savefig(path, format="png", dpi=120)


def _draws(
    count: int, groups: Sequence[str], seed: int, resamples: int
) -> Sequence[NDArray[np.intp]]:
    """Rows of each resample: as many groups as there are, drawn with replacement."""
    import numpy as np

    random = np.random.default_rng(seed)
    if not groups:
        return [random.integers(0, count, count) for _ in range(resamples)]
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    rows = [np.array(m) for m in members.values()]
    return [
        np.concatenate([rows[i] for i in random.integers(0, len(rows), len(rows))])
        for _ in range(resamples)
    ]
