"""What the strategy memory takes and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from typing_extensions import TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Source = Literal["feedback", "verifier", "confidence"]
"""Who says what an answer was worth."""

STRENGTH: Final[Mapping[str, int]] = {"confidence": 1, "verifier": 2, "feedback": 3}
"""A score is replaced by one of at least its own strength, never by a weaker one."""


OUTSIDE: Final = frozenset(
    {"ModelUnavailable", "ModelRejected", "KnowledgeUnavailable", "ConfigError"}
)
"""Errors that say nothing of the strategy that met them."""


def failed_of_itself(status: str, error: str) -> bool:
    """Whether an attempt with this status, and this type of error, failed by its own fault."""
    return status == "failed" and error not in OUTSIDE


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt of a run; its place in ``Run.trials`` is its position."""

    strategy: str
    propensity: float
    """With which probability (0 to 1) the policy would choose this strategy."""
    status: Literal["ok", "abstained", "failed"] = "ok"
    template: str = ""
    forced: bool = False
    """Whether the caller, and not the policy, chose it."""
    allowed: tuple[str, ...] = ()
    """What the policy could choose between."""
    features: tuple[float, ...] = ()
    """What it chose by, [F]; empty when it looked at nothing."""
    features_version: str = ""
    answer: str = ""
    confidence: float | None = None
    calibrated: float | None = None
    """The confidence as a probability; None while nothing was fitted."""
    signals: Mapping[str, object] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 0
    seconds: float = 0.0
    accepted: bool = False
    """Whether its answer was the run's."""
    model: str = ""
    error: str = ""
    """The type of what it failed with."""
    sop: str = ""
    """The procedure that it followed, as NAME@VERSION."""

    @property
    def is_at_fault(self) -> bool:
        """Whether it gave no answer for a reason of its own, and not of a server or a setting."""
        return failed_of_itself(self.status, self.error)


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the reason graph ends it. Nobody has scored it yet.

    ``strategy``, ``propensity`` and ``answer`` are those of the attempt whose answer was used, the
    costs those of the whole run. Without ``trials`` that attempt was the only one.
    """

    run_id: str
    question: str
    strategy: str
    propensity: float
    status: Literal["pending", "failed"] = "pending"
    answer: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 0
    seconds: float = 0.0
    task_type: str = ""
    model: str = ""
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run as the memory keeps it; ``score`` (0 to 1) is None unless ``status`` is scored."""

    run_id: str
    question: str
    strategy: str
    propensity: float
    status: Literal["pending", "scored", "failed"]
    answer: str
    tokens_in: int
    tokens_out: int
    calls: int
    seconds: float
    created: float
    """Seconds since 1970."""
    score: float | None
    source: Source | None
    """Who scored it."""
    task_type: str
    model: str
    """Whose answers they were; empty when that was not recorded."""
    strategies: tuple[str, ...]
    """Every strategy that was tried, in order."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt turned out to be worth, as the log of outcomes has it."""

    seq: int
    """Its place in the log: later outcomes have larger ones."""
    run_id: str
    position: int
    strategy: str
    features: NDArray[np.float32]
    """[F]"""
    score: float
    """0 (wrong) to 1 (right)."""
    weight: float
    """How much it counts, 0 to 1."""
    tokens: int
    """What the attempt cost, prompts included."""
    at: float
    """Seconds since 1970."""
    replaces: bool
    """Whether an earlier outcome of the same attempt no longer counts."""
    source: Source
    task_type: str
    propensity: float
    forced: bool
    allowed: tuple[str, ...]


class SimilarRun(TypedDict):
    """A scored earlier run on a similar question; ``similarity`` is the cosine (.5 to 1)."""

    run_id: str
    question: str
    strategy: str
    score: float
    similarity: float


class Posterior(TypedDict):
    """What the strategy memory believes of one strategy for a question: Beta(alpha, beta)."""

    strategy: str
    alpha: float
    beta: float
    mean: float
    runs: int
    """How many scored attempts it rests on."""


class MeasuredCost(TypedDict):
    """What attempts with a strategy cost: tokens, their standard deviation, and seconds."""

    mean: float
    spread: float
    runs: int
    seconds: float


class RecalledSequence(TypedDict):
    """Strategies to try one after the other, and what is known of it on similar tasks."""

    strategies: list[str]
    similarity: float
    """Mean cosine of the tasks it was measured on (0 to 1)."""
    success: float
    """Expected score (0 to 1), shrunk towards the average where little is known."""
    runs: int
    """Scored runs it rests on."""
    tokens: float
    """What such a run costs on average."""
    composed: bool
    """Put together from pieces: the sequence as a whole was perhaps never tried."""


class TemplateRecord(TypedDict):
    """How a reasoning template did on one type of task: Beta(alpha, beta)."""

    alpha: float
    beta: float
    uses: int
    """Scored attempts with it."""
    score: float
    """The sum of their scores."""


class Judged(NamedTuple):
    """An answer that a person or a verifier has judged, for the calibration of confidence."""

    strategy: str
    signals: dict[str, float | None]
    score: float
    run_id: str
    question: str
    source: Source


class Point(NamedTuple):
    """One attempt, for tables and plots over time."""

    strategy: str
    task_type: str
    created: float
    """Seconds since 1970."""
    status: str
    score: float | None
    weight: float
    source: Source | None
    tokens: int
    seconds: float
    calls: int


class TaskCluster(TypedDict):
    """A kind of task, found by the similarity of questions."""

    cluster: int
    tasks: int
    example: str
    """The question that it began with."""
