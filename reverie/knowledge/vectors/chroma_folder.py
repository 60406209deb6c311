"""A folder of Chroma's that several processes use: one writes at a time, all see what was written.

Two Chroma clients that write to one folder damage each other's index, and one that is open does not
see what another wrote. So whoever writes or opens holds a file lock, and every write ends with a
new generation in a small file beside the folder. It is read before every search, which takes
microseconds; a client of another generation is closed and opened anew, which takes about 20 ms.

The generation is not changed while somebody writes: until then nothing was acknowledged, and what
is open goes on answering. A writer that is killed leaves its process number in that file; whoever
gets the lock next sees it, mends what was left (``IndexSnapshot``) and begins a generation.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from filelock import FileLock, Timeout

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.vectors.chroma import (
    INDEX,
    ChromaFailed,
    check_collection,
    chroma_errors,
    chroma_version,
    epoch_of,
    import_chromadb,
    new_metadata,
)
from reverie.knowledge.vectors.chroma_snapshot import IndexSnapshot, remove_dead_indexes
from reverie.knowledge.vectors.chroma_state import FolderState, StateFile

WAIT_SECONDS: Final = 10.0
"""How long to wait for another process that writes."""

_POLL_SECONDS: Final = 0.01
_LOGGED: Final = 200
"""Records after which Chroma writes its index files. What is not in them, is put into the index
whenever the folder is opened: a thousand of 384 numbers take half a second or more.
"""
_NOT_DAMAGE: Final = (
    "no space left",
    "disk is full",
    "permission denied",
    "readonly",
    "read-only",
    "too many open files",
    "is locked",
    "unable to open",
    "i/o error",
    "quota exceeded",
    "out of memory",
    "cannot allocate memory",
)
"""What SQLite and the system say of a folder that cannot be used now, and may be sound."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class FolderBusy(KnowledgeUnavailable):
    """Another process has been writing to the folder for longer than one waits."""


class ChromaFolder:
    """One collection in a folder of its own. Everything here blocks; one thread at a time."""

    def __init__(
        self,
        folder: Path,
        collection: str,
        *,
        embedder: str,
        dimension: int,
        lock: Path | None = None,
        wait_seconds: float = WAIT_SECONDS,
        keep_damaged: bool = True,
    ) -> None:
        """``lock`` is the lock file, by default beside the folder. ``keep_damaged`` is whether a
        folder that cannot be read is set aside, or removed, because all in it is elsewhere too;
        then one write may also put more than ``MOST_BATCH`` records into it.
        """
        self.folder = folder
        self.generation = ""
        """Of what is open here; empty when nothing is. While this process writes, the next one."""
        self.anew = ""
        """Why the folder was begun anew since it was opened; empty when it was not."""
        self._name = collection
        self._embedder = embedder
        self._dimension = dimension
        self._lock = FileLock(lock or folder.with_name(f".{folder.name}.lock"))
        self._state_file = StateFile(folder)
        self._snapshot = IndexSnapshot(folder) if keep_damaged else None
        self._wait_seconds = wait_seconds
        self._keep_damaged = keep_damaged
        self._client: Any = None
        self._collection: Any = None

    @property
    def is_open(self) -> bool:
        return self._collection is not None

    @property
    def epoch(self) -> str:
        """The epoch of the collection that is open."""
        return epoch_of(self._collection.metadata)

    def read(self, work: Callable[[Any], T]) -> T:
        """``work`` on the collection, with all in it that was written by now, whoever wrote it.

        Raises ``KnowledgeUnavailable``; its kind ``FolderBusy`` when that has to be opened, and
        another process writes.
        """
        if not self.is_open or self._state().generation != self.generation:
            self._reopen()
        try:
            with chroma_errors():
                return work(self._collection)
        except ChromaFailed as failure:
            # Another process may have written between the check and the work.
            _log.info("%s is opened anew: %s", self.folder, failure)
        self._reopen()
        with self._unavailable("read"), chroma_errors():
            return work(self._collection)

    def read_open(self, work: Callable[[Any], T]) -> T:
        """``work`` on the collection as it is open here, at once. Raises ``ChromaFailed``, and is
        then closed.
        """
        try:
            with chroma_errors():
                return work(self._collection)
        except ChromaFailed:
            self.close()
            raise

    def write(self, work: Callable[[Any], T]) -> T:
        """``work`` on the collection while no other process writes. A second time when the first
        fails, on what was opened anew. Raises ``KnowledgeUnavailable``, ``FolderBusy``.
        """
        with self._locked():
            state = self._state()
            if state.writer or not self.is_open or state.generation != self.generation:
                self._open()
            try:
                return self._written(work)
            except ChromaFailed as failure:
                _log.warning("%s is opened anew: %s", self.folder, failure)
            self._open()
            with self._unavailable("written"):
                return self._written(work)

    def begin_anew(self, why: str) -> Any:
        """Within ``write``: an empty collection in place of the one that is there. Returns it."""
        generation = self.generation
        self._shut()
        if self._snapshot is not None:
            self._snapshot.remove()
        if self._keep_damaged and self.folder.exists():
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            aside = self.folder.with_name(f"{self.folder.name}.damaged-{stamp}")
            self.folder.replace(aside)
            why += f"; what was there is kept as {aside.name}"
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.anew = why
        _log.warning("%s is begun anew: %s", self.folder, why)
        with self._unavailable("made"):
            self._connect()
        self.generation = generation
        return self._collection

    def clear(self) -> None:
        """Removes every record. Raises as ``write`` does."""

        def emptied(collection: Any) -> None:
            self._client.delete_collection(collection.name)
            self._collection = self._created()
            remove_dead_indexes(self.folder)

        self.write(emptied)

    def most_batch(self) -> int:
        """The most records that Chroma takes at once, once it is open."""
        with chroma_errors():
            return int(self._client.get_max_batch_size())

    def close(self) -> None:
        """Closes what is open; a second call does nothing. Using it again opens it again."""
        self._shut()

    # -- inside ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=self._wait_seconds, poll_interval=_POLL_SECONDS)
        except Timeout as error:
            writer = self._state().writer
            who = f"process {writer}" if writer else "another process"
            raise FolderBusy(
                f"{self.folder} has been in use by {who} for more than {self._wait_seconds:g} s",
                hint="End that process; or serve the folder to all of them: chroma run --path "
                f"{self.folder}, and set REVERIE_CHROMA_URL=http://127.0.0.1:8000 (chroma.url)",
            ) from error
        except OSError as error:
            raise self._unusable(error) from error
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            self._lock.release()

    def _written(self, work: Callable[[Any], T]) -> T:
        before, self.generation = self.generation, uuid.uuid4().hex
        self._tell(before, writing=True)
        try:
            with chroma_errors():
                done = work(self._collection)
        except BaseException:
            # As after a writer that was killed: a part may have been written.
            self._shut()
            raise
        if self._snapshot is not None:
            self._snapshot.refresh()
        self._tell(self.generation, writing=False)
        return done

    def _reopen(self) -> None:
        with self._locked():
            self._open()

    def _open(self) -> None:
        """Opens what is there, whatever was open before. The lock is held."""
        self._shut()
        state = self._state()
        # Opening writes too: what the log has, and the index has not.
        self._tell(state.generation, writing=True)
        if state.writer and self._snapshot is not None:
            self._snapshot.restore()
        try:
            self._connect()
        except ChromaFailed as failure:
            self._shut()
            if not self._is_damage(failure):
                raise KnowledgeUnavailable(
                    f"{self.folder} cannot be opened: {failure}", hint=_FOLDER_HINT
                ) from failure
            wrote, reads = state.version, chroma_version()
            of_other = f"it was written by chromadb {wrote}, this is {reads}: "
            self.begin_anew(f"{of_other if wrote not in ('', reads) else ''}{failure}")
        if self._snapshot is not None:
            self._snapshot.refresh()
        same = state.generation and not state.writer and not self.anew
        self.generation = state.generation if same else uuid.uuid4().hex
        self._tell(self.generation, writing=False)

    def _connect(self) -> None:
        import numpy as np

        chromadb = import_chromadb()
        with chroma_errors():
            from chromadb.config import Settings

            self.folder.mkdir(parents=True, exist_ok=True)
            self._client = chromadb.PersistentClient(
                path=_spelled_anew(self.folder),
                settings=Settings(_env_file=None, anonymized_telemetry=False),
            )
            names = [collection.name for collection in self._client.list_collections()]
            if self._name in names:
                self._collection = self._client.get_collection(self._name, embedding_function=None)
            else:
                self._collection = self._created()
        check_collection(
            self._collection.metadata, self._embedder, self._dimension, str(self.folder)
        )
        with chroma_errors():
            if self._collection.count():  # reads the index, and brings it level with the log
                zeros = np.zeros((1, self._dimension), dtype=np.float32)
                self._collection.query(query_embeddings=zeros, n_results=1, include=["distances"])

    def _created(self) -> Any:
        return self._client.create_collection(
            self._name,
            configuration={"hnsw": {**INDEX, "sync_threshold": _LOGGED}},
            metadata=new_metadata(self._embedder, self._dimension),
            embedding_function=None,  # else it downloads a model
        )

    def _is_damage(self, failure: ChromaFailed) -> bool:
        said = str(failure).lower()
        usable = os.access(self.folder, os.R_OK | os.W_OK | os.X_OK)
        return usable and not any(words in said for words in _NOT_DAMAGE)

    def _shut(self) -> None:
        client, self._client, self._collection = self._client, None, None
        self.generation = ""
        if client is not None:
            with contextlib.suppress(ChromaFailed), chroma_errors():
                client.close()

    def _state(self) -> FolderState:
        try:
            return self._state_file.read()
        except OSError as error:
            raise self._unusable(error) from error

    def _tell(self, generation: str, *, writing: bool) -> None:
        """Writes the file beside the folder. The lock is held."""
        writer = os.getpid() if writing else 0
        self._state_file.write(FolderState(generation, writer, chroma_version()))

    @contextlib.contextmanager
    def _unavailable(self, done: str) -> Iterator[None]:
        try:
            yield
        except ChromaFailed as failure:
            self._shut()
            raise KnowledgeUnavailable(
                f"{self.folder} cannot be {done}: {failure}", hint=_FOLDER_HINT
            ) from failure

    def _unusable(self, error: OSError) -> KnowledgeUnavailable:
        return KnowledgeUnavailable(
            f"Vectors cannot be kept in {self.folder}: {error.strerror or error}",
            hint=_FOLDER_HINT,
        )


_FOLDER_HINT: Final = (
    "Make that folder writable or free some space, or set REVERIE_HOME to another folder"
)


def _spelled_anew(folder: Path) -> str:
    """The folder's path as nobody in this process has written it yet.

    chromadb keeps one client by the path's spelling, also one that could not be opened, and hands
    it out again: another store on the same folder, and opening anew, must not get that one.
    """
    bits = f"{uuid.uuid4().int & 0xFFFFFFFF:032b}"
    return str(folder) + "".join("//." if bit == "1" else "/." for bit in bits)
