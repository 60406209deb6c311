"""Reciprocal rank fusion: one list of several, by rank alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reverie.knowledge.search.records import Place, Ranked

RRF_K: Final = 60
"""Cormack, Clarke and Buettcher 2009, who found the value uncritical."""


@dataclass(frozen=True, slots=True)
class Fused:
    """One text of the fused list, and its place in each of the lists that have it."""

    id: str
    score: float
    places: Sequence[Place]


def fuse(
    lists: Mapping[str, Sequence[Ranked]], weights: Mapping[str, float], *, k: float = RRF_K
) -> list[Fused]:
    """Every text of ``lists`` (each best first, by its source's name), best first.

    A text's score is the sum over the lists of weight / (k + rank), ranks from 1. Before ranks are
    given, each list loses its duplicates: the best place stays. A list without a weight has 1, one
    of weight 0 is left out. Equal scores are ordered by the best rank, then by id, so the same
    lists always give the same order.
    """
    scores: dict[str, float] = {}
    places: dict[str, list[Place]] = {}
    for name, ranked in lists.items():
        weight = weights.get(name, 1.0)
        if not weight:
            continue
        for rank, one in enumerate(distinct(ranked), start=1):
            scores[one.id] = scores.get(one.id, 0.0) + weight / (k + rank)
            places.setdefault(one.id, []).append(Place(name, rank, one.score))
    fused = [Fused(text, score, tuple(places[text])) for text, score in scores.items()]
    return sorted(fused, key=lambda f: (-f.score, min(p.rank for p in f.places), f.id))


def distinct(ranked: Sequence[Ranked]) -> list[Ranked]:
    """``ranked`` with each text once, at its best place."""
    best: dict[str, Ranked] = {}
    for one in ranked:
        best.setdefault(one.id, one)
    return list(best.values())
