"""The state of a procedure that is being followed."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from reverie.graphs.records import Form, Signals, SopStepResult, ToolUse
from reverie.graphs.state import StrategyState


class SopFailure(TypedDict):
    """Why a procedure could not be followed to its end."""

    kind: str
    message: str
    hint: str
    abstained: bool
    """It does not apply: nothing has failed."""


class SopState(StrategyState):
    """What a procedure's graph carries from step to step."""

    results: NotRequired[list[SopStepResult]]
    """Of the steps so far, in order."""
    draft: NotRequired[str]
    """What the step in hand came to, before its checks."""
    tries: NotRequired[int]
    """How often the step in hand was done."""
    problem: NotRequired[str]
    """Why its last result was no good; empty: nothing is wrong."""
    signals: NotRequired[Signals]
    """How sure the model was of the last thing that it wrote."""
    uses: NotRequired[list[ToolUse]]
    arguments: NotRequired[dict[str, Any]]
    """Of the tool call in hand."""
    form: NotRequired[Form | None]
    """What a person is asked about it; None: nobody is."""
    asked: NotRequired[int]
    """How often."""
    failure: NotRequired[SopFailure | None]
