"""The records that graph state, events and results are made of.

Everything here is plain JSON (strings, numbers, lists, objects), so that it survives any
checkpointer and is readable in Studio. Records that come from a branch carry its id.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from reverie.knowledge.strategies import MeasuredCost, RecalledSequence, SimilarRun

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
    money: float
    """In the currency of the configured prices; 0 without any."""
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


class Sample(TypedDict):
    """One of several answers that a strategy weighs. A failed one keeps its error."""

    branch: int
    label: str
    """What it is to a person: ``sample 3``, ``skeptic``."""
    status: Literal["ok", "failed"]
    answer: str
    confidence: float | None
    """As a dream's."""
    score: float | None
    """What a verifier gave it (0 to 1); None when none judged."""
    usage: Usage
    error: str


class ToolUse(TypedDict):
    """One call of a tool. ``error`` is empty when it worked; then ``result`` is what it said."""

    tool: str
    arguments: dict[str, Any]
    result: str
    error: str


class SubAnswer(TypedDict):
    """A part of a question that was asked by itself, and its answer."""

    question: str
    answer: str
    confidence: float | None


class SopStepResult(TypedDict):
    """How one step of a procedure went."""

    step: int
    """From 1."""
    action: str
    status: Literal["done", "skipped", "failed"]
    result: str
    """What came of it; of a step that was skipped or failed, why."""
    confidence: float | None
    tries: int


class SopUse(TypedDict):
    """The procedure that an attempt followed, and how far it came."""

    name: str
    version: str
    steps: list[SopStepResult]


class Signals(TypedDict):
    """What speaks for an answer, each from 0 to 1; None where there is nothing to judge by."""

    mean: float | None
    """Geometric mean probability of the answer's tokens."""
    weakest: float | None
    """The lowest such mean over a few tokens in a row."""
    agreement: float | None
    """The weighted share of samples that say the same."""
    verifier: float | None


class CandidateScores(TypedDict):
    """One candidate's scores (0 to 1). None: that scorer had nothing to judge by."""

    branch: int
    label: str
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
    """0 to 1: a probability when ``calibrated``, else a score of the model's own."""
    calibrated: bool
    signals: Signals
    evidence: list[Fact]
    dreams: list[Dream]
    samples: list[Sample]
    tools: list[ToolUse]
    subanswers: list[SubAnswer]
    verdict: Verdict | None
    sop: NotRequired[SopUse | None]
    """The procedure that it followed; missing or None: none."""
    template: str
    """The reasoning template that was added to its prompts; empty: none."""
    usage: Usage
    error: str
    """Why it failed or abstained; empty otherwise."""
    error_type: str
    hint: str


def sop_key(attempt: Attempt) -> str:
    """The procedure that an attempt followed, as NAME@VERSION; empty: none."""
    use = attempt.get("sop")
    return f"{use['name']}@{use['version']}" if use else ""


class Belief(TypedDict):
    """What is believed of one strategy's reward, its score minus the price of its tokens, for a
    question.
    """

    strategy: str
    mean: float
    sd: float
    """The standard deviation of the mean, not of single rewards."""
    runs: int
    """How many scored attempts it rests on."""


class Memories(TypedDict):
    """What the strategy memory knows about questions like this one."""

    similar: list[SimilarRun]
    posteriors: list[Belief]
    sequences: list[RecalledSequence]
    costs: dict[str, MeasuredCost]
    """Of the strategies that were tried before."""
    task_type: str


class Choice(TypedDict):
    """Which strategy was selected, why, and with which probability the policy would pick it."""

    strategy: str
    why: str
    propensity: float
    error: float
    """The standard error of ``propensity``, which is estimated by sampling; 0: it is exact."""
    entropy: float
    """Of the first choices that the policy could have drawn: 0 certain, 1 uniform."""
    forced: bool
    """It was asked for, or assessing the last attempt asked for it: nothing was drawn."""
    posterior: list[Belief]
    candidates: list[str]
    """What could have been chosen."""
    sequence: list[str]
    """The whole plan, from the first strategy of the run on."""
    propensities: list[float]
    """Of each strategy of ``sequence``, given those before it."""
    features: list[float]
    """[F], what the policy saw of the question."""
    features_version: str
    task_type: str
    template: str
    """A reasoning template to add to its prompts; empty: none."""
    scope: str
    """The reservation that pays for the attempt."""
    tokens: int
    """How much of the budget the attempt was given."""


class Planned(TypedDict):
    """What assessing an attempt wants tried next, instead of a choice."""

    strategy: str
    template: str
    """A reasoning template to add to its prompts; empty: none."""
    why: str


class Limits(TypedDict):
    """A run's limits, as numbers."""

    tokens: int
    seconds: float
    calls: int
    money: float | None
    """None: no limit, or no prices to reckon with."""


class Cost(TypedDict):
    """What a run has spent and what is left of its limits."""

    spent: Usage
    elapsed: float
    """Wall-clock seconds since the run began."""
    limits: Limits
    left: Limits


class Form(TypedDict):
    """What a person is asked while a run waits."""

    name: Literal["approve_tool", "abstained"]
    question: str
    """In words."""
    about: dict[str, Any]
    """What it is about: the tool and its arguments, or the candidates that were not good enough."""
    reply_schema: dict[str, Any]
    """The JSON schema of a reply."""


class Answer(TypedDict):
    """The end of a run."""

    status: Literal["answered", "abstained"]
    text: str
    output: Any
    """The answer as the JSON document that was asked for; None when none was."""
    strategy: str
    confidence: float | None
    calibrated: bool
    """False until confidence was fitted to outcomes: then it is a score, not a probability."""
    stopped: str
    """Why the run ended early (out of tokens, seconds or calls); empty when it did not."""
