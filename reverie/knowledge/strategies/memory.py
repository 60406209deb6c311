"""The strategy memory: every run, what was tried in it, and what that was worth."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Database, Schema, open_database
from reverie.knowledge.read_only import open_to_read
from reverie.knowledge.run_ids import resolve_run_id
from reverie.knowledge.strategies import clusters, lookup, statistics
from reverie.knowledge.strategies.chroma import INDEX_FROM, TaskIndex
from reverie.knowledge.strategies.history import MINIMUM_SIMILARITY, History, recalled
from reverie.knowledge.strategies.recording import trials_of, write_run
from reverie.knowledge.strategies.records import (
    Judged,
    MeasuredCost,
    Outcome,
    Point,
    Posterior,
    RecalledSequence,
    RecordedRun,
    Run,
    SimilarRun,
    Source,
    TaskCluster,
    TemplateRecord,
)
from reverie.knowledge.strategies.schema import STRATEGY_SCHEMA
from reverie.knowledge.strategies.scoring import Score, checked, write_score
from reverie.knowledge.strategies.sequences import Task, recall_sequences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.knowledge.sops.records import Used

T = TypeVar("T")

NEIGHBOURS: Final = 256
"""Similar tasks that the vector index is asked for."""


class StrategyMemory:
    """Runs and outcomes in one SQLite file. Get one with ``StrategyMemory.open``; ``close`` it.

    Every method may raise ``KnowledgeUnavailable``. Runs whose question was embedded by another
    embedder cannot be compared: they are never similar, and weigh ``MINIMUM_WEIGHT``.
    """

    def __init__(
        self, database: Database, embedder: str, dimension: int, memory: int, index: TaskIndex
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._dimension = dimension
        self._memory = memory
        self._history = History(embedder, dimension, memory)
        self._index = index

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        embedder: str,
        dimension: int,
        memory: int = 1000,
        index_from: int = INDEX_FROM,
    ) -> StrategyMemory:
        """Opens or creates the memory for question vectors of ``embedder``, [``dimension``].

        ``memory`` is after how many outcomes an old one counts exp(-1), and ``index_from`` from how
        many scored runs on their vectors are also indexed (``chroma``). Raises
        ``KnowledgeUnavailable``, also when that embedder's vectors were of another length.
        """
        return await asyncio.to_thread(cls._open, path, embedder, dimension, memory, index_from)

    @classmethod
    async def inspect(cls, path: Path, *, memory: int = 1000) -> StrategyMemory | None:
        """Opens the memory that is there, for the embedder of its latest run, which need not be
        loaded; None when there is none, or no run in it. One in a folder that cannot be written is
        read as it stands. Raises ``KnowledgeUnavailable``.
        """
        return await asyncio.to_thread(cls._inspect, path, memory)

    @property
    def embedder(self) -> str:
        """The name of what made the question vectors."""
        return self._embedder

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told, such as a damaged file set aside."""
        return (*self._database.notices, *self._index.notices)

    # -- writing -----------------------------------------------------------------------------------

    async def record(self, run: Run, vector: NDArray[np.float32]) -> None:
        """Stores a run with its question's ``vector`` [D]. Recording it again replaces it.

        A score that was given meanwhile stays. Raises ``ConfigError`` for values out of range.
        """
        await asyncio.to_thread(self._record, run, vector)

    async def score(
        self,
        run_id: str,
        score: float,
        *,
        source: Source = "feedback",
        weight: float = 1.0,
        position: int | None = None,
    ) -> RecordedRun:
        """Scores a run, 0 (wrong) to 1 (right): the attempt whose answer was used, others of the
        run with the same answer, and with 0 those that gave none. With ``position`` it scores that
        attempt alone. ``weight`` is how much it counts, 0 to 1.

        Scoring again replaces the score, unless it came from a stronger source: feedback before a
        verifier, and that before confidence. ``run_id`` may be an unambiguous beginning of at least
        four characters. Raises ``ConfigError`` for an unknown or ambiguous id, or a score out of
        range.
        """
        given = checked(score, source, weight)
        return await asyncio.to_thread(self._score, run_id, given, position)

    # -- what worked on similar tasks --------------------------------------------------------------

    async def similar(self, vector: NDArray[np.float32], k: int = 3) -> list[SimilarRun]:
        """The ``k`` scored runs whose question is most similar to ``vector`` [D], best first."""
        return await asyncio.to_thread(self._similar, vector, k)

    async def posteriors(
        self, vector: NDArray[np.float32], strategies: Sequence[str]
    ) -> list[Posterior]:
        """What the scored attempts say of each strategy for the question ``vector`` [D], in order.

        With scores s_i (0 to 1) of attempts with that strategy and w_i = max(0.1, cosine between
        their question and this one), times the score's own weight, times exp(-outcomes since then /
        memory): alpha = 1 + sum w_i s_i, beta = 1 + sum w_i (1 - s_i). So a score on a similar
        question moves more than one on a different question, and no attempt at all leaves
        Beta(1, 1). What nobody scored moves nothing.
        """
        return await asyncio.to_thread(self._posteriors, vector, strategies)

    async def sequences(
        self,
        vector: NDArray[np.float32],
        k: int = 3,
        *,
        allowed: Collection[str] | None = None,
        price: float = 0.0,
    ) -> list[RecalledSequence]:
        """The ``k`` sequences of most value for the question ``vector`` [D], best first: those that
        were tried on similar tasks, and one that is put together from what worked on them.

        Value is expected score minus ``price`` per 1,000 tokens. ``allowed`` are the strategies
        that may be in them. A sequence that stopped working is left out.
        """
        return await asyncio.to_thread(self._sequences, vector, k, allowed, price)

    # -- numbers -----------------------------------------------------------------------------------

    async def outcomes(self, after: int, features_version: str) -> list[Outcome]:
        """The log of outcomes behind the one numbered ``after``, in order: of attempts that were
        chosen by features of that version. It is only ever appended to.
        """
        return await self._read(
            lambda c: statistics.read_outcomes(c, after, features_version, in_force=False)
        )

    async def scored(self, features_version: str) -> list[Outcome]:
        """The outcomes in force, one for each scored attempt, in the order of the log."""
        return await self._read(
            lambda c: statistics.read_outcomes(c, 0, features_version, in_force=True)
        )

    async def costs(self, strategies: Sequence[str]) -> dict[str, MeasuredCost]:
        """What attempts cost by now; strategies that were never tried are not in it."""
        return await self._read(lambda c: statistics.read_costs(c, strategies))

    async def templates(self, task_type: str) -> dict[str, TemplateRecord]:
        """How reasoning templates did on tasks of one type; the empty name is none."""
        return await self._read(lambda c: statistics.read_templates(c, task_type, self._memory))

    async def sops(self) -> list[Used]:
        """Every attempt that followed a procedure, oldest first."""
        return await self._read(statistics.read_sops)

    async def judged(self, model: str = "") -> list[Judged]:
        """Answers that a person or a verifier judged, newest first; of every model by default."""
        return await self._read(lambda c: statistics.read_judged(c, model))

    async def points(self) -> list[Point]:
        """Every attempt, oldest first."""
        return await self._read(statistics.read_points)

    async def pending(self) -> int:
        """How many attempts with an answer nothing has scored."""
        return await self._read(statistics.count_pending)

    async def clusters(self) -> list[TaskCluster]:
        """The kinds of tasks that were asked, the most frequent first."""
        return await self._read(lambda c: statistics.read_clusters(c, self._embedder))

    async def recent(self, limit: int = 20) -> list[RecordedRun]:
        """The latest runs, newest first."""
        return await self._read(lambda c: lookup.latest(c, limit))

    async def find(self, run_id: str) -> RecordedRun:
        """One run, by its id or an unambiguous beginning of it. Raises ``ConfigError``."""
        return await self._read(lambda c: lookup.recorded(c, resolve_run_id(c, run_id)))

    async def close(self) -> None:
        """Closes the file; a second call does nothing."""
        await asyncio.to_thread(self._close)

    # -- inside ------------------------------------------------------------------------------------

    @classmethod
    def _open(
        cls,
        path: Path,
        embedder: str,
        dimension: int,
        memory: int,
        index_from: int,
        *,
        opens: Callable[[Path, Schema], Database] = open_database,
    ) -> StrategyMemory:
        database = opens(path, STRATEGY_SCHEMA)
        index = TaskIndex(database, embedder, dimension, start_at=index_from)
        store = cls(database, embedder, dimension, memory, index)
        try:
            with database.reading() as connection:
                store._same_dimension(connection)
                missing = clusters.any_missing(connection, embedder)
            # Of what only is read, those that an older version left without stay without.
            if missing and database.writable:
                with database.writing() as connection:
                    clusters.assign_missing(connection, embedder, dimension)
        except BaseException:
            database.close()
            raise
        return store

    @classmethod
    def _inspect(cls, path: Path, memory: int) -> StrategyMemory | None:
        if not path.exists():
            return None
        with (
            contextlib.closing(open_to_read(path, STRATEGY_SCHEMA)) as database,
            database.reading() as connection,
        ):
            latest = connection.execute(
                "SELECT embedder, dimension FROM runs ORDER BY created DESC, rowid DESC LIMIT 1"
            ).fetchone()
        if latest is None:
            return None
        embedder, dimension = latest
        return cls._open(path, embedder, dimension, memory, -1, opens=open_to_read)

    def _close(self) -> None:
        self._index.close()
        self._database.close()

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._ask, question)

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with self._database.reading() as connection:
            return question(connection)

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
        trials = trials_of(run)
        with self._database.writing() as connection:
            self._same_dimension(connection)
            write_run(connection, run, trials, self._embedder, unit)
        self._index.recorded()

    def _score(self, run_id: str, score: Score, position: int | None) -> RecordedRun:
        with self._database.writing() as connection:
            found = resolve_run_id(connection, run_id)
            write_score(connection, found, score, position)
            return lookup.recorded(connection, found)

    def _similar(self, vector: NDArray[np.float32], k: int) -> list[SimilarRun]:
        unit = self._unit(vector)
        near = self._index.nearest(unit, NEIGHBOURS)
        with self._database.reading() as connection:
            self._refresh(connection)
            if near is None:
                return self._history.similar(unit, k)
            found = [
                recalled(run, similarity)
                for run_id, similarity in near
                if similarity >= MINIMUM_SIMILARITY
                and (run := self._history.runs.get(run_id)) is not None
                and run.used is not None
            ]
            if len(found) < k and len(near) == NEIGHBOURS and near[-1][1] >= MINIMUM_SIMILARITY:
                return self._history.similar(unit, k)  # so many of before are nearer
        return found[: max(k, 0)]

    def _posteriors(
        self, vector: NDArray[np.float32], strategies: Sequence[str]
    ) -> list[Posterior]:
        unit = self._unit(vector)
        with self._database.reading() as connection:
            self._refresh(connection)
            believed = self._history.posteriors(unit, strategies)
        return [believed[name] for name in strategies]

    def _sequences(
        self,
        vector: NDArray[np.float32],
        k: int,
        allowed: Collection[str] | None,
        price: float,
    ) -> list[RecalledSequence]:
        unit = self._unit(vector)
        with self._database.reading() as connection:
            self._refresh(connection)
            cluster = clusters.nearest(connection, self._embedder, unit)
            similarity = self._history.similarities(unit)
            task = Task(similarity, cluster)
            found = recall_sequences(self._history, task, allowed=allowed, price=price)
        return found[: max(k, 0)]

    def _refresh(self, connection: sqlite3.Connection) -> None:
        self._same_dimension(connection)
        self._history.refresh(connection, self._database.revision(connection))

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
