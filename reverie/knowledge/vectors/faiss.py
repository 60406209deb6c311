"""Vectors in memory with FAISS, for what is searched much and written seldom."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.vectors.checks import (
    alternatives,
    checked_entries,
    checked_ids,
    checked_vector,
)
from reverie.knowledge.vectors.faiss_file import Saved, load_index, save_index
from reverie.knowledge.vectors.postings import Postings
from reverie.knowledge.vectors.store import VectorHit, VectorRecord, Where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["flat", "hnsw"]
"""``flat`` compares with every vector; ``hnsw`` (Malkov and Yashunin 2018) walks a graph, faster
from some ten thousand vectors on, and may miss some."""

_NEIGHBOURS: Final = 32
_EF_CONSTRUCTION: Final = 200
_EF_SEARCH: Final = 128
_EXACT_BELOW: Final = 4000
"""Records that pass a filter below which they are compared one by one, also with ``hnsw``: a graph
in which most nodes are forbidden finds little."""
_MOST_DEAD: Final = 0.25
"""Share of removed vectors in the index from which on it is built anew."""
_FEW: Final = 64

T = TypeVar("T")


class FaissVectors:
    """A ``VectorStore`` in memory; ``save`` and ``load`` keep it in a folder. Usable from several
    threads and event loops; one operation at a time.
    """

    notices: Sequence[str] = ()

    def __init__(self, *, embedder: str, dimension: int, kind: Kind = "flat") -> None:
        """The first use imports faiss, and raises ``ConfigError`` where it is missing."""
        self.embedder = embedder
        self.dimension = dimension
        self.kind = kind
        self._lock = threading.Lock()
        self._closed = False
        self._epoch = uuid.uuid4().hex
        self._faiss: Any = None
        self._index: Any = None
        self._name_rows([])

    async def epoch(self) -> str:
        return self._epoch

    async def write(self, records: Sequence[VectorRecord], vectors: NDArray[np.float32]) -> None:
        await self._run(self._write, records, vectors)

    async def delete(self, ids: Sequence[str]) -> None:
        await self._run(self._delete, ids)

    async def search(
        self, vector: NDArray[np.float32], *, limit: int = 10, where: Where | None = None
    ) -> list[VectorHit]:
        return await self._run(self._search, vector, limit, where)

    async def get(self, ids: Sequence[str]) -> dict[str, VectorRecord]:
        return await self._run(self._get, ids)

    async def count(self) -> int:
        return await self._run(lambda: len(self._rows))

    async def clear(self) -> None:
        await self._run(self._clear)

    async def close(self) -> None:
        """Forgets everything; ``save`` it before."""
        self._closed = True
        await asyncio.to_thread(self._forget)

    async def save(self, folder: Path) -> None:
        """Writes everything into ``folder``, in place of what was saved there: all of it, or, when
        that fails, nothing. Raises ``KnowledgeUnavailable``.
        """
        await self._run(self._save, folder)

    @classmethod
    async def load(cls, folder: Path, *, embedder: str, dimension: int) -> FaissVectors:
        """What was saved in ``folder``. Raises ``KnowledgeUnavailable`` when there is nothing, it
        is damaged, or was made by another embedder.
        """
        return await asyncio.to_thread(cls._load, folder, embedder, dimension)

    # -- inside ------------------------------------------------------------------------------------

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.to_thread(self._locked, work, *arguments)

    def _locked(self, work: Callable[..., T], *arguments: Any) -> T:
        with self._lock:
            if self._closed:
                raise KnowledgeUnavailable("These vectors are closed", hint="Load them again")
            if self._index is None:
                self._faiss = _import_faiss()
                self._index = self._new_index()
            return work(*arguments)

    def _clear(self) -> None:
        self._epoch = uuid.uuid4().hex
        self._index = self._new_index()
        self._name_rows([])

    def _forget(self) -> None:
        with self._lock:
            self._index = None
            self._name_rows([])

    def _new_index(self) -> Any:
        faiss = self._faiss
        if self.kind == "flat":
            return faiss.IndexFlatIP(self.dimension)
        index = faiss.IndexHNSWFlat(self.dimension, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _EF_CONSTRUCTION
        return index

    def _write(self, records: Sequence[VectorRecord], vectors: NDArray[np.float32]) -> None:
        entries, rows = checked_entries(records, vectors, self.dimension)
        if not entries:
            return
        first = self._index.ntotal
        self._index.add(rows)
        for row, record in enumerate(entries, first):
            self._remove(record.id)
            self._keep(row, record)
        self._compact()

    def _delete(self, ids: Sequence[str]) -> None:
        for name in checked_ids(ids):
            self._remove(name)
        self._compact()

    def _remove(self, name: str) -> None:
        row = self._rows.pop(name, None)
        if row is not None:
            self._postings.remove(row, self._records.pop(row).metadata)

    def _compact(self) -> None:
        """Builds the index anew without what was removed, when that is much of it."""
        total = self._index.ntotal
        if total - len(self._records) > max(_FEW, _MOST_DEAD * total):
            self._rebuild()

    def _rebuild(self) -> None:
        vectors = self._vectors(list(self._records))
        self._index = self._new_index()
        self._index.add(vectors)
        self._name_rows(list(self._records.values()))

    def _name_rows(self, records: list[VectorRecord]) -> None:
        """Keeps the records of the index, which are all of its rows in order."""
        self._records: dict[int, VectorRecord] = {}
        """By row of the index, ascending; without those that were removed."""
        self._rows: dict[str, int] = {}
        self._postings = Postings()
        for row, record in enumerate(records):
            self._keep(row, record)

    def _keep(self, row: int, record: VectorRecord) -> None:
        self._records[row] = record
        self._rows[record.id] = row
        self._postings.add(row, record.metadata)

    def _vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """The stored vectors of these rows, [n, D]."""
        import numpy as np

        chosen = np.asarray(rows, dtype=np.int64)
        stored: NDArray[np.float32] = self._index.reconstruct_batch(chosen)
        return stored

    def _search(
        self, vector: NDArray[np.float32], limit: int, where: Where | None
    ) -> list[VectorHit]:
        query = checked_vector(vector, self.dimension)
        wanted = alternatives(where or {})
        if limit < 1 or not self._records:
            return []
        if wanted:
            allowed = sorted(self._postings.matching(wanted))
            few = len(allowed) < _EXACT_BELOW
            found = (self._compared if few else self._asked)(query, allowed, limit)
        elif len(self._records) < self._index.ntotal:
            found = self._asked(query, list(self._records), limit)
        else:
            found = self._asked(query, None, limit)
        return [
            VectorHit(self._records[row], min(1.0, max(-1.0, similarity)))
            for row, similarity in found
        ]

    def _compared(
        self, query: NDArray[np.float32], rows: list[int], limit: int
    ) -> list[tuple[int, float]]:
        import numpy as np

        if not rows:
            return []
        similarities = self._vectors(rows) @ query
        best = np.argsort(-similarities, kind="stable")[:limit]
        return [(rows[place], float(similarities[place])) for place in best]

    def _asked(
        self, query: NDArray[np.float32], allowed: list[int] | None, limit: int
    ) -> list[tuple[int, float]]:
        """The index's answer; ``allowed`` are the rows that may be in it, None for all."""
        import numpy as np

        faiss = self._faiss
        total = self._index.ntotal
        count = min(limit, total if allowed is None else len(allowed))
        selector = None
        if allowed is not None:
            mask = np.zeros(total, dtype=np.bool_)
            mask[allowed] = True
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        if self.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(
                sel=selector, efSearch=max(_EF_SEARCH, 2 * count)
            )
        else:
            parameters = faiss.SearchParameters(sel=selector)
        scores, rows = self._index.search(query[None, :], count, params=parameters)
        return [
            (int(row), float(score))
            for row, score in zip(rows[0], scores[0], strict=True)
            if row >= 0
        ]

    def _get(self, ids: Sequence[str]) -> dict[str, VectorRecord]:
        found: dict[str, VectorRecord] = {}
        for name in checked_ids(ids):
            row = self._rows.get(name)
            if row is not None:
                found[name] = self._records[row]
        return found

    def _save(self, folder: Path) -> None:
        if len(self._records) < self._index.ntotal:
            self._rebuild()
        records = list(self._records.values())
        saved = Saved(self.kind, self.embedder, self.dimension, self._epoch, records)
        save_index(folder, saved, self._faiss.serialize_index(self._index).tobytes())

    @classmethod
    def _load(cls, folder: Path, embedder: str, dimension: int) -> FaissVectors:
        saved, stored = load_index(folder)
        if (saved.embedder, saved.dimension) != (embedder, dimension):
            raise KnowledgeUnavailable(
                f"{folder} holds vectors of {saved.embedder} with {saved.dimension} numbers, not "
                f"of {embedder} with {dimension}",
                hint="Use the embedder that made them, or another folder",
            )
        store = cls(embedder=embedder, dimension=dimension, kind=_kind(saved.kind, folder))
        store._locked(store._restore, folder, saved, stored)
        return store

    def _restore(self, folder: Path, saved: Saved, stored: bytes) -> None:
        import numpy as np

        try:
            index = self._faiss.deserialize_index(np.frombuffer(stored, dtype=np.uint8))
        except RuntimeError as error:
            raise _unreadable(folder, str(error)) from error
        if (index.ntotal, index.d) != (len(saved.records), self.dimension):
            raise _unreadable(folder, f"{index.ntotal} vectors for {len(saved.records)} records")
        self._index = index
        self._epoch = saved.epoch
        self._name_rows(saved.records)


def _kind(kind: str, folder: Path) -> Kind:
    if kind == "flat":
        return "flat"
    if kind == "hnsw":
        return "hnsw"
    raise _unreadable(folder, f"an index of the unknown kind {kind!r}")


def _unreadable(folder: Path, why: str) -> KnowledgeUnavailable:
    return KnowledgeUnavailable(
        f"The saved vectors in {folder} cannot be read: {why}",
        hint="Remove that folder and save them again",
    )


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "FAISS is not installed", hint="pip install 'reverie[knowledge]'"
        ) from error
    return faiss
