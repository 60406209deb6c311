"""The questions of scored runs in a Chroma collection, where chromadb is installed.

SQLite stays the source of truth: the index is asked only when it has seen every outcome, and the
exact search answers otherwise, which is also while another process writes to it. What is damaged or
of another version is made anew from SQLite.

Importing chromadb takes about a second. So nothing here runs before a process has recorded two
runs, and all of it in a thread of its own: a single ``reverie ask`` never pays for it.

How several processes share the folder is ``ChromaFolder``'s part. The generation of the latest
write is recorded in SQLite too, with what was written: what is open of another one is not asked.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Database
from reverie.knowledge.vectors.chroma import MOST_BATCH, ChromaFailed, chroma_version
from reverie.knowledge.vectors.chroma_folder import ChromaFolder, FolderBusy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INDEX_FROM: Final = 256
"""Scored runs below which there is no index: the exact search takes less than a millisecond."""

LOCK: Final = ".tasks.lock"
"""The file that whoever writes an index holds; it lies beside the indexes."""

_COLLECTION: Final = "tasks"
_LOCK_SECONDS: Final = 10.0

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
        self._folder: ChromaFolder | None = None
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
        if self._folder is None or not self._lock.acquire(blocking=False):
            return None
        try:
            folder = self._folder
            if folder is None:  # given up, or closed, just before the lock was taken
                return None
            state, newest = self._state()
            level = folder.is_open and state.generation == folder.generation
            if not level or state.seq < newest or not state.tasks:
                self._follow()
                return None
            found = folder.read_open(
                lambda collection: collection.query(
                    query_embeddings=unit[None, :],
                    n_results=min(k, state.tasks),
                    include=["distances"],
                )
            )
            cosines = [min(1.0, max(-1.0, 1.0 - float(d))) for d in found["distances"][0]]
            return list(zip(found["ids"][0], cosines, strict=True))
        except ChromaFailed as failure:
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
                folder = self._folder = self._folder or self._folder_of(state)
                level = state.seq >= newest and state.generation == folder.generation
                if (level and folder.is_open) or not self._enough():
                    return
                folder.write(functools.partial(self._write_new, folder))
            except FolderBusy:
                _log.info("%s is being written by another process", self.root)
            except (KnowledgeUnavailable, ConfigError) as error:  # the latter: no import
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

    def _folder_of(self, state: _State) -> ChromaFolder:
        """The folder that SQLite names; until then each embedder has one, whoever begins it."""
        digest = hashlib.sha256(self._embedder.encode("utf-8", "replace")).hexdigest()
        return ChromaFolder(
            self.root / (state.folder or f"tasks-{digest[:8]}"),
            _COLLECTION,
            embedder=self._embedder,
            dimension=self._dimension,
            lock=self.root / LOCK,
            wait_seconds=_LOCK_SECONDS,
            keep_damaged=False,
        )

    def _write_new(self, folder: ChromaFolder, collection: Any) -> None:
        """Puts into the index what was scored since. The folder is locked: nobody else writes."""
        state, newest = self._state()
        version = chroma_version()
        if not folder.anew and state.version not in ("", version):
            collection = folder.begin_anew(
                f"it was written by chromadb {state.version}, this is {version}"
            )
        why, folder.anew = folder.anew, ""
        if not why and (missing := state.tasks - collection.count()) > 0:
            why = f"{missing} of its tasks are missing"
        if why:
            self.notices.append(f"The index of tasks in {self.root} is made anew: {why}.")
            _log.warning(self.notices[-1])
            state = _State()
        for ids, matrix in self._scored_since(state.seq, newest, MOST_BATCH):
            collection.upsert(ids=ids, embeddings=matrix)
        done = _State(newest, collection.count(), folder.generation, version, folder.folder.name)
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

    def _shut(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _give_up(self, why: str) -> None:
        self._usable = False
        self.notices.append(why)
        _log.warning(why)
