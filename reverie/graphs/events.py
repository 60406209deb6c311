"""The typed event stream of a run: the same for Python, the command line and every server.

Nodes write these through the graph's stream writer; ``Reasoner.astream`` yields them. Every event
is a plain JSON object whose ``type`` tells which one it is.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from reverie.graphs.records import (
    Answer,
    Choice,
    Cost,
    Dream,
    Expert,
    Fact,
    Memories,
    Verdict,
)


class RunStarted(TypedDict):
    type: Literal["run_started"]
    run_id: str
    question: str
    model: str


class Recalled(TypedDict):
    """What the strategy memory knows about questions like this one."""

    type: Literal["recalled"]
    memories: Memories


class StrategyChosen(TypedDict):
    type: Literal["strategy"]
    choice: Choice


class Grounded(TypedDict):
    type: Literal["grounded"]
    facts: list[Fact]
    note: str


class BranchStarted(TypedDict):
    type: Literal["branch_started"]
    branch: int
    expert: Expert


class Token(TypedDict):
    """A piece of text as the model writes it. ``branch`` is None outside a fan-out."""

    type: Literal["token"]
    branch: int | None
    text: str


class TakenBack(TypedDict):
    """The call that wrote the last ``characters`` of a text broke off; it begins again."""

    type: Literal["taken_back"]
    branch: int | None
    characters: int
    why: str


class BranchFinished(TypedDict):
    type: Literal["branch_finished"]
    branch: int
    dream: Dream


class VerdictReached(TypedDict):
    type: Literal["verdict"]
    verdict: Verdict


class Assessed(TypedDict):
    """Whether the attempt was accepted, and what comes next if it was not."""

    type: Literal["assessed"]
    accepted: bool
    why: str


class BudgetSpent(TypedDict):
    type: Literal["budget"]
    cost: Cost


class Answered(TypedDict):
    type: Literal["answer"]
    answer: Answer


class Notice(TypedDict):
    """Something a person should know that is neither a result nor an error."""

    type: Literal["notice"]
    text: str


Event = (
    RunStarted
    | Recalled
    | StrategyChosen
    | Grounded
    | BranchStarted
    | Token
    | TakenBack
    | BranchFinished
    | VerdictReached
    | Assessed
    | BudgetSpent
    | Answered
    | Notice
)
