"""Calibration: what share of answers was right, for signals like these.

A calibration is a list of plain numbers that were fitted to logged outcomes of one model, or of one
strategy with it (``calibration_fit``). Applying it needs no scikit-learn. They live in one SQLite
file; every fit adds a version, so several processes may fit and read at once.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from reverie.knowledge.database import Database, Schema, open_database
from reverie.knowledge.read_only import open_to_read

MINIMUM_OUTCOMES: Final = 40
"""Scored answers of a model below which it is uncalibrated."""
MINIMUM_STRATEGY: Final = 100
"""Scored answers of one strategy from which it gets a calibration of its own."""
MINIMUM_EACH: Final = 8
"""At least so many of them must be right, and so many wrong."""
REFIT_STEP: Final = 20
"""New scored answers after which a model is fitted again; with many, a tenth more of them."""

SIGNALS: Final = ("mean", "weakest", "agreement", "verifier")
"""What a calibration reads, each 0 to 1 or None."""

_LEAST = 1e-4  # probabilities are kept so far from 0 and 1 before their logarithm is taken
_KEPT = 20  # versions of each calibration

CALIBRATION_SCHEMA: Final = Schema(
    kind="calibration",
    application_id=0x52564341,  # "RVCA"
    migrations=(
        """
        CREATE TABLE calibrations (
            model TEXT NOT NULL,
            strategy TEXT NOT NULL,     -- empty: every strategy of the model
            version INTEGER NOT NULL,   -- of the model's fits, from 1
            outcomes INTEGER NOT NULL,  -- all of the model's by then
            made REAL NOT NULL,         -- seconds since 1970
            document TEXT NOT NULL,     -- JSON: the numbers, and how good they are
            PRIMARY KEY (model, strategy, version)
        );
        """,
    ),
)

Scored = Mapping[str, "float | None"]
"""An answer's signals by name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A scored answer. ``group`` is the same for answers to the same question."""

    strategy: str
    signals: Scored
    right: float
    """0 (wrong) to 1 (right), by a verifier or a person."""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a confidence is on outcomes that it was not fitted to."""

    brier: float
    ece_mass: float
    """Expected calibration error with bins of equal mass."""
    ece_width: float
    """The same with bins of equal width."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Numbers that turn signals into the probability that an answer is right."""

    kind: Literal["platt", "logistic", "isotonic"]
    """``platt``: a logistic curve over the raw score; ``logistic``: over all signals; ``isotonic``:
    a rising line through points over the raw score.
    """
    names: tuple[str, ...]
    """The features that are weighed; none for isotonic."""
    points: tuple[float, ...]
    """The raw scores of the points, rising; none unless isotonic."""
    numbers: tuple[float, ...]
    """Intercept, then a weight for each feature; for isotonic: the points' probabilities."""
    reads: tuple[str, ...] = SIGNALS
    """The signals that it was fitted with; others are left aside."""
    unseen: float | None = None
    """The probability of an answer without any signal; None when there were too few to tell."""
    model: str = ""
    strategy: str = ""
    """Whose answers it was fitted to; empty: all strategies of the model."""
    version: int = 0
    outcomes: int = 0
    """How many scored answers it was fitted to."""
    right: float = 0.0
    """The share of them that was right."""
    before: Quality | None = None
    """Of the raw score."""
    after: Quality | None = None
    """Of the calibrated one, on held-out folds."""

    def apply(self, signals: Scored, strategy: str = "") -> float | None:
        """The probability that an answer with these signals is right; None without any to judge
        by.
        """
        signals = {name: signals.get(name) for name in self.reads}
        raw = raw_score(signals)
        if raw is None:
            return self.unseen
        if self.kind == "isotonic":
            return _interpolated(self.points, self.numbers, raw)
        values = features(signals, strategy)
        weights = zip(self.names, self.numbers[1:], strict=True)
        total = self.numbers[0] + sum(w * values.get(name, 0.0) for name, w in weights)
        return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, total))))


def raw_score(signals: Scored) -> float | None:
    """One score from 0 to 1 of the signals, uncalibrated: a verifier's word before the agreement of
    samples, and that before the model's own probability (the geometric mean of its mean and its
    weakest window). None without any.
    """
    for name in ("verifier", "agreement"):
        if (value := signals.get(name)) is not None:
            return value
    mean, weakest = signals.get("mean"), signals.get("weakest")
    if mean is None or weakest is None:
        return weakest if mean is None else mean
    return math.sqrt(mean * weakest)


def features(signals: Scored, strategy: str = "") -> dict[str, float]:
    """The numbers that a logistic calibration weighs: log-odds of each signal (0 when it is
    missing), whether it is there, and which strategy it was. What is not among them counts 0.
    """
    found = {f"strategy:{strategy}": 1.0} if strategy else {}
    raw = raw_score(signals)
    if raw is not None:
        found["raw"] = _log_odds(raw)
    for name in SIGNALS:
        value = signals.get(name)
        if value is not None:
            found[name] = _log_odds(value)
            found[f"has:{name}"] = 1.0
    return found


class Calibrations:
    """Every model's calibrations in one SQLite file. Get one with ``open``; ``close`` it.

    Every method may raise ``KnowledgeUnavailable``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path, *, to_read: bool = False) -> Calibrations:
        """Opens or creates the file; ``to_read``: also one in a folder that cannot be written."""
        opens = open_to_read if to_read else open_database
        return cls(await asyncio.to_thread(opens, path, CALIBRATION_SCHEMA))

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        return tuple(self._database.notices)

    async def find(self, model: str, strategy: str) -> Calibration | None:
        """The newest calibration of a strategy with a model, or of the model; None: uncalibrated.
        ``strategy`` may be empty.
        """
        return await asyncio.to_thread(self._find, model, strategy)

    async def newest(self) -> list[Calibration]:
        """The newest fit of every model: its own calibration first, then its strategies'."""
        return await asyncio.to_thread(self._newest)

    async def refit(self, model: str, outcomes: Sequence[Outcome]) -> list[Calibration]:
        """Fit a model's calibrations to all its ``outcomes`` and store them, if there are enough
        and enough new ones since the last fit. Returns what was stored; takes a second or more.
        """
        if not await asyncio.to_thread(self._due, model, len(outcomes)):
            return []
        return await asyncio.to_thread(self._refit, model, outcomes)

    async def close(self) -> None:
        """Closes the file; a second call does nothing."""
        await asyncio.to_thread(self._database.close)

    def _find(self, model: str, strategy: str) -> Calibration | None:
        with self._database.reading() as connection:
            # Only of the newest fit: a strategy that has too few outcomes by now has none of its
            # own any more.
            row = connection.execute(
                "SELECT document FROM calibrations WHERE model = ?1 AND strategy IN (?2, '') "
                "AND version = (SELECT max(version) FROM calibrations WHERE model = ?1) "
                "ORDER BY strategy DESC LIMIT 1",
                (model, strategy),
            ).fetchone()
        return None if row is None else _read(row[0])

    def _newest(self) -> list[Calibration]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT document FROM calibrations AS c WHERE version = "
                "(SELECT max(version) FROM calibrations WHERE model = c.model) "
                "ORDER BY model, strategy"
            ).fetchall()
        return [_read(document) for (document,) in rows]

    def _due(self, model: str, outcomes: int) -> bool:
        if outcomes < MINIMUM_OUTCOMES:
            return False
        with self._database.reading() as connection:
            _, known = self._state(connection, model)
        return _enough_new(outcomes, known)

    def _refit(self, model: str, outcomes: Sequence[Outcome]) -> list[Calibration]:
        from reverie.knowledge.calibration_fit import fit_all

        fitted = fit_all(outcomes)
        if not fitted:
            return []
        with self._database.writing() as connection:
            version, known = self._state(connection, model)
            if not _enough_new(len(outcomes), known):  # another process was faster
                return []
            stored = [replace(one, model=model, version=version + 1) for one in fitted]
            connection.executemany(
                "INSERT INTO calibrations (model, strategy, version, outcomes, made, document) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (model, c.strategy, c.version, len(outcomes), time.time(), _written(c))
                    for c in stored
                ],
            )
            connection.execute(
                "DELETE FROM calibrations WHERE model = ? AND version <= ?",
                (model, version + 1 - _KEPT),
            )
        return stored

    def _state(self, connection: Any, model: str) -> tuple[int, int]:
        """The version of the model's newest fit and how many outcomes it had; zeros without one."""
        row = connection.execute(
            "SELECT version, outcomes FROM calibrations WHERE model = ? "
            "ORDER BY version DESC LIMIT 1",
            (model,),
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))


def _enough_new(outcomes: int, known: int) -> bool:
    """Whether it is time for another fit. Fewer than were known: old ones were forgotten."""
    return not known or abs(outcomes - known) >= max(REFIT_STEP, known // 10)


def _log_odds(value: float) -> float:
    value = min(1.0 - _LEAST, max(_LEAST, value))
    return math.log(value / (1.0 - value))


def _interpolated(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """The line through the points at ``x``, level beyond the first and the last."""
    at = bisect.bisect_right(xs, x)
    if at == 0 or at == len(xs):
        return ys[0] if at == 0 else ys[-1]
    (left, right), (low, high) = xs[at - 1 : at + 1], ys[at - 1 : at + 1]
    return low + (high - low) * (x - left) / (right - left)


def _written(calibration: Calibration) -> str:
    return json.dumps(asdict(calibration))


def _read(document: str) -> Calibration:
    fields = json.loads(document)
    for name in ("before", "after"):
        fields[name] = Quality(**fields[name]) if fields[name] else None
    for name in ("names", "points", "numbers", "reads"):
        fields[name] = tuple(fields[name])
    return Calibration(**fields)
