"""What the book of procedures takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from typing_extensions import TypedDict

from reverie.knowledge.sops.sop import Sop

State = Literal["untried", "tried", "promoted", "demoted"]
"""``demoted``: likely to fail, so it is not matched. ``promoted``: likely to succeed."""


@dataclass(frozen=True, slots=True)
class StoredSop:
    """One version of a procedure."""

    sop: Sop
    number: int
    """Which version of that name it is, from 1."""
    source: str
    """The file that it was read from, or "packaged"."""
    added: float
    """Seconds since 1970."""
    current: bool
    """Whether it is the version in use."""

    @property
    def name(self) -> str:
        return self.sop.name

    @property
    def key(self) -> str:
        return self.sop.key


class Added(NamedTuple):
    """What adding a procedure did."""

    stored: StoredSop
    change: Literal["new", "version", "again", "same"]
    """A new name; a new version; an earlier version, or a removed one, again; nothing."""


class Used(NamedTuple):
    """One attempt with a procedure, from the log of outcomes."""

    key: str
    """Name and version, as ``Sop.key``."""
    task_type: str
    score: float | None
    """0 to 1; None: nobody has scored it."""
    weight: float
    """How much the score counts, 0 to 1."""
    age: int
    """Outcomes since then, of all attempts."""
    at: float
    """When it was made, seconds since 1970."""
    fault: bool
    """It failed of itself: a check did not hold, a step gave nothing."""


class SopRecord(TypedDict):
    """How a version did: Beta(alpha, beta), its mean, and where success lies with 95 %."""

    uses: int
    scored: int
    alpha: float
    beta: float
    mean: float
    low: float
    high: float
    state: State
    trend: list[float]
    """Its last outcomes, oldest first, at most eight."""


class Parts(TypedDict):
    """What a match's score is made of, each from 0 to 1."""

    trigger: float
    similarity: float
    success: float
    priority: float


@dataclass(frozen=True, slots=True)
class Match:
    """How well a procedure fits a task."""

    stored: StoredSop
    score: float
    """0 to 1."""
    parts: Parts
    triggers: tuple[str, ...]
    """Those that the task has."""
    record: SopRecord
    why_not: str
    """Why it is not taken; empty: it may be."""
