"""Storing a run with its attempts, in one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reverie.errors import ConfigError
from reverie.knowledge.database import storable
from reverie.knowledge.strategies.clusters import assign, leave
from reverie.knowledge.strategies.records import Run, Trial
from reverie.knowledge.strategies.scoring import Score, append_outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def trials_of(run: Run) -> tuple[Trial, ...]:
    """The run's attempts; one that is made of the run's own fields when it names none.

    Raises ``ConfigError`` for what cannot be a run.
    """
    trials = run.trials or (_only(run),)
    if not run.run_id or not run.strategy or not all(t.strategy for t in trials):
        raise ConfigError("A run needs an id and a strategy")
    for propensity in (run.propensity, *(t.propensity for t in trials)):
        if not 0.0 <= propensity <= 1.0:
            raise ConfigError(f"A propensity is between 0 and 1, not {propensity}")
    return trials


def write_run(
    connection: sqlite3.Connection,
    run: Run,
    trials: Sequence[Trial],
    embedder: str,
    vector: NDArray[np.float32],
) -> None:
    """Stores a run whose question has the unit ``vector`` [D]. Stored again, it is replaced, and
    the scores given meanwhile stay.
    """
    now = time.time()
    known = connection.execute(
        "SELECT embedder, vector, cluster FROM runs WHERE run_id = ?", (run.run_id,)
    ).fetchone()
    blob = vector.tobytes()
    moved = known is None or (known[0], known[1]) != (embedder, blob)
    cluster = None if known is None else known[2]
    if moved:
        leave(connection, cluster)
        cluster = assign(connection, embedder, vector, storable(run.question))
    connection.execute(
        "INSERT INTO runs (run_id, question, embedder, vector, dimension, strategy, propensity, "
        "status, answer, tokens_in, tokens_out, calls, seconds, created, task_type, model, "
        "cluster) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run_id) DO UPDATE SET question = excluded.question, "
        "embedder = excluded.embedder, vector = excluded.vector, "
        "dimension = excluded.dimension, "
        "strategy = excluded.strategy, propensity = excluded.propensity, "
        "status = excluded.status, answer = excluded.answer, "
        "tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out, "
        "calls = excluded.calls, seconds = excluded.seconds, "
        "task_type = excluded.task_type, model = excluded.model, cluster = excluded.cluster",
        (
            *(run.run_id, storable(run.question), embedder, blob, len(vector)),
            *(run.strategy, run.propensity, run.status, storable(run.answer)),
            *(run.tokens_in, run.tokens_out, run.calls, run.seconds, now),
            *(run.task_type, run.model, cluster),
        ),
    )
    for position, trial in enumerate(trials):
        _write_trial(connection, run.run_id, position, trial, now, moved=moved)
    # What nobody scored goes; what was scored has taught already.
    connection.execute(
        "DELETE FROM trials WHERE run_id = ? AND position >= ? AND seq IS NULL",
        (run.run_id, len(trials)),
    )


def _write_trial(
    connection: sqlite3.Connection,
    run_id: str,
    position: int,
    trial: Trial,
    now: float,
    *,
    moved: bool,
) -> None:
    import numpy as np

    features = np.asarray(trial.features, dtype="<f4").tobytes()
    known = connection.execute(
        "SELECT strategy, features, features_version, score, source, weight FROM trials "
        "WHERE run_id = ? AND position = ?",
        (run_id, position),
    ).fetchone()
    connection.execute(
        "INSERT INTO trials (run_id, position, strategy, template, propensity, forced, allowed, "
        "features, features_version, status, answer, confidence, calibrated, signals, tokens_in, "
        "tokens_out, calls, seconds, accepted, model, error, sop, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run_id, position) DO UPDATE SET strategy = excluded.strategy, "
        "template = excluded.template, propensity = excluded.propensity, "
        "forced = excluded.forced, allowed = excluded.allowed, features = excluded.features, "
        "features_version = excluded.features_version, status = excluded.status, "
        "answer = excluded.answer, confidence = excluded.confidence, "
        "calibrated = excluded.calibrated, signals = excluded.signals, "
        "tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out, "
        "calls = excluded.calls, seconds = excluded.seconds, accepted = excluded.accepted, "
        "model = excluded.model, error = excluded.error, sop = excluded.sop",
        (
            *(run_id, position, trial.strategy, trial.template, trial.propensity, trial.forced),
            *(json.dumps(trial.allowed), features, trial.features_version, trial.status),
            *(storable(trial.answer), trial.confidence, trial.calibrated),
            *(json.dumps(dict(trial.signals)), trial.tokens_in, trial.tokens_out, trial.calls),
            *(trial.seconds, trial.accepted, trial.model, trial.error, trial.sop, now),
        ),
    )
    if known is None or known[3] is None:
        return
    same = known[:3] == (trial.strategy, features, trial.features_version)
    if moved or not same:
        # Whoever follows the log of outcomes learns in this way that it meant something else.
        append_outcome(connection, (run_id, position), Score(*known[3:]), replaces=True, at=now)


def _only(run: Run) -> Trial:
    failed = run.status == "failed"
    return Trial(
        strategy=run.strategy,
        propensity=run.propensity,
        status="failed" if failed else "ok" if run.answer else "abstained",
        answer=run.answer,
        tokens_in=run.tokens_in,
        tokens_out=run.tokens_out,
        calls=run.calls,
        seconds=run.seconds,
        accepted=not failed,
        model=run.model,
    )
