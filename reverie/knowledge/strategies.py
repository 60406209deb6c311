"""Strategy memory: every run, the strategy it chose, and what it scored.

What is believed of a strategy is never stored, only derived from the scored runs by a query, so
several processes may record and score at once without losing each other's outcomes.
"""

from __future__ import annotations

import asyncio
import difflib
import math
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from typing_extensions import TypedDict

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Database, Schema, open_database, storable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MINIMUM_SIMILARITY: Final = 0.5
"""Runs whose question is less similar (cosine) are not recalled as similar ones."""
MINIMUM_WEIGHT: Final = 0.1
"""What a score on an entirely different question still counts: strategies differ in general too."""

_PREFIX = 4
"""Characters of a run id that suffice to name it, when no other run begins with them."""

STRATEGY_SCHEMA: Final = Schema(
    kind="strategy memory",
    application_id=0x52565354,  # "RVST"
    migrations=(
        """
        CREATE TABLE runs (
            run_id TEXT PRIMARY KEY,
            question TEXT NOT NULL,
            embedder TEXT NOT NULL,
            vector BLOB NOT NULL,       -- float32, little-endian, length one
            strategy TEXT NOT NULL,
            propensity REAL NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('pending', 'failed')),
            answer TEXT NOT NULL,
            tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            seconds REAL NOT NULL,
            created REAL NOT NULL,      -- seconds since 1970
            score REAL CHECK (score BETWEEN 0 AND 1),
            scored REAL                 -- when, seconds since 1970
        );
        CREATE INDEX runs_created ON runs (created);
        CREATE INDEX runs_scored ON runs (embedder, strategy) WHERE score IS NOT NULL;
        """,
        """
        ALTER TABLE runs ADD COLUMN dimension INTEGER NOT NULL DEFAULT 0;
        UPDATE runs SET dimension = length(vector) / 4;
        CREATE INDEX runs_embedder ON runs (embedder, dimension);
        """,
    ),
)


class SimilarRun(TypedDict):
    """A scored earlier run on a similar question; ``similarity`` is the cosine (.5 to 1)."""

    run_id: str
    question: str
    strategy: str
    score: float
    similarity: float


class Posterior(TypedDict):
    """What the strategy memory believes of one strategy for a question: Beta(alpha, beta)."""

    strategy: str
    alpha: float
    beta: float
    mean: float
    runs: int
    """How many scored runs it rests on."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the reason graph ends it. Nobody has scored it yet."""

    run_id: str
    question: str
    strategy: str
    propensity: float
    """With which probability (0 to 1) the policy would choose this strategy."""
    status: Literal["pending", "failed"] = "pending"
    answer: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run as the memory keeps it; ``score`` (0 to 1) is None unless ``status`` is scored."""

    run_id: str
    question: str
    strategy: str
    propensity: float
    status: Literal["pending", "scored", "failed"]
    answer: str
    tokens_in: int
    tokens_out: int
    calls: int
    seconds: float
    created: float
    """Seconds since 1970."""
    score: float | None


_RECORDED: Final = (
    "SELECT run_id, question, strategy, propensity, "
    "CASE WHEN score IS NULL THEN status ELSE 'scored' END, "
    "answer, tokens_in, tokens_out, calls, seconds, created, score FROM runs "
)


class StrategyMemory:
    """Runs and outcomes in one SQLite file. Get one with ``StrategyMemory.open``; ``close`` it.

    Every method may raise ``KnowledgeUnavailable``. Runs whose question was embedded by another
    embedder cannot be compared: they are never similar, and weigh ``MINIMUM_WEIGHT``.
    """

    def __init__(self, database: Database, embedder: str, dimension: int) -> None:
        self._database = database
        self._embedder = embedder
        self._dimension = dimension

    @classmethod
    async def open(cls, path: Path, *, embedder: str, dimension: int) -> StrategyMemory:
        """Opens or creates the memory for question vectors of ``embedder``, [``dimension``].

        Raises ``KnowledgeUnavailable``, also when that embedder's vectors were of another length.
        """
        return await asyncio.to_thread(cls._open, path, embedder, dimension)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        return tuple(self._database.notices)

    async def record(self, run: Run, vector: NDArray[np.float32]) -> None:
        """Stores a run with its question's ``vector`` [D]. Recording it again replaces it.

        A score that was given meanwhile stays. Raises ``ConfigError`` for values out of range.
        """
        await asyncio.to_thread(self._record, run, vector)

    async def score(self, run_id: str, score: float) -> RecordedRun:
        """Scores a run, 0 (wrong) to 1 (right); scoring it again replaces the score.

        ``run_id`` may be an unambiguous beginning of at least four characters. Raises
        ``ConfigError`` for an unknown or ambiguous id, or a score out of range.
        """
        return await asyncio.to_thread(self._score, run_id, score)

    async def similar(self, vector: NDArray[np.float32], k: int = 3) -> list[SimilarRun]:
        """The ``k`` scored runs whose question is most similar to ``vector`` [D], best first."""
        return await asyncio.to_thread(self._similar, vector, k)

    async def posteriors(
        self, vector: NDArray[np.float32], strategies: Sequence[str]
    ) -> list[Posterior]:
        """What the scored runs say of each strategy for the question ``vector`` [D], in order.

        With scores s_i (0 to 1) of that strategy's runs and w_i = max(0.1, cosine between their
        question and this one): alpha = 1 + sum w_i s_i, beta = 1 + sum w_i (1 - s_i). So a score
        on a similar question moves more than one on a different question, and no run at all
        leaves Beta(1, 1). Pending and failed runs that nobody scored move nothing.
        """
        return await asyncio.to_thread(self._posteriors, vector, strategies)

    async def recent(self, limit: int = 20) -> list[RecordedRun]:
        """The latest runs, newest first."""
        return await asyncio.to_thread(self._recent, limit)

    async def find(self, run_id: str) -> RecordedRun:
        """One run, by its id or an unambiguous beginning of it. Raises ``ConfigError``."""
        return await asyncio.to_thread(self._find, run_id)

    async def close(self) -> None:
        """Closes the file; a second call does nothing."""
        await asyncio.to_thread(self._database.close)

    @classmethod
    def _open(cls, path: Path, embedder: str, dimension: int) -> StrategyMemory:
        memory = cls(open_database(path, STRATEGY_SCHEMA), embedder, dimension)
        try:
            with memory._database.reading() as connection:
                memory._same_dimension(connection)
        except BaseException:
            memory._database.close()
            raise
        return memory

    def _same_dimension(self, connection: sqlite3.Connection) -> None:
        # Smallest and largest: each is one look into the index, however many runs there are.
        found = connection.execute(
            "SELECT (SELECT min(dimension) FROM runs WHERE embedder = ?1), "
            "(SELECT max(dimension) FROM runs WHERE embedder = ?1)",
            (self._embedder,),
        ).fetchone()
        other = [dimension for dimension in found if dimension not in (None, self._dimension)]
        if other:
            raise KnowledgeUnavailable(
                f"{self._database.path} holds vectors of {self._embedder} with {other[0]} numbers, "
                f"and now it makes {self._dimension}",
                hint="Another model is served under that name: serve the first one again, give "
                "this one another name, or set REVERIE_HOME to another folder",
            )

    def _record(self, run: Run, vector: NDArray[np.float32]) -> None:
        unit = self._unit(vector)
        if not run.run_id or not run.strategy:
            raise ConfigError("A run needs an id and a strategy")
        if not 0.0 <= run.propensity <= 1.0:
            raise ConfigError(f"A propensity is between 0 and 1, not {run.propensity}")
        with self._database.writing() as connection:
            self._same_dimension(connection)
            connection.execute(
                "INSERT INTO runs (run_id, question, embedder, vector, dimension, strategy, "
                "propensity, status, answer, tokens_in, tokens_out, calls, seconds, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (run_id) DO UPDATE SET question = excluded.question, "
                "embedder = excluded.embedder, vector = excluded.vector, "
                "dimension = excluded.dimension, "
                "strategy = excluded.strategy, propensity = excluded.propensity, "
                "status = excluded.status, answer = excluded.answer, "
                "tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out, "
                "calls = excluded.calls, seconds = excluded.seconds",
                (
                    *(run.run_id, storable(run.question), self._embedder, unit.tobytes()),
                    self._dimension,
                    *(run.strategy, run.propensity, run.status, storable(run.answer)),
                    *(run.tokens_in, run.tokens_out, run.calls, run.seconds, time.time()),
                ),
            )

    def _score(self, run_id: str, score: float) -> RecordedRun:
        if not (math.isfinite(score) and 0.0 <= score <= 1.0):
            raise ConfigError(f"A score is a number between 0 (wrong) and 1 (right), not {score}")
        with self._database.writing() as connection:
            run_id = _resolve(connection, run_id)
            connection.execute(
                "UPDATE runs SET score = ?, scored = ? WHERE run_id = ?",
                (float(score), time.time(), run_id),
            )
            return _recorded(connection, run_id)

    def _find(self, run_id: str) -> RecordedRun:
        with self._database.reading() as connection:
            return _recorded(connection, _resolve(connection, run_id))

    def _recent(self, limit: int) -> list[RecordedRun]:
        with self._database.reading() as connection:
            rows = connection.execute(
                _RECORDED + "ORDER BY created DESC, rowid DESC LIMIT ?",
                (max(limit, 0),),
            ).fetchall()
        return [RecordedRun(*row) for row in rows]

    def _similar(self, vector: NDArray[np.float32], k: int) -> list[SimilarRun]:
        import numpy as np

        with self._database.reading() as connection:
            self._same_dimension(connection)
            rows = connection.execute(
                "SELECT run_id, question, strategy, score, vector FROM runs "
                "WHERE score IS NOT NULL AND embedder = ? ORDER BY created DESC, rowid DESC",
                (self._embedder,),
            ).fetchall()
        similarity = self._cosine([row[-1] for row in rows], vector)
        best = np.argsort(-similarity, kind="stable")[: max(k, 0)]
        return [
            SimilarRun(
                run_id=rows[i][0],
                question=rows[i][1],
                strategy=rows[i][2],
                score=rows[i][3],
                similarity=float(similarity[i]),
            )
            for i in best
            if similarity[i] >= MINIMUM_SIMILARITY
        ]

    def _posteriors(
        self, vector: NDArray[np.float32], strategies: Sequence[str]
    ) -> list[Posterior]:
        with self._database.reading() as connection:
            self._same_dimension(connection)
            rows = connection.execute(
                "SELECT strategy, score, CASE WHEN embedder = ? THEN vector END FROM runs "
                "WHERE score IS NOT NULL ORDER BY created, rowid",
                (self._embedder,),
            ).fetchall()
        similarity = iter(self._cosine([row[2] for row in rows if row[2] is not None], vector))
        believed = {
            name: Posterior(strategy=name, alpha=1.0, beta=1.0, mean=0.5, runs=0)
            for name in strategies
        }
        for name, score, blob in rows:
            comparable = 0.0 if blob is None else float(next(similarity))
            if name in believed:
                posterior = believed[name]
                weight = max(MINIMUM_WEIGHT, comparable)
                posterior["alpha"] += weight * score
                posterior["beta"] += weight * (1.0 - score)
                posterior["runs"] += 1
        for posterior in believed.values():
            posterior["mean"] = posterior["alpha"] / (posterior["alpha"] + posterior["beta"])
        return [believed[name] for name in strategies]

    def _cosine(self, blobs: Sequence[bytes], vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Similarity of N stored vectors to ``vector`` [D], as [N], -1 to 1."""
        import numpy as np

        matrix = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, self._dimension)
        return np.clip(matrix @ self._unit(vector), -1.0, 1.0)

    def _unit(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        import numpy as np

        values = np.asarray(vector, dtype=np.float32)
        if values.shape != (self._dimension,) or not np.isfinite(values).all():
            raise ConfigError(
                f"A question's vector has {self._dimension} finite numbers; this one has shape "
                f"{list(values.shape)}",
                hint=f"Embed questions with {self._embedder}",
            )
        unit: NDArray[np.float32] = values / max(float(np.linalg.norm(values)), 1e-12)
        return unit.astype("<f4")


def _resolve(connection: sqlite3.Connection, run_id: str) -> str:
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
                f"Several runs begin with {wanted!r}: {', '.join(starting)}",
                hint="Give more of the id",
            )
    recent = _first(
        connection, "SELECT run_id FROM runs ORDER BY created DESC, rowid DESC LIMIT 200"
    )
    if not recent:
        raise ConfigError(
            f"There is no run {wanted!r}: no run is recorded here yet",
            hint="Ask a question first; its run id is in the answer",
        )
    close = difflib.get_close_matches(wanted, recent, n=3)
    named = f"Did you mean {' or '.join(close)}?" if close else f"Latest: {', '.join(recent[:3])}."
    raise ConfigError(f"There is no run {wanted!r}", hint=named)


def _first(connection: sqlite3.Connection, query: str, *values: Any) -> list[str]:
    return [row[0] for row in connection.execute(query, values)]


def _recorded(connection: sqlite3.Connection, run_id: str) -> RecordedRun:
    row = connection.execute(_RECORDED + "WHERE run_id = ?", (run_id,)).fetchone()
    return RecordedRun(*row)
