"""Which procedure fits a task: words that call for it, meaning, measured success, priority.

score = 0.4 trigger + 0.4 similarity + 0.15 success + 0.05 priority, each from 0 to 1. Success and
priority alone stay far below ``MINIMUM``: a procedure that has nothing to do with the task is never
taken for being good at something else. The numbers were chosen on the sixty tasks of
``tests/live/test_sop.py``, so that no wrong procedure is taken there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from reverie.knowledge.sops.records import Match, Parts, SopRecord, StoredSop
from reverie.knowledge.sops.statistics import SopStatistics
from reverie.knowledge.sops.trigger import triggers_in

WEIGHTS: Final[Mapping[str, float]] = {
    "trigger": 0.4,
    "similarity": 0.4,
    "success": 0.15,
    "priority": 0.05,
}
MINIMUM: Final = 0.4
"""Least score of a procedure that is taken."""

UNRELATED: Final = 0.1
ALIKE: Final = 0.4
"""Cosines between a task and a procedure's text that count as 0 and as 1. A task is short, and its
words are not those of the procedure: with MiniLM, those that belong together mostly lie above .25,
and others below .15.
"""

_UNMATCHED: Final = 0.35
"""What each trigger that the task has leaves of the doubt: one counts .65, two .88, three .96."""


def matches(
    task: str,
    stored: Sequence[StoredSop],
    similarity: Mapping[str, float],
    statistics: SopStatistics,
    task_type: str,
) -> list[Match]:
    """How well each procedure fits ``task``, best first: those that may be taken before the others.

    ``similarity`` is the cosine between the task and each, by key; one that is not there has 0.
    """
    found = [
        _match(task, one, similarity.get(one.key, 0.0), statistics, task_type) for one in stored
    ]
    return sorted(found, key=lambda m: (bool(m.why_not), -m.score, m.stored.name))


def _match(
    task: str, stored: StoredSop, cosine: float, statistics: SopStatistics, task_type: str
) -> Match:
    triggers = triggers_in(task, stored.sop.trigger)
    record = statistics.record(stored.key, task_type)
    parts = Parts(
        trigger=1.0 - _UNMATCHED ** len(triggers),
        similarity=max(0.0, min(1.0, (cosine - UNRELATED) / (ALIKE - UNRELATED))),
        success=record["mean"],
        priority=stored.sop.priority / 10,
    )
    score = sum(
        WEIGHTS[name] * value
        for name, value in (
            ("trigger", parts["trigger"]),
            ("similarity", parts["similarity"]),
            ("success", parts["success"]),
            ("priority", parts["priority"]),
        )
    )
    return Match(stored, score, parts, triggers, record, _why_not(score, record))


def _why_not(score: float, record: SopRecord) -> str:
    if record["state"] == "demoted":
        return "demoted: it failed too often"
    if score < MINIMUM:
        return f"its score is below {MINIMUM:g}"
    return ""
