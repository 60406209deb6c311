"""The typed, serialisable state of the reason graph, its strategies and their branches.

Keys that parallel branches write have a reducer that merges by id, so that the order in which
branches finish does not matter and nothing counts twice when a subgraph hands back what it got.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

from typing_extensions import TypedDict

from reverie.graphs.budget import Entry, merge_entries
from reverie.graphs.records import (
    Answer,
    Attempt,
    Choice,
    Dream,
    Expert,
    Fact,
    Memories,
    Planned,
    Verdict,
)


def merge_dreams(left: Sequence[Dream], right: Sequence[Dream]) -> list[Dream]:
    """Dreams by branch, a later record of a branch in place of an earlier one."""
    dreams = {dream["branch"]: dream for dream in (*left, *right)}
    return [dreams[branch] for branch in sorted(dreams)]


def merge_notices(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """Both lists, each text once."""
    return list(dict.fromkeys((*left, *right)))


class InputState(TypedDict):
    """What a run starts from."""

    question: str
    run_id: NotRequired[str]
    """Empty or missing: one is made up."""


class RunState(TypedDict):
    """What every graph of a run shares."""

    question: str
    run_id: str
    started: float
    """Unix time in seconds."""
    ledger: Annotated[list[Entry], merge_entries]
    notices: Annotated[list[str], merge_notices]


class ReasonState(RunState):
    """The reason graph's own state."""

    memories: Memories
    choice: Choice
    choices: NotRequired[list[Choice]]
    """One for every attempt, in order."""
    attempt: Attempt | None
    """What the last strategy returned; assess moves it to ``attempts``."""
    attempts: list[Attempt]
    planned: NotRequired[Planned | None]
    """What is to be tried next; missing or None: select chooses."""
    output: NotRequired[Any]
    """The answer as the JSON document that was asked for; None: there is none."""
    unshaped: NotRequired[Unshaped | None]
    """Why there is no such document although one was asked for."""
    answer: NotRequired[Answer]


class Unshaped(TypedDict):
    """The error that ended the shaping of an answer."""

    error: str
    error_type: str
    hint: str


class StrategyState(RunState):
    """What a strategy's subgraph takes and returns."""

    scope: NotRequired[str]
    """The reservation that pays for it; missing or empty: the run's whole budget."""
    template: NotRequired[str]
    """The name of a reasoning template to add to its prompts; missing or empty: none."""
    attempts: NotRequired[list[Attempt]]
    """What was tried before in this run, for strategies that build on it."""
    attempt: Attempt


class DreamState(StrategyState):
    """The dream strategy's own state."""

    facts: list[Fact]
    dreams: Annotated[list[Dream], merge_dreams]
    failures: Annotated[list[Failure], operator.add]
    verdict: Verdict


class Failure(TypedDict):
    """The kind of error that ended a dream, and what helps: its record keeps only the message."""

    error_type: str
    hint: str


class BranchState(TypedDict):
    """What one dream is sent."""

    question: str
    run_id: NotRequired[str]
    started: float
    branch: int
    expert: Expert
    facts: list[Fact]
    seed: int
    scope: str
    """The reservation that pays for it."""
    template: str
    """As the strategy's."""
    tokens: int
    """How many tokens were reserved."""
