"""What the recorded attempts say in numbers: costs, templates, judged answers, the log of outcomes.

Each function is one question to the file.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from reverie.knowledge.strategies.records import (
    Judged,
    MeasuredCost,
    Outcome,
    Point,
    TaskCluster,
    TemplateRecord,
)

if TYPE_CHECKING:
    from reverie.knowledge.sops.records import Used

LATEST: Final = 200
"""Attempts of a strategy that its cost is measured on."""
MOST_JUDGED: Final = 5000
"""Judged answers that are handed out for calibration, latest first."""

_NOT_CARRIED_THROUGH: Final = ("OutputInvalid", "ToolFailed")
"""What a procedure fails with whose step failed, and not the server, the settings or the budget."""


def read_outcomes(
    connection: sqlite3.Connection, after: int, features_version: str, *, in_force: bool
) -> list[Outcome]:
    """The log behind ``after``; with ``in_force`` without what was replaced since."""
    import numpy as np

    rows = connection.execute(
        "SELECT o.seq, o.run_id, o.position, t.strategy, t.features, o.score, o.weight, "
        "t.tokens_in + t.tokens_out, o.at, o.replaces, o.source, r.task_type, t.propensity, "
        "t.forced, t.allowed FROM outcomes o "
        "JOIN trials t ON t.run_id = o.run_id AND t.position = o.position "
        "JOIN runs r ON r.run_id = o.run_id "
        "WHERE o.seq > ? AND t.features_version = ? AND (NOT ? OR t.seq = o.seq) ORDER BY o.seq",
        (after, features_version, in_force),
    )
    return [
        Outcome(
            seq=row[0],
            run_id=row[1],
            position=row[2],
            strategy=row[3],
            features=np.frombuffer(row[4], dtype="<f4").astype(np.float32),
            score=row[5],
            weight=row[6],
            tokens=row[7],
            at=row[8],
            replaces=bool(row[9]),
            source=row[10],
            task_type=row[11],
            propensity=row[12],
            forced=bool(row[13]),
            allowed=tuple(json.loads(row[14])),
        )
        for row in rows
    ]


def read_costs(
    connection: sqlite3.Connection, strategies: Sequence[str]
) -> dict[str, MeasuredCost]:
    """What the latest attempts cost that called a model at all."""
    costs: dict[str, MeasuredCost] = {}
    for name in strategies:
        runs, mean, square, seconds = connection.execute(
            "SELECT count(*), avg(tokens), avg(tokens * tokens), avg(seconds) FROM ("
            "SELECT CAST(tokens_in + tokens_out AS REAL) AS tokens, seconds FROM trials "
            "WHERE strategy = ? AND calls > 0 ORDER BY created DESC LIMIT ?)",
            (name, LATEST),
        ).fetchone()
        if runs:
            spread = math.sqrt(max(0.0, square - mean * mean))
            costs[name] = MeasuredCost(mean=mean, spread=spread, runs=runs, seconds=seconds)
    return costs


def read_templates(
    connection: sqlite3.Connection, task_type: str, memory: int
) -> dict[str, TemplateRecord]:
    """How templates did on tasks of one type, the empty name being none; fading like all else."""
    rows = connection.execute(
        "SELECT t.template, t.score, t.weight, (SELECT max(seq) FROM trials) - t.seq "
        "FROM trials t JOIN runs r ON r.run_id = t.run_id "
        "WHERE t.score IS NOT NULL AND r.task_type = ? ORDER BY t.seq",
        (task_type,),
    )
    templates: dict[str, TemplateRecord] = {}
    for name, score, weight, age in rows:
        record = templates.setdefault(name, TemplateRecord(alpha=1.0, beta=1.0, uses=0, score=0.0))
        counts = weight * math.exp(-age / memory)
        record["alpha"] += counts * score
        record["beta"] += counts * (1.0 - score)
        record["uses"] += 1
        record["score"] += score
    return templates


def read_sops(connection: sqlite3.Connection) -> list[Used]:
    """Every attempt that followed a procedure, oldest first."""
    from reverie.knowledge.sops.records import Used

    rows = connection.execute(
        "SELECT t.sop, r.task_type, t.score, coalesce(t.weight, 0.0), "
        "coalesce((SELECT max(seq) FROM trials) - t.seq, 0), t.created, t.status, t.error "
        "FROM trials t JOIN runs r ON r.run_id = t.run_id WHERE t.sop <> '' "
        "ORDER BY t.created, t.run_id, t.position"
    )
    return [
        Used(
            *(key, task_type, score, weight, age, at),
            status == "failed" and error in _NOT_CARRIED_THROUGH,
        )
        for key, task_type, score, weight, age, at, status, error in rows
    ]


def read_judged(connection: sqlite3.Connection, model: str) -> list[Judged]:
    """Answers that a person or a verifier judged, newest first; those of ``model``, or of all."""
    rows = connection.execute(
        "SELECT t.strategy, t.signals, t.score, t.run_id, r.question, t.source FROM trials t "
        "JOIN runs r ON r.run_id = t.run_id WHERE t.source IN ('feedback', 'verifier') "
        "AND t.status = 'ok' AND (? = '' OR t.model = ?1) ORDER BY t.seq DESC LIMIT ?",
        (model, MOST_JUDGED),
    )
    return [Judged(row[0], json.loads(row[1]), *row[2:]) for row in rows]


def read_points(connection: sqlite3.Connection) -> list[Point]:
    """Every attempt, oldest first."""
    rows = connection.execute(
        "SELECT t.strategy, r.task_type, t.created, t.status, t.score, coalesce(t.weight, 0.0), "
        "t.source, t.tokens_in + t.tokens_out, t.seconds, t.calls "
        "FROM trials t JOIN runs r ON r.run_id = t.run_id "
        "ORDER BY t.created, t.run_id, t.position"
    )
    return [Point(*row) for row in rows]


def count_pending(connection: sqlite3.Connection) -> int:
    """Attempts with an answer that nothing has scored."""
    (number,) = connection.execute(
        "SELECT count(*) FROM trials WHERE score IS NULL AND status = 'ok'"
    ).fetchone()
    return int(number)


def read_clusters(connection: sqlite3.Connection, embedder: str) -> list[TaskCluster]:
    """The kinds of tasks, the most frequent first."""
    rows = connection.execute(
        "SELECT id, tasks, example FROM clusters WHERE embedder = ? ORDER BY tasks DESC, id",
        (embedder,),
    )
    return [TaskCluster(cluster=row[0], tasks=row[1], example=row[2]) for row in rows]
