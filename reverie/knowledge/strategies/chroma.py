"""The questions of scored runs in a Chroma collection, where chromadb is installed.

SQLite stays the source of truth: the index is asked only when it has seen every outcome, and the
exact search answers otherwise, which is also while another process writes to it. What is damaged or
of another version is made anew from SQLite.

Importing chromadb takes about a second. So nothing here runs before a process has recorded two
runs, and all of it in a thread of its own: a single ``reverie ask`` never pays for it.

Two Chroma clients that write to one folder damage each other's index, and one that is open does not
see what another process wrote. So one process writes at a time, under a file lock, and every write
gets a new generation, recorded in SQLite: a client of another generation is closed and opened anew.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import shutil
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from filelock import FileLock, Timeout

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INDEX_FROM: Final = 256
"""Scored runs below which there is no index: the exact search takes less than a millisecond."""

LOCK: Final = ".tasks.lock"
"""The file that whoever writes an index holds; it lies beside the indexes."""

_COLLECTION: Final = "tasks"
_LOCK_SECONDS: Final = 10.0
_MOST_BATCH: Final = 1000

_log = logging.getLogger(__name__)


class _State(NamedTuple):
    """What the index holds, as SQLite has it."""

    seq: int = 0
    """The latest outcome that it has seen."""
    tasks: int = 0
    generation: str = ""
    version: str = ""
    folder: str = ""


class TaskIndex:
    """The vectors of one embedder. Its methods may be called from any thread."""

    def __init__(
        self, database: Database, embedder: str, dimension: int, *, start_at: int = INDEX_FROM
    ) -> None:
        self.root = database.path.with_name("chroma")
        self.notices: list[str] = []
        self._database = database
        self._embedder = embedder
        self._dimension = dimension
        self._start_at = start_at
        self._recorded = 0
        self._usable = start_at >= 0
        self._lock = threading.Lock()
        self._client: Any = None
        self._collection: Any = None
        self._generation = ""
        self._folder = ""
        self._executor: ThreadPoolExecutor | None = None
        self._working: Future[None] | None = None

    def recorded(self) -> None:
        """A run was recorded here. From the second one on, the index follows in the background."""
        self._recorded += 1
        if self._recorded >= 2:
            self._follow()

    def nearest(self, unit: NDArray[np.float32], k: int) -> list[tuple[str, float]] | None:
        """The ids of the ``k`` scored runs nearest to ``unit`` [D], with their cosine, best first.

        None when the index is not there, not level with the file, or at work: search exactly.
        """
        if self._collection is None or not self._lock.acquire(blocking=False):
            return None
        try:
            state, newest = self._state()
            if state.generation != self._generation or state.seq < newest or not state.tasks:
                self._follow()
                return None
            with _chroma_errors():
                found = self._collection.query(
                    query_embeddings=unit[None, :],
                    n_results=min(k, state.tasks),
                    include=["distances"],
                )
            cosines = [min(1.0, max(-1.0, 1.0 - float(d))) for d in found["distances"][0]]
            return list(zip(found["ids"][0], cosines, strict=True))
        except _ChromaFailed as failure:
            self._shut()
            _log.warning("the index of tasks cannot be read: %s", failure)
            self._follow()
            return None
        finally:
            self._lock.release()

    def sync(self) -> None:
        """Brings the index level with the file, which takes seconds the first time.

        Does nothing while another process does so. A fault of Chroma's is said in ``notices``.
        """
        with self._lock:
            try:
                state, newest = self._state()
                level = state.seq >= newest and state.generation == self._generation
                if (level and self._collection is not None) or not self._enough():
                    return
                self.root.mkdir(parents=True, exist_ok=True)
                with FileLock(self.root / LOCK, timeout=_LOCK_SECONDS):
                    self._sync_locked()
            except Timeout:
                _log.info("%s is being written by another process", self.root)
            except (OSError, KnowledgeUnavailable, _ChromaFailed) as error:
                self._shut()
                self._give_up(f"Similar tasks are searched exactly, without Chroma: {error}")

    def close(self) -> None:
        """Ends what works in the background; a second call does nothing."""
        executor, self._executor = self._executor, None
        self._usable = False
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._shut()

    # -- inside ------------------------------------------------------------------------------------

    def _follow(self) -> None:
        if not self._usable or (self._working is not None and not self._working.done()):
            return
        if self._executor is None:
            if importlib.util.find_spec("chromadb") is None:
                self._usable = False
                return
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="reverie-tasks")
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._working = self._executor.submit(self.sync)

    def _enough(self) -> bool:
        with self._database.reading() as connection:
            (scored,) = connection.execute(
                "SELECT count(*) FROM (SELECT DISTINCT run_id FROM trials WHERE seq IS NOT NULL "
                "LIMIT ?)",
                (max(self._start_at, 1),),
            ).fetchone()
        return int(scored) >= max(self._start_at, 1)

    def _sync_locked(self) -> None:
        """The lock is held: nobody else writes."""
        state, _ = self._state()
        version = _version()
        if state.version and state.version != version:
            self._rebuild(f"it was written by chromadb {state.version}, this is {version}")
        elif self._collection is None or state.generation != self._generation:
            self._shut()
            try:
                self._open(state.folder or self._new_folder())
                if self._count() < state.tasks:
                    self._rebuild(f"{state.tasks - self._count()} of its tasks are missing")
            except _ChromaFailed as failure:
                self._rebuild(str(failure))
        try:
            self._write_new()
        except _ChromaFailed as failure:
            self._rebuild(str(failure))
            self._write_new()

    def _write_new(self) -> None:
        """Puts into the index what was scored since."""
        state, newest = self._state()
        with _chroma_errors():
            most = min(_MOST_BATCH, self._client.get_max_batch_size())
        for ids, matrix in self._scored_since(state.seq, newest, most):
            with _chroma_errors():
                self._collection.upsert(ids=ids, embeddings=matrix)
        self._generation = uuid.uuid4().hex
        done = _State(newest, self._count(), self._generation, _version(), self._folder)
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO task_index (embedder, seq, tasks, generation, version, folder) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (embedder) DO UPDATE SET "
                "seq = excluded.seq, "
                "tasks = excluded.tasks, generation = excluded.generation, "
                "version = excluded.version, folder = excluded.folder",
                (self._embedder, *done),
            )

    def _scored_since(
        self, seq: int, newest: int, most: int
    ) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Runs with an outcome behind ``seq``, and their vectors [n, D], ``most`` at once."""
        import numpy as np

        last = ""
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(
                    "SELECT run_id, vector FROM runs WHERE embedder = ? AND dimension = ? "
                    "AND run_id > ? AND run_id IN "
                    "(SELECT run_id FROM trials WHERE seq > ? AND seq <= ?) "
                    "ORDER BY run_id LIMIT ?",
                    (self._embedder, self._dimension, last, seq, newest, most),
                ).fetchall()
            if not rows:
                return
            flat = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4")
            yield [row[0] for row in rows], flat.reshape(-1, self._dimension).astype(np.float32)
            last = rows[-1][0]

    def _state(self) -> tuple[_State, int]:
        """What the index holds, and the latest outcome that there is."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT seq, tasks, generation, version, folder FROM task_index WHERE embedder = ?",
                (self._embedder,),
            ).fetchone()
            (newest,) = connection.execute("SELECT coalesce(max(seq), 0) FROM trials").fetchone()
        return (_State() if row is None else _State(*row)), int(newest)

    def _new_folder(self) -> str:
        return f"tasks-{uuid.uuid4().hex[:8]}"

    def _open(self, folder: str) -> None:
        self._folder = folder
        with _chroma_errors():
            import chromadb
            from chromadb.config import Settings

            self._client = chromadb.PersistentClient(
                path=str(self.root / folder), settings=Settings(anonymized_telemetry=False)
            )
            self._collection = self._client.get_or_create_collection(
                _COLLECTION,
                configuration={"hnsw": {"space": "cosine"}},
                embedding_function=None,  # else it downloads a model
            )

    def _count(self) -> int:
        with _chroma_errors():
            return int(self._collection.count())

    def _rebuild(self, why: str) -> None:
        """Begins the index anew: all that is in it, is in SQLite. In another folder, because
        chromadb keeps what it knows of one, also when it could not open it.
        """
        self._shut()
        state, _ = self._state()
        self.notices.append(f"The index of tasks in {self.root} is made anew: {why}.")
        _log.warning(self.notices[-1])
        with self._database.writing() as connection:
            connection.execute("DELETE FROM task_index WHERE embedder = ?", (self._embedder,))
        if state.folder:
            shutil.rmtree(self.root / state.folder, ignore_errors=True)
        self._open(self._new_folder())

    def _shut(self) -> None:
        client, self._client, self._collection = self._client, None, None
        self._generation = ""
        if client is not None:
            with contextlib.suppress(_ChromaFailed), _chroma_errors():
                client.close()

    def _give_up(self, why: str) -> None:
        self._usable = False
        self.notices.append(why)
        _log.warning(why)


class _ChromaFailed(Exception):
    """Whatever chromadb raised, which may also be a panic of its Rust core."""


@contextlib.contextmanager
def _chroma_errors() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic is no Exception
        raise _ChromaFailed(f"{type(error).__name__}: {error}") from error


def _version() -> str:
    """Major and minor: patches read each other's files."""
    from importlib.metadata import version

    return ".".join(version("chromadb").split(".")[:2])
