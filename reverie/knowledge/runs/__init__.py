"""Runs on disk: which there are, who works on them, and every model call they began."""

from reverie.knowledge.runs.journal import Call, CallJournal, Charge
from reverie.knowledge.runs.registry import RunRegistry
from reverie.knowledge.runs.run import RunRecord, RunStatus
from reverie.knowledge.runs.store import RunStore, open_runs

__all__ = [
    "Call",
    "CallJournal",
    "Charge",
    "RunRecord",
    "RunRegistry",
    "RunStatus",
    "RunStore",
    "open_runs",
]
