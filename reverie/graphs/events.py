"""The typed event stream of a run: the same for Python, the command line and every server.

Nodes write these through the graph's stream writer; ``Reasoner.astream`` yields them. Every event
is a plain JSON object whose ``type`` tells which one it is.
"""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from reverie.graphs.call_record import CallRecord
from reverie.graphs.records import (
    Answer,
    Choice,
    Cost,
    Dream,
    Fact,
    Form,
    Memories,
    Sample,
    SubAnswer,
    ToolUse,
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
    """``label`` is what the branch is to a person: ``causal``, ``sample 3``, ``skeptic``."""

    type: Literal["branch_started"]
    branch: int
    label: str


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


class Called(TypedDict):
    """A model call has ended: what was asked, what came, and what it cost."""

    type: Literal["called"]
    call: CallRecord


class BranchFinished(TypedDict):
    """How a branch ended: a dream, or a sample."""

    type: Literal["branch_finished"]
    branch: int
    label: str
    outcome: Dream | Sample


class ToolCalled(TypedDict):
    type: Literal["tool_called"]
    tool: str
    arguments: dict[str, Any]


class ToolReturned(TypedDict):
    type: Literal["tool_returned"]
    use: ToolUse


class SubAnswered(TypedDict):
    type: Literal["sub_answered"]
    sub: SubAnswer


class Waiting(TypedDict):
    """The run waits for a person. ``form`` says what is asked and what a reply may hold."""

    type: Literal["waiting"]
    run_id: str
    form: Form


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
    | Called
    | BranchFinished
    | ToolCalled
    | ToolReturned
    | SubAnswered
    | Waiting
    | VerdictReached
    | Assessed
    | BudgetSpent
    | Answered
    | Notice
)
