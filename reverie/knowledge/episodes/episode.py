"""One memory, and how much of it is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SECONDS_PER_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Occasion:
    """A time at which something was learnt, and where from. Seconds since 1970."""

    at: float
    source: str = ""


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that was learnt: a note, an answered question."""

    id: str
    text: str
    kind: str
    """Free words: "note", "run"."""
    importance: float
    """0 to 1."""
    learned: float
    """When it was first learnt, in seconds since 1970."""
    reinforced: float
    """When it was last learnt again or made use of."""
    uses: int = 0
    """How often it was made use of."""
    occasions: Sequence[Occasion] = ()
    """Every time that it was learnt, oldest first."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory that was found."""

    episode: Episode
    similarity: float
    """Cosine of its text to what was asked (-1 to 1)."""
    strength: float
    score: float
    """By which memories are ordered: ``similarity * (1 + strength) / 2``."""


def strength(episode: Episode, *, now: float, half_life_days: float) -> float:
    """What is left of a memory's importance: it halves with every half-life since it was last
    learnt or used (exponential forgetting, Ebbinghaus 1885, as in Park et al. 2023, section 4.1).
    """
    days = max(0.0, now - episode.reinforced) / SECONDS_PER_DAY
    return float(episode.importance * 2.0 ** (-days / half_life_days))


def score_of(similarity: float, strength_left: float) -> float:
    """A memory that has faded away counts half of what it did when it was fresh and important."""
    return similarity * (1.0 + strength_left) / 2.0
