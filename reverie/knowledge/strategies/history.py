"""The scored runs in memory, kept in step with the file, and what follows from them.

What is believed of a strategy is never stored, only derived from here, so several processes may
record and score at once without losing each other's outcomes. Outcomes fade: one that ``memory``
others have followed counts exp(-1), and one that is eight times as old is no longer looked at.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reverie.knowledge.strategies.records import Posterior, SimilarRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MINIMUM_SIMILARITY: Final = 0.5
"""Runs whose question is less similar (cosine) are not recalled as similar ones."""
MINIMUM_WEIGHT: Final = 0.1
"""What a score on an entirely different question still counts: strategies differ in general too."""
HORIZON: Final = 8
"""Outcomes older than so many times ``memory`` are left out: they would count less than .0004."""


@dataclass(slots=True)
class Tried:
    """One attempt of a scored run; ``score`` is None when nothing scored it."""

    position: int
    strategy: str
    tokens: int
    accepted: bool
    score: float | None
    weight: float
    seq: int


@dataclass(slots=True)
class Remembered:
    """A run of which at least one attempt is scored."""

    run_id: str
    question: str
    created: float
    cluster: int | None
    row: int
    """Its row in the matrix of question vectors; -1: another embedder made its vector."""
    tried: list[Tried] = field(default_factory=list)

    @property
    def used(self) -> Tried | None:
        """The attempt whose answer was the run's, if it is scored."""
        last = next((t for t in reversed(self.tried) if t.accepted), self.tried[-1])
        return last if last.score is not None else None


class History:
    """Scored runs, oldest first. The database's lock guards it."""

    def __init__(self, embedder: str, dimension: int, memory: int) -> None:
        import numpy as np

        self.runs: dict[str, Remembered] = {}
        self.newest = 0
        """The seq of the latest outcome."""
        self._embedder = embedder
        self._dimension = dimension
        self._memory = memory
        self._revision: tuple[int, int] | None = None
        self._matrix: NDArray[np.float32] = np.zeros((0, dimension), dtype=np.float32)  # [N, D]
        self._ordered: list[Remembered] = []
        self._rows: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # [R], into the matrix
        self._created: NDArray[np.float64] = np.zeros(0)  # [R], seconds since 1970

    def refresh(self, connection: sqlite3.Connection, revision: tuple[int, int]) -> None:
        """Reads what was scored since ``revision`` last changed."""
        import numpy as np

        if revision == self._revision:
            return
        (newest,) = connection.execute("SELECT coalesce(max(seq), 0) FROM trials").fetchone()
        horizon = newest - HORIZON * self._memory
        changed = connection.execute(
            "SELECT DISTINCT run_id FROM trials WHERE seq > ? ORDER BY run_id",
            (max(self.newest, horizon),),
        ).fetchall()
        self._read(connection, [run_id for (run_id,) in changed])
        self.newest = newest
        self._forget(horizon)
        self._ordered = list(self.runs.values())
        self._rows = np.array([run.row for run in self._ordered], dtype=np.int64)
        self._created = np.array([run.created for run in self._ordered], dtype=np.float64)
        self._revision = revision

    def similarities(self, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine of every run's question to ``unit`` [D], as [R] in the order of ``runs``; 0
        where another embedder made the vector.
        """
        import numpy as np

        cosine = np.clip(self._matrix @ unit, -1.0, 1.0)
        return np.append(cosine, np.float32(0.0))[self._rows]  # the last for row -1

    def fading(self, seq: int) -> float:
        """How much an outcome still counts, 0 to 1."""
        return math.exp((seq - self.newest) / self._memory)

    def similar(self, unit: NDArray[np.float32], k: int) -> list[SimilarRun]:
        """The ``k`` runs with a score whose question is most similar to ``unit`` [D]."""
        import numpy as np

        similarity = self.similarities(unit)
        near = np.flatnonzero((similarity >= MINIMUM_SIMILARITY) & (self._rows >= 0))
        found: list[SimilarRun] = []
        for place in near[np.lexsort((-self._created[near], -similarity[near]))]:
            if len(found) >= k:
                break
            if (run := self._ordered[place]).used is not None:
                found.append(recalled(run, float(similarity[place])))
        return found

    def posteriors(
        self, unit: NDArray[np.float32], strategies: Sequence[str]
    ) -> Mapping[str, Posterior]:
        """See ``StrategyMemory.posteriors``."""
        believed = {
            name: Posterior(strategy=name, alpha=1.0, beta=1.0, mean=0.5, runs=0)
            for name in strategies
        }
        similarity = self.similarities(unit).tolist()
        for run, cosine in zip(self.runs.values(), similarity, strict=True):
            for tried in run.tried:
                if tried.score is None or tried.strategy not in believed:
                    continue
                posterior = believed[tried.strategy]
                weight = max(MINIMUM_WEIGHT, cosine) * tried.weight * self.fading(tried.seq)
                posterior["alpha"] += weight * tried.score
                posterior["beta"] += weight * (1.0 - tried.score)
                posterior["runs"] += 1
        for posterior in believed.values():
            posterior["mean"] = posterior["alpha"] / (posterior["alpha"] + posterior["beta"])
        return believed

    def _read(self, connection: sqlite3.Connection, run_ids: Sequence[str]) -> None:
        import numpy as np

        blobs: list[bytes] = []
        for run_id, question, created, cluster, vector in _runs(
            connection, run_ids, self._embedder, self._dimension
        ):
            known = self.runs.pop(run_id, None)
            row = -1
            if vector is not None:
                row = known.row if known is not None and known.row >= 0 else -1
                if row < 0:
                    row = len(self._matrix) + len(blobs)
                    blobs.append(vector)
                elif row < len(self._matrix):
                    self._matrix[row] = np.frombuffer(vector, dtype="<f4")
            self.runs[run_id] = Remembered(run_id, question, created, cluster, row)
        if blobs:
            block = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, self._dimension)
            self._matrix = np.concatenate([self._matrix, block.astype(np.float32)])
        for run_id, tried in _trials(connection, run_ids):
            self.runs[run_id].tried.append(tried)

    def _forget(self, horizon: int) -> None:
        """Drops what is too old to count, when it is a third of all."""
        old = [
            run_id for run_id, run in self.runs.items() if max(t.seq for t in run.tried) <= horizon
        ]
        if 3 * len(old) < len(self.runs):
            return
        for run_id in old:
            del self.runs[run_id]
        kept = [run for run in self.runs.values() if run.row >= 0]
        self._matrix = self._matrix[[run.row for run in kept]]
        for row, run in enumerate(kept):
            run.row = row


def recalled(run: Remembered, similarity: float) -> SimilarRun:
    """A run with a score as it is shown."""
    used = run.used
    assert used is not None, "no score"  # noqa: S101  # the caller's business
    assert used.score is not None, "no score"  # noqa: S101  # as above
    return SimilarRun(
        run_id=run.run_id,
        question=run.question,
        strategy=used.strategy,
        score=used.score,
        similarity=similarity,
    )


def _runs(
    connection: sqlite3.Connection, run_ids: Sequence[str], embedder: str, dimension: int
) -> Iterator[tuple[str, str, float, int | None, bytes | None]]:
    # A JSON array is one parameter, however many ids it holds.
    yield from connection.execute(
        "SELECT run_id, question, created, CASE WHEN embedder = ?1 THEN cluster END, "
        "CASE WHEN embedder = ?1 AND dimension = ?2 THEN vector END FROM runs "
        "WHERE run_id IN (SELECT value FROM json_each(?3)) ORDER BY created, rowid",
        (embedder, dimension, json.dumps(run_ids)),
    )


def _trials(connection: sqlite3.Connection, run_ids: Sequence[str]) -> Iterator[tuple[str, Tried]]:
    rows = connection.execute(
        "SELECT run_id, position, strategy, tokens_in + tokens_out, accepted, score, "
        "coalesce(weight, 0.0), coalesce(seq, 0) FROM trials "
        "WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY run_id, position",
        (json.dumps(run_ids),),
    )
    for run_id, position, strategy, tokens, accepted, score, weight, seq in rows:
        yield run_id, Tried(position, strategy, tokens, bool(accepted), score, weight, seq)
