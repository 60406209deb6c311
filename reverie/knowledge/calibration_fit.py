"""Fitting calibrations to scored answers, with scikit-learn, which is imported only here.

Three forms compete by their Brier score on held-out folds: a logistic curve over the raw score
(Platt 1999), logistic regression over all signals, and, from some hundred answers on, isotonic
regression (Zadrozny and Elkan 2002), which overfits fewer. Folds divide questions, not answers, so
that no question is on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from reverie.knowledge.calibration import (
    MINIMUM_EACH,
    MINIMUM_OUTCOMES,
    MINIMUM_STRATEGY,
    SIGNALS,
    Calibration,
    Outcome,
    Quality,
    features,
    raw_score,
)
from reverie.knowledge.calibration_error import brier, calibration_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ISOTONIC_FROM: Final = 300
"""Scored answers from which isotonic regression takes part."""

_FOLDS = 5
_MORE_IS_BETTER_BY = 0.0005
"""How much a form must lower the Brier score to be preferred to a simpler one."""

_Fit = Callable[[Sequence[Outcome]], Calibration]


def fit_all(outcomes: Sequence[Outcome]) -> list[Calibration]:
    """The calibration of all ``outcomes``, which are one model's, then those of the strategies with
    enough of them. Empty when there are too few, or all were right, or all wrong. Blocks.
    """
    pooled = fit(outcomes) if _enough(outcomes, MINIMUM_OUTCOMES) else None
    if pooled is None:
        return []
    by_strategy: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_strategy.setdefault(outcome.strategy, []).append(outcome)
    own = [
        fit(mine, strategy)
        for strategy, mine in sorted(by_strategy.items())
        if strategy and len(by_strategy) > 1 and _enough(mine, MINIMUM_STRATEGY)
    ]
    return [pooled, *(calibration for calibration in own if calibration is not None)]


def fit(outcomes: Sequence[Outcome], strategy: str = "") -> Calibration | None:
    """The best calibration of ``outcomes``, with how good it is on held-out folds; None when too
    few of them have signals.
    """
    import numpy as np

    judged = [o for o in outcomes if raw_score(o.signals) is not None]
    without = [o for o in outcomes if raw_score(o.signals) is None]
    if not _enough(judged, MINIMUM_OUTCOMES // 2):
        return None
    right = np.array([o.right for o in judged])
    raw = np.array([raw_score(o.signals) for o in judged], dtype=float)
    best: tuple[_Fit, NDArray[np.float64]] | None = None
    for form in _forms(judged):
        held_out = _held_out(judged, form)
        if best is None or brier(held_out, right) < brier(best[1], right) - _MORE_IS_BETTER_BY:
            best = form, held_out
    assert best is not None  # noqa: S101  # there is always one form
    form, held_out = best
    chosen = form(judged)
    return Calibration(
        kind=chosen.kind,
        names=chosen.names,
        points=chosen.points,
        numbers=chosen.numbers,
        reads=tuple(n for n in SIGNALS if any(o.signals.get(n) is not None for o in judged)),
        unseen=_base_rate(without) if len(without) >= MINIMUM_EACH else None,
        strategy=strategy,
        outcomes=len(outcomes),
        right=sum(o.right for o in outcomes) / len(outcomes),
        before=_quality(raw, right),
        after=_quality(held_out, right),
    )


def _forms(judged: Sequence[Outcome]) -> list[_Fit]:
    forms: list[_Fit] = [_platt, _logistic]
    return [*forms, _isotonic] if len(judged) >= ISOTONIC_FROM else forms


def _platt(outcomes: Sequence[Outcome]) -> Calibration:
    return _regression("platt", outcomes, ["raw"])


def _logistic(outcomes: Sequence[Outcome]) -> Calibration:
    found = [features(o.signals, o.strategy) for o in outcomes]
    names = sorted({name for values in found for name in values} - {"raw"})
    # What is the same for every answer says nothing.
    names = [n for n in names if len({values.get(n, 0.0) for values in found}) > 1]
    return _regression("logistic", outcomes, names or ["raw"])


def _regression(kind: str, outcomes: Sequence[Outcome], names: Sequence[str]) -> Calibration:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    found = [features(o.signals, o.strategy) for o in outcomes]
    x = np.array([[values.get(name, 0.0) for name in names] for values in found])
    scaler = StandardScaler().fit(x)
    scaled = scaler.transform(x)
    # A score between 0 and 1 is that much of a right answer, and the rest of a wrong one.
    right = np.array([o.right for o in outcomes])
    model = LogisticRegression(max_iter=500).fit(
        np.vstack([scaled, scaled]),
        np.repeat([1, 0], len(outcomes)),
        sample_weight=np.concatenate([right, 1 - right]),
    )
    weights = model.coef_[0] / scaler.scale_
    intercept = float(model.intercept_[0] - weights @ scaler.mean_)
    numbers = (intercept, *(float(w) for w in weights))
    return Calibration(
        kind="platt" if kind == "platt" else "logistic",
        names=tuple(names),
        points=(),
        numbers=numbers,
    )


def _isotonic(outcomes: Sequence[Outcome]) -> Calibration:
    import numpy as np
    from sklearn.isotonic import IsotonicRegression

    raw = np.array([raw_score(o.signals) for o in outcomes], dtype=float)
    model = IsotonicRegression(out_of_bounds="clip").fit(raw, [o.right for o in outcomes])
    # Nothing that was seen so often only is certain.
    least = 1 / (len(outcomes) + 2)
    numbers = np.clip(model.y_thresholds_, least, 1 - least)
    return Calibration(
        kind="isotonic",
        names=(),
        points=tuple(float(x) for x in model.X_thresholds_),
        numbers=tuple(float(y) for y in numbers),
    )


def _held_out(outcomes: Sequence[Outcome], form: _Fit) -> NDArray[np.float64]:
    """What ``form`` says of each outcome when fitted to the other folds, [N]."""
    import numpy as np

    folds = [_fold(o, at) for at, o in enumerate(outcomes)]
    said = np.full(len(outcomes), _base_rate(outcomes))
    for fold in range(_FOLDS):
        others = [o for o, f in zip(outcomes, folds, strict=True) if f != fold]
        if not _enough(others, 2, each=1):
            continue  # the base rate stands
        calibration = form(others)
        for at, outcome in enumerate(outcomes):
            value = calibration.apply(outcome.signals, outcome.strategy)
            if folds[at] == fold and value is not None:
                said[at] = value
    return said


def _fold(outcome: Outcome, at: int) -> int:
    group = outcome.group or str(at)
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % _FOLDS


def _enough(outcomes: Sequence[Outcome], least: int, *, each: int = MINIMUM_EACH) -> bool:
    right = sum(o.right >= 0.5 for o in outcomes)
    return len(outcomes) >= least and min(right, len(outcomes) - right) >= each


def _base_rate(outcomes: Sequence[Outcome]) -> float:
    """The share that was right, drawn a little to one half (Laplace)."""
    return (sum(o.right for o in outcomes) + 1) / (len(outcomes) + 2)


def _quality(said: NDArray[np.float64], right: NDArray[np.float64]) -> Quality:
    return Quality(
        brier=brier(said, right),
        ece_mass=calibration_error(said, right, binning="mass"),
        ece_width=calibration_error(said, right, binning="width"),
    )
