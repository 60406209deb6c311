"""The records that graph state, events and results are made of.

Everything here is plain JSON (strings, numbers, lists, objects), so that it survives any
checkpointer and is readable in Studio. Records that come from a branch carry its id.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from reverie.knowledge.strategies import Posterior, SimilarRun

Expert = Literal["spatial", "temporal", "causal", "abstract"]
EXPERTS: tuple[Expert, ...] = ("spatial", "temporal", "causal", "abstract")


class Fact(TypedDict):
    """A triplet from the graph store, with its cosine similarity to the question (-1 to 1)."""

    id: str
    what: str
    action: str
    result: str
    similarity: float
    source: str


class DreamTriplet(TypedDict):
    """One causal step of a dream: ``fact`` when it was chosen from the store, else ``dreamed``."""

    what: str
    action: str
    result: str
    origin: Literal["fact", "dreamed"]


class BackendUse(TypedDict):
    """What one backend did: the calls that it answered, and why it was passed over in others."""

    name: str
    calls: int
    tokens_in: int
    tokens_out: int
    passed_over: list[str]
    """Each reason once; empty when it answered whenever it was its turn."""


class Usage(TypedDict):
    """What one or more model calls cost. ``estimated``: some server did not report its usage."""

    tokens_in: int
    tokens_out: int
    calls: int
    seconds: float
    estimated: bool
    backends: list[BackendUse]
    """Who answered, and who was passed over. A call that failed is nobody's here."""


class Dream(TypedDict):
    """One hypothetical branch. A failed one keeps its error and has no answer."""

    branch: int
    expert: Expert
    status: Literal["ok", "failed"]
    answer: str
    triplets: list[DreamTriplet]
    confidence: float | None
    """Mean probability of the answer's tokens, geometric (0 to 1); None if the model gave none."""
    usage: Usage
    error: str


class CandidateScores(TypedDict):
    """One dream's scores (0 to 1). None: that scorer had nothing to judge by."""

    branch: int
    expert: Expert
    scores: dict[str, float | None]
    total: float


class Verdict(TypedDict):
    """What arbitration returns; keeps every number it was reached by."""

    winner: int | None
    """The winning branch; None when arbitration abstained."""
    candidates: list[CandidateScores]
    weights: dict[str, float]
    dissent: list[int]
    """Branches whose answer says something else than the winner's."""
    abstained: bool
    why: str


class Attempt(TypedDict):
    """What a strategy returns."""

    strategy: str
    status: Literal["ok", "abstained", "failed"]
    answer: str
    confidence: float | None
    evidence: list[Fact]
    dreams: list[Dream]
    verdict: Verdict | None
    error: str
    """Why it failed or abstained; empty otherwise."""
    error_type: str
    hint: str


class Memories(TypedDict):
    """What the strategy memory knows about questions like this one."""

    similar: list[SimilarRun]
    posteriors: list[Posterior]


class Choice(TypedDict):
    """Which strategy was selected, why, and with which probability the policy would pick it."""

    strategy: str
    why: str
    propensity: float
    posterior: list[Posterior]


class Limits(TypedDict):
    """A run's limits, as numbers."""

    tokens: int
    seconds: float
    calls: int


class Cost(TypedDict):
    """What a run has spent and what is left of its limits."""

    spent: Usage
    elapsed: float
    """Wall-clock seconds since the run began."""
    limits: Limits
    left: Limits


class Answer(TypedDict):
    """The end of a run."""

    status: Literal["answered", "abstained"]
    text: str
    strategy: str
    confidence: float | None
    calibrated: bool
    """False until confidence was fitted to outcomes: then it is a score, not a probability."""
    stopped: str
    """Why the run ended early (out of tokens, seconds or calls); empty when it did not."""
