"""Finding recorded runs by their id or the beginning of it."""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from reverie.errors import ConfigError
from reverie.knowledge.strategies.records import RecordedRun

_PREFIX = 4
"""Characters of a run id that suffice to name it, when no other run begins with them."""

_RECORDED: Final = (
    "SELECT run_id, question, strategy, propensity, "
    "CASE WHEN score IS NULL THEN status ELSE 'scored' END, "
    "answer, tokens_in, tokens_out, calls, seconds, created, score, source, task_type, model, "
    "(SELECT json_group_array(strategy) FROM (SELECT strategy FROM trials t "
    "WHERE t.run_id = runs.run_id ORDER BY position)) FROM runs "
)


def resolve(connection: sqlite3.Connection, run_id: str) -> str:
    """The full id that ``run_id`` names. Raises ``ConfigError`` when it names none or several."""
    wanted = run_id.strip()
    if _first(connection, "SELECT run_id FROM runs WHERE run_id = ?", wanted):
        return wanted
    if len(wanted) >= _PREFIX:
        # substr, not LIKE: an id may hold % or _.
        starting = _first(
            connection,
            "SELECT run_id FROM runs WHERE substr(run_id, 1, length(?1)) = ?1 "
            "ORDER BY created DESC, rowid DESC LIMIT 6",
            wanted,
        )
        if len(starting) == 1:
            return str(starting[0])
        if starting:
            raise ConfigError(
                f"several runs begin with {wanted!r}: {', '.join(starting)}",
                hint="give more of the id",
            )
    recent = _first(
        connection, "SELECT run_id FROM runs ORDER BY created DESC, rowid DESC LIMIT 200"
    )
    if not recent:
        raise ConfigError(
            f"there is no run {wanted!r}: no run is recorded here yet",
            hint="ask a question first; its run id is in the answer",
        )
    close = difflib.get_close_matches(wanted, recent, n=3)
    named = f"did you mean {' or '.join(close)}?" if close else f"latest: {', '.join(recent[:3])}"
    raise ConfigError(f"there is no run {wanted!r}", hint=named)


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


def _first(connection: sqlite3.Connection, query: str, *values: Any) -> list[str]:
    return [row[0] for row in connection.execute(query, values)]
