"""A run as the registry keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

RunStatus = Literal["running", "waiting", "finished", "abstained", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. Times are seconds since 1970."""

    run_id: str
    question: str
    context: dict[str, Any]
    """The settings it was started with, as JSON: the graph's Context."""
    status: RunStatus
    """``interrupted``: nobody works on it any more, and it has not come to its end."""
    durability: str
    resumable: bool
    version: str
    """The version of Reverie that began it."""
    state_schema: int
    """The number of the state schema that its checkpoints have."""
    created: float
    updated: float
    """When it was last worked on: the end of its clock while it stands still."""
    paused: float = 0.0
    """Seconds since its clock began in which nobody worked on it."""
    strategy: str = ""
    answer: str = ""
    tokens: int = 0
    calls: int = 0
    error: dict[str, str] | None = None
    """As ``ReverieError.document`` gives it."""
    result: dict[str, Any] | None = None
    """The whole result, once there is one."""
    form: dict[str, Any] | None = None
    """What a person is asked, while it waits."""
    parent: str = ""
    """The run it was forked from, and behind an @ the checkpoint; empty: none."""
    pruned: bool = False
    """Its checkpoints were deleted."""
    worker: str = ""
    """The process that works on it now, in words; empty: none."""
