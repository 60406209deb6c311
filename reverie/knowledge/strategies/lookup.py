"""Reading recorded runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from reverie.knowledge.strategies.records import RecordedRun

_RECORDED: Final = (
    "SELECT run_id, question, strategy, propensity, "
    "CASE WHEN score IS NULL THEN status ELSE 'scored' END, "
    "answer, tokens_in, tokens_out, calls, seconds, created, score, source, task_type, model, "
    "(SELECT json_group_array(strategy) FROM (SELECT strategy FROM trials t "
    "WHERE t.run_id = runs.run_id ORDER BY position)) FROM runs "
)


def recorded(connection: sqlite3.Connection, run_id: str) -> RecordedRun:
    """The run with this id, which is there."""
    return _run(connection.execute(_RECORDED + "WHERE run_id = ?", (run_id,)).fetchone())


def latest(connection: sqlite3.Connection, limit: int) -> list[RecordedRun]:
    """The latest runs, newest first."""
    rows = connection.execute(
        _RECORDED + "ORDER BY created DESC, rowid DESC LIMIT ?", (max(limit, 0),)
    )
    return [_run(row) for row in rows]


def _run(row: Sequence[Any]) -> RecordedRun:
    values = [*row[:-1], tuple(json.loads(row[-1]))]
    return RecordedRun(*values)
