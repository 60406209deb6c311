"""What a score applies to, and which score of several is in force."""

from __future__ import annotations

import math
import re
import sqlite3
import time
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from reverie.errors import ConfigError
from reverie.knowledge.strategies.records import STRENGTH, Source, failed_of_itself


class Score(NamedTuple):
    """What an attempt was worth, who says so, and how much it counts."""

    value: float
    source: Source
    weight: float


class _Attempt(NamedTuple):
    position: int
    status: str
    answer: str
    accepted: int
    error: str
    score: Score | None


def checked(score: float, source: Source, weight: float) -> Score:
    """Raises ``ConfigError`` for what cannot be a score."""
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        raise ConfigError(f"a score is a number between 0 (wrong) and 1 (right), not {score}")
    if not (math.isfinite(weight) and 0.0 <= weight <= 1.0):
        raise ConfigError(f"the weight of a score is a number between 0 and 1, not {weight}")
    if source not in STRENGTH:
        known = ", ".join(STRENGTH)
        raise ConfigError(f"a score comes from one of {known}, not from {source!r}")
    return Score(float(score), source, float(weight))


def write_score(
    connection: sqlite3.Connection, run_id: str, score: Score, position: int | None
) -> None:
    """Scores the attempt at ``position``, or, with None, the run: the attempt whose answer was
    used, others that gave the same answer, and with 0 those that gave none.

    A confidence says nothing of attempts without an answer. A stronger score that is there stays.
    """
    attempts = _attempts(connection, run_id)
    used = next((a for a in reversed(attempts) if a.accepted), attempts[-1])
    if position is None:
        if used.status == "failed" and score.value > 0:
            raise ConfigError(
                f"the run {run_id} failed: it has no answer that could be right",
                hint="score it 0, or leave it unscored",
            )
        meant = _meant(attempts, used, score)
    elif position in {a.position for a in attempts}:
        meant = {position: score}
    else:
        raise ConfigError(f"the run {run_id} has no attempt {position}")
    now = time.time()
    for attempt in attempts:
        new = meant.get(attempt.position)
        if new is None or not _counts(new, attempt.score):
            continue
        replaces = attempt.score is not None
        append_outcome(connection, (run_id, attempt.position), new, replaces=replaces, at=now)
    if used.position in meant:
        _score_run(connection, run_id, used.position)


def append_outcome(
    connection: sqlite3.Connection,
    trial: tuple[str, int],
    score: Score,
    *,
    replaces: bool,
    at: float,
) -> None:
    """Puts an outcome of ``trial`` (run and position) at the end of the log, and in force."""
    inserted = connection.execute(
        "INSERT INTO outcomes (run_id, position, score, source, weight, replaces, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*trial, *score, replaces, at),
    )
    connection.execute(
        "UPDATE trials SET score = ?, source = ?, weight = ?, seq = ? "
        "WHERE run_id = ? AND position = ?",
        (*score, inserted.lastrowid, *trial),
    )


def answer_key(answer: str) -> str:
    """What two answers share that say the same: without case, spaces at the ends, final stops,
    and commas within numbers.
    """
    plain = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain).strip(" .!\"'")


def _attempts(connection: sqlite3.Connection, run_id: str) -> list[_Attempt]:
    rows = connection.execute(
        "SELECT position, status, answer, accepted, error, score, source, weight FROM trials "
        "WHERE run_id = ? ORDER BY position",
        (run_id,),
    )
    return [
        _Attempt(
            position,
            status,
            answer,
            accepted,
            error,
            None if value is None else Score(value, source, weight),
        )
        for position, status, answer, accepted, error, value, source, weight in rows
    ]


def _meant(attempts: Sequence[_Attempt], used: _Attempt, score: Score) -> dict[int, Score]:
    """Which attempts a run's score says something of, and what."""
    meant = {used.position: score}
    for attempt in attempts:
        if attempt is used:
            continue
        if attempt.answer and answer_key(attempt.answer) == answer_key(used.answer):
            meant[attempt.position] = score
        elif failed_of_itself(attempt.status, attempt.error) and score.source != "confidence":
            meant[attempt.position] = score._replace(value=0.0)
    return meant


def _counts(new: Score, old: Score | None) -> bool:
    """Whether a score changes anything: a weaker one does not, nor the same one again, which a
    node says that runs again after a resume.
    """
    return old is None or (STRENGTH[new.source] >= STRENGTH[old.source] and new != old)


def _score_run(connection: sqlite3.Connection, run_id: str, position: int) -> None:
    """The run's score is that of the attempt whose answer was used."""
    connection.execute(
        "UPDATE runs SET (score, source, scored) = (SELECT t.score, t.source, o.at FROM trials t "
        "JOIN outcomes o ON o.seq = t.seq WHERE t.run_id = runs.run_id AND t.position = ?2) "
        "WHERE run_id = ?1",
        (run_id, position),
    )
