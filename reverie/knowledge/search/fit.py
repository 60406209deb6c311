"""Weights of a hybrid search from labelled queries, and what they are worth on other queries."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from reverie.errors import ConfigError
from reverie.knowledge.search.fusion import RRF_K, distinct
from reverie.knowledge.search.records import Ranked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Measure = Literal["recall", "mrr"]

GRID: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""The weights that are tried for each source. 0 is not: a source of weight 0 is not asked, so a
walk that begins at what it found would find something else than it did for ``lists``."""

_ROUNDS: Final = 10
"""Of the search, over all sources each; it has always ended before."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What fitting came to. Measures are means over the queries, 0 to 1."""

    weights: Mapping[str, float]
    """Fitted on every query."""
    fitted: float
    """The measure of ``weights`` on the queries that they were fitted on: too good to be true."""
    held_out: float
    """The measure of weights fitted on other folds, over the queries of each fold: expect this."""
    before: float
    """The measure of the weights that the search began with."""
    folds: Sequence[Mapping[str, float]]
    """The weights of each fold, fitted on the others; where they differ, there is little to fit."""
    tried: int
    """Weightings that were measured on every query to find ``weights``."""


def fit_weights(
    lists: Sequence[Mapping[str, Sequence[Ranked]]],
    relevant: Sequence[Collection[str]],
    start: Mapping[str, float],
    *,
    measure: Measure = "recall",
    at: int = 5,
    folds: int = 5,
    seed: int = 0,
    grid: Sequence[float] = GRID,
    k: float = RRF_K,
) -> Fit:
    """The weights in ``grid`` that find the most of what is relevant, by coordinate search.

    For each of Q queries, ``lists`` has what every source found (``DocumentSearch.lists``) and
    ``relevant`` the ids that it should find. From ``start``, one source's weight after the other
    is set to the value that is best with the others as they are, until none changes; a change must
    gain something, so equal weightings keep the one that came first. ``measure`` is recall at
    ``at`` hits, or the mean reciprocal rank of the first relevant text among them. ``seed`` draws
    the folds. Blocks: about a second for 100 queries of three sources. Raises ConfigError.
    """
    _check(lists, relevant, start, folds, grid)
    names = tuple(start)
    queries = [
        _Query.of(found, wanted, names, k) for found, wanted in zip(lists, relevant, strict=True)
    ]
    first = tuple(float(start[name]) for name in names)
    places = list(range(len(queries)))
    random.Random(seed).shuffle(places)  # noqa: S311  # folds, no secret
    held_out: list[float] = []
    weights_of_folds: list[Mapping[str, float]] = []
    for fold in range(folds):
        apart = set(places[fold::folds])
        others = [query for place, query in enumerate(queries) if place not in apart]
        weights = _Search(others, measure, at).best(first, grid)
        weights_of_folds.append(dict(zip(names, weights, strict=True)))
        held_out += [queries[place].measured(weights, measure, at) for place in sorted(apart)]
    search = _Search(queries, measure, at)
    weights = search.best(first, grid)
    return Fit(
        weights=dict(zip(names, weights, strict=True)),
        fitted=search.mean(weights),
        held_out=sum(held_out) / len(held_out),
        before=search.mean(first),
        folds=tuple(weights_of_folds),
        tried=search.tried,
    )


class _Search:
    """Coordinate search over some queries."""

    def __init__(self, queries: Sequence[_Query], measure: Measure, at: int) -> None:
        self._queries = queries
        self._measure: Measure = measure
        self._at = at
        self._known: dict[tuple[float, ...], float] = {}

    @property
    def tried(self) -> int:
        return len(self._known)

    def best(self, start: tuple[float, ...], grid: Sequence[float]) -> tuple[float, ...]:
        weights = start
        for _ in range(_ROUNDS):
            before = weights
            for place in range(len(weights)):
                for value in grid:
                    other = (*weights[:place], value, *weights[place + 1 :])
                    if any(other) and self.mean(other) > self.mean(weights) + 1e-12:
                        weights = other
            if weights == before:
                break
        return weights

    def mean(self, weights: tuple[float, ...]) -> float:
        if weights not in self._known:
            every = [query.measured(weights, self._measure, self._at) for query in self._queries]
            self._known[weights] = sum(every) / len(every)
        return self._known[weights]


@dataclass(frozen=True, slots=True)
class _Query:
    """What the sources found for a query, ready to be weighted: S sources, N texts."""

    shares: NDArray[np.float64]
    """[S, N]: 1 / (k + rank), 0 where a source has not found the text. Texts are in the order that
    decides between equal scores."""
    found: NDArray[np.bool_]
    """[S, N]."""
    relevant: NDArray[np.bool_]
    """[N]."""
    wanted: int
    """How many are relevant, found or not."""

    @classmethod
    def of(
        cls,
        found: Mapping[str, Sequence[Ranked]],
        relevant: Collection[str],
        names: Sequence[str],
        k: float,
    ) -> _Query:
        import numpy as np

        ranks: dict[str, dict[int, int]] = {}
        for row, name in enumerate(names):
            for rank, one in enumerate(distinct(found.get(name, ())), start=1):
                ranks.setdefault(one.id, {})[row] = rank
        order = sorted(ranks, key=lambda text: (min(ranks[text].values()), text))
        shares = np.zeros((len(names), len(order)))
        for column, text in enumerate(order):
            for row, rank in ranks[text].items():
                shares[row, column] = 1 / (k + rank)
        wanted = set(relevant)
        marks = np.asarray([text in wanted for text in order], dtype=bool)
        return cls(shares, shares > 0, marks, len(wanted))

    def measured(self, weights: tuple[float, ...], measure: Measure, at: int) -> float:
        import numpy as np

        scores = np.zeros(self.shares.shape[1])
        counted = np.zeros(self.shares.shape[1], dtype=bool)
        for weight, shares, found in zip(weights, self.shares, self.found, strict=True):
            if weight:
                scores += weight * shares
                counted |= found
        scores[~counted] = -1.0  # found only by sources of weight 0, which are not asked
        best = np.argsort(-scores, kind="stable")[:at]
        hits = self.relevant[best] & counted[best]
        if measure == "recall":
            return float(hits.sum()) / self.wanted
        return 1.0 / (1 + int(hits.argmax())) if hits.any() else 0.0


def _check(
    lists: Sequence[Mapping[str, Sequence[Ranked]]],
    relevant: Sequence[Collection[str]],
    start: Mapping[str, float],
    folds: int,
    grid: Sequence[float],
) -> None:
    if len(lists) != len(relevant):
        raise ConfigError(f"{len(lists)} queries have {len(relevant)} sets of relevant texts")
    if not 2 <= folds <= len(lists):
        raise ConfigError(
            f"{len(lists)} queries cannot be parted into {folds} folds",
            hint="Give at least 2 folds, and a query for each",
        )
    if empty := [place for place, wanted in enumerate(relevant) if not wanted]:
        raise ConfigError(f"Nothing is relevant for query {empty[0]}", hint="Leave it out")
    if not any(start.values()) or not any(grid):
        raise ConfigError("No weight to fit is above 0")
    if any(not 0 <= weight < float("inf") for weight in (*start.values(), *grid)):
        raise ConfigError("A weight to fit is below 0 or not finite")
