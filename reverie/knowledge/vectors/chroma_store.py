"""Vectors in a folder, with Chroma in this process. Several processes may use the folder."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.vectors.checks import batches, checked_entries, checked_ids, checked_vector
from reverie.knowledge.vectors.chroma import (
    MOST_BATCH,
    collection_name,
    hits_of,
    records_of,
    upsert_arguments,
    where_argument,
)
from reverie.knowledge.vectors.chroma_folder import WAIT_SECONDS, ChromaFolder
from reverie.knowledge.vectors.store import VectorHit, VectorRecord, Where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")


class ChromaFolderVectors:
    """A ``VectorStore`` in a folder. Get one with ``open``; ``close`` it. Usable from several event
    loops: Chroma runs in one thread of its own.
    """

    def __init__(self, folder: ChromaFolder, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._notices: list[str] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reverie-chroma")
        self._closed = False

    @classmethod
    async def open(
        cls,
        root: Path,
        name: str,
        *,
        embedder: str,
        dimension: int,
        wait_seconds: float = WAIT_SECONDS,
    ) -> ChromaFolderVectors:
        """Opens or creates the vectors called ``name``, of ``embedder``, in a folder in ``root``.

        ``wait_seconds`` is how long to wait for another process that writes; then
        ``KnowledgeUnavailable`` names it. A folder that Chroma cannot read is set aside and an
        empty one begun; ``notices`` says so. Raises ``ConfigError`` where chromadb is missing.
        """
        collection = collection_name(name, embedder)
        folder = ChromaFolder(
            root / collection,
            collection,
            embedder=embedder,
            dimension=dimension,
            wait_seconds=wait_seconds,
        )
        store = cls(folder, dimension)
        try:
            await store.count()
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def notices(self) -> Sequence[str]:
        return tuple(self._notices)

    async def epoch(self) -> str:
        return await self._run(self._folder.read, lambda _: self._folder.epoch)

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
        return await self._run(self._folder.read, lambda collection: int(collection.count()))

    async def clear(self) -> None:
        await self._run(self._folder.clear)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.wrap_future(self._thread.submit(self._folder.close))
            self._thread.shutdown(wait=False)

    # -- inside ------------------------------------------------------------------------------------

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._closed:
            raise KnowledgeUnavailable(
                f"{self._folder.folder} is closed", hint="Open the store again"
            )
        return await asyncio.wrap_future(self._thread.submit(self._worked, work, *arguments))

    def _worked(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return work(*arguments)
        finally:
            why, self._folder.anew = self._folder.anew, ""
            if why:
                self._notices.append(f"{self._folder.folder} was begun anew: {why}")

    def _write(self, records: Sequence[VectorRecord], vectors: NDArray[np.float32]) -> None:
        entries, rows = checked_entries(records, vectors, self._dimension)
        for positions in batches(range(len(entries)), MOST_BATCH):
            part = entries[positions[0] : positions[-1] + 1]
            self._folder.write(
                functools.partial(self._upsert, part, rows[positions[0] : positions[-1] + 1])
            )

    def _upsert(
        self, records: list[VectorRecord], rows: NDArray[np.float32], collection: Any
    ) -> None:
        most = self._folder.most_batch()
        for positions in batches(range(len(records)), most):
            part = records[positions[0] : positions[-1] + 1]
            before = collection.get(ids=[record.id for record in part], include=["metadatas"])
            embeddings = rows[positions[0] : positions[-1] + 1]
            collection.upsert(**upsert_arguments(part, embeddings, before))

    def _delete(self, ids: Sequence[str]) -> None:
        for part in batches(checked_ids(ids), MOST_BATCH):
            self._folder.write(functools.partial(_deleted, list(part)))

    def _search(
        self, vector: NDArray[np.float32], limit: int, where: Where | None
    ) -> list[VectorHit]:
        query = checked_vector(vector, self._dimension)
        wanted, possible = where_argument(where)
        if limit < 1 or not possible:
            return []
        found = self._folder.read(
            lambda collection: collection.query(
                query_embeddings=query[None, :],
                n_results=limit,
                where=wanted,
                include=["documents", "metadatas", "distances"],
            )
        )
        return hits_of(found)

    def _get(self, ids: Sequence[str]) -> dict[str, VectorRecord]:
        records: dict[str, VectorRecord] = {}
        for part in batches(checked_ids(ids), MOST_BATCH):
            records |= records_of(self._folder.read(functools.partial(_got, list(part))))
        return records


def _deleted(ids: list[str], collection: Any) -> None:
    collection.delete(ids=ids)


def _got(ids: list[str], collection: Any) -> Any:
    return collection.get(ids=ids, include=["documents", "metadatas"])
