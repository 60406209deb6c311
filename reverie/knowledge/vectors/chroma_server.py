"""Vectors on a server that ``chroma run`` started."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reverie.knowledge.vectors.checks import batches, checked_entries, checked_ids, checked_vector
from reverie.knowledge.vectors.chroma import (
    INDEX,
    check_collection,
    collection_name,
    epoch_of,
    hits_of,
    new_metadata,
    records_of,
    upsert_arguments,
    where_argument,
)
from reverie.knowledge.vectors.chroma_connection import ChromaConnection, ChromaRefused
from reverie.knowledge.vectors.store import VectorHit, VectorRecord, Where
from reverie.settings.knowledge import ChromaSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH: Final = 300
"""Records of one request: 1 MB of JSON or so."""

T = TypeVar("T")


class ChromaServerVectors:
    """A ``VectorStore`` on a server. Get one with ``open``; ``close`` it. Usable from several event
    loops. A server that was restarted is found again by the next call.
    """

    notices: Sequence[str] = ()

    def __init__(
        self, connection: ChromaConnection, name: str, embedder: str, dimension: int
    ) -> None:
        self._connection = connection
        self._name = collection_name(name, embedder)
        self._embedder = embedder
        self._dimension = dimension
        self._model: Any = None

    @classmethod
    async def open(
        cls, settings: ChromaSettings, name: str, *, embedder: str, dimension: int
    ) -> ChromaServerVectors:
        """Opens or creates the vectors called ``name``, of ``embedder``, on ``settings.url``.

        Raises ``KnowledgeUnavailable`` and, where chromadb is missing, ``ConfigError``.
        """
        store = cls(await ChromaConnection.open(settings), name, embedder, dimension)
        try:
            await store.epoch()
        except BaseException:
            await store.close()
            raise
        return store

    async def epoch(self) -> str:
        model = await self._connection.ask(self._opened)
        return epoch_of(model.metadata)

    async def write(self, records: Sequence[VectorRecord], vectors: NDArray[np.float32]) -> None:
        entries, rows = await asyncio.to_thread(checked_entries, records, vectors, self._dimension)
        for positions in batches(range(len(entries)), _BATCH):
            start, end = positions[0], positions[-1] + 1
            await self._on_collection(partial(_upserted, entries[start:end], rows[start:end]))

    async def delete(self, ids: Sequence[str]) -> None:
        for part in batches(checked_ids(ids), _BATCH):
            await self._on_collection(partial(_deleted, list(part)))

    async def search(
        self, vector: NDArray[np.float32], *, limit: int = 10, where: Where | None = None
    ) -> list[VectorHit]:
        query = checked_vector(vector, self._dimension)
        wanted, possible = where_argument(where)
        if limit < 1 or not possible:
            return []
        found = await self._on_collection(
            lambda collection: collection.query(
                query_embeddings=query[None, :],
                n_results=limit,
                where=wanted,
                include=["documents", "metadatas", "distances"],
            )
        )
        return hits_of(found)

    async def get(self, ids: Sequence[str]) -> dict[str, VectorRecord]:
        records: dict[str, VectorRecord] = {}
        for part in batches(checked_ids(ids), _BATCH):
            records |= records_of(await self._on_collection(partial(_got, list(part))))
        return records

    async def count(self) -> int:
        return int(await self._on_collection(lambda collection: collection.count()))

    async def clear(self) -> None:
        from chromadb.errors import NotFoundError

        async def emptied() -> None:
            with contextlib.suppress(NotFoundError):
                await self._connection.api.delete_collection(self._name)
            await self._opened()

        await self._connection.ask(emptied)

    async def close(self) -> None:
        await self._connection.close()

    # -- inside ------------------------------------------------------------------------------------

    async def _on_collection(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """``work`` on the collection; when that is no longer there, on a new one."""
        from chromadb.api.models.AsyncCollection import AsyncCollection
        from chromadb.errors import NotFoundError

        async def worked() -> T:
            model = self._model or await self._opened()
            api = self._connection.api
            try:
                return await work(AsyncCollection(api, model, embedding_function=None))
            except NotFoundError:
                model = await self._opened()
                return await work(AsyncCollection(api, model, embedding_function=None))

        try:
            return await self._connection.ask(worked)
        except NotFoundError as error:  # it was removed a second time
            raise ChromaRefused(self._connection.url, str(error)) from error

    async def _opened(self) -> Any:
        """The collection as the server has it now, created when it is not there."""
        from chromadb.errors import ChromaError, NotFoundError

        api = self._connection.api
        try:
            model = await api.get_collection(self._name)
        except NotFoundError:
            try:
                model = await api.create_collection(
                    self._name,
                    configuration={"hnsw": dict(INDEX)},
                    metadata=new_metadata(self._embedder, self._dimension),
                )
            except ChromaError:  # another process was faster
                model = await api.get_collection(self._name)
        place = f"Chroma at {self._connection.url}"
        check_collection(model.metadata, self._embedder, self._dimension, place)
        self._model = model
        return model


async def _upserted(
    records: Sequence[VectorRecord], rows: NDArray[np.float32], collection: Any
) -> None:
    ids = [record.id for record in records]
    before = await collection.get(ids=ids, include=["metadatas"])
    await collection.upsert(**upsert_arguments(records, rows, before))


async def _deleted(ids: list[str], collection: Any) -> None:
    await collection.delete(ids=ids)


async def _got(ids: list[str], collection: Any) -> Any:
    return await collection.get(ids=ids, include=["documents", "metadatas"])
