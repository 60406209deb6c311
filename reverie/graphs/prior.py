"""What the learned selection believes of a strategy before it has outcomes: which features move its
reward, and by how much.

Most numbers of an embedding tell one wording from another, not one kind of question from another.
A prior that lets all of them move the reward alike therefore never tires of exploring: every
question is partly new to it. So the prior is fitted to the questions: directions in which they
differ most, as kinds of questions do, are believed to matter most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALIKE: Final = 0.25
"""Share of the prior that stays the same in all directions: a kind of question that was never asked
differs from the others in a direction in which no two did so far.
"""

_DOUBT: Final = 50.0
"""So many questions outweigh the assumption that they differ alike in all directions."""

_FIRST, _EVERY = 25, 100
"""Questions until the prior is fitted, and at most between two fits: each one costs an inversion
per strategy.
"""

_NO_SPREAD: Final = 1e-9


class Prior:
    """A Gaussian on the weights [F] of an arm, of mean 0: independent with ``variances`` [F],
    except those of the features ``directions``, which are fitted to what was seen.

    With the covariance C of these features, estimated from n questions and drawn towards a multiple
    of the identity by ``_DOUBT``, their weights have the covariance a v I + (1 - a) s C: v is their
    mean variance, a is ``_ALIKE``, and s is such that questions as they come have the same variance
    of the reward as with v I. The same questions in the same order give the same prior.
    """

    def __init__(self, variances: NDArray[np.float64], directions: slice | None = None) -> None:
        self.variances = variances
        self.precision: NDArray[np.float64] = np.diag(1.0 / variances)
        """[F, F]"""
        self._directions = directions
        if directions is None:
            return
        width = len(variances[directions])
        self._count = 0.0
        self._sum = np.zeros(width)
        self._products = np.zeros((width, width))
        self._seen, self._next = 0, _FIRST

    def see(self, features: NDArray[np.float64]) -> bool:
        """Take in the features [F] of one more question. Returns whether that changed the prior."""
        if self._directions is None:
            return False
        x = features[self._directions]
        self._count += 1.0
        self._sum += x
        self._products += np.outer(x, x)
        self._seen += 1
        if self._seen < self._next:
            return False
        self._next = min(2 * self._seen, self._seen + _EVERY)
        return self._fit(self._directions)

    def age(self, keep: float) -> None:
        """What was seen so far counts ``keep`` of what it did."""
        if self._directions is not None:
            self._count *= keep
            self._sum *= keep
            self._products *= keep

    def _fit(self, directions: slice) -> bool:
        count = self._count
        centre = self._sum / count
        spread = self._products / count - np.outer(centre, centre)
        total = float(spread.trace())
        if total < _NO_SPREAD:  # the same question over and over
            return False
        width = len(centre)
        alike = np.eye(width)
        drawn = (count * spread + _DOUBT * (total / width) * alike) / (count + _DOUBT)
        mean = float(self.variances[directions].mean())
        # The mean of x' M x over centred questions x is the trace of M C.
        fitted = drawn * (mean * total / float(np.vdot(drawn, spread)))
        covariance: NDArray[np.float64] = np.diag(self.variances)
        covariance[directions, directions] = _ALIKE * mean * alike + (1.0 - _ALIKE) * fitted
        self.precision = np.linalg.inv(covariance).astype(np.float64)
        return True
