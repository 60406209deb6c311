"""What a library works with, opened when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reverie.knowledge.library.index import LibraryIndex
from reverie.knowledge.library.index_level import IndexLevel
from reverie.knowledge.library.store import LibraryStore
from reverie.knowledge.library.stored_vectors import StoredVectors
from reverie.knowledge.once import Once

if TYPE_CHECKING:
    from reverie.knowledge.graph.store import GraphStore
    from reverie.knowledge.search.rerank import Reranker
    from reverie.knowledge.vectors.store import VectorStore
    from reverie.models.embedder import Embedder
    from reverie.settings import Settings


class Parts:
    """What is given stays open; what is opened here is closed here."""

    def __init__(
        self,
        settings: Settings,
        store: LibraryStore,
        *,
        embedder: Embedder | None,
        graph: GraphStore | None,
        vectors: VectorStore | None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.stored = StoredVectors(store.database)
        self._given_embedder = embedder
        self._given_graph = graph
        self._given_vectors = vectors
        # Not under locks of asyncio's: a library may be used from several event loops.
        self._embedder = Once(self._open_embedder)
        self._graph = Once(self._open_graph)
        self._vectors = Once(self._open_vectors)
        self._reranker: Reranker | None = None

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told of what was opened here."""
        opened = (self._vectors.opened, self._graph.opened)
        own = [notice for store in opened if store is not None for notice in store.notices]
        return (*self.store.database.notices, *own)

    @property
    def has_vectors(self) -> bool:
        """Whether the store of vectors is open."""
        return self._given_vectors is not None or self._vectors.opened is not None

    async def embedder(self) -> Embedder:
        """Loaded. Raises ``ModelUnavailable`` and ``ConfigError``."""
        embedder = self._given_embedder or await self._embedder.get()
        await embedder.load()
        return embedder

    def level(self, embedder: str) -> IndexLevel:
        """How far the index that the settings name has followed."""
        place = self.settings.chroma.url or "folder"
        return IndexLevel(self.store.database, f"{place} {embedder}")

    async def index(self) -> LibraryIndex:
        """For the embedder whose vectors count. Raises ``KnowledgeUnavailable``, and
        ``ConfigError`` where chromadb is missing.
        """
        vectors = self._given_vectors or await self._vectors.get()
        embedder, _ = await asyncio.to_thread(self.stored.embedder)
        return LibraryIndex(self.stored, self.level(embedder), vectors, embedder)

    async def graph(self) -> GraphStore:
        """Raises ``KnowledgeUnavailable``, and ``ConfigError`` where a package is missing."""
        return self._given_graph or await self._graph.get()

    def reranker(self) -> Reranker | None:
        """None: the settings name none."""
        name = self.settings.search.rerank
        if name is not None and self._reranker is None:
            from reverie.knowledge.search.rerank import CrossEncoderReranker

            self._reranker = CrossEncoderReranker(name)
        return self._reranker

    async def close(self) -> None:
        """A second call does nothing."""
        for once in (self._vectors, self._graph):
            store = once.taken()
            if store is not None:
                await store.close()
        embedder = self._embedder.taken()
        if embedder is not None:
            await embedder.aclose()
        await asyncio.to_thread(self.store.close)

    async def _open_embedder(self) -> Embedder:
        from reverie.models.embeddings import load_embedder

        return await asyncio.to_thread(load_embedder, self.settings)

    async def _open_vectors(self) -> VectorStore:
        from reverie.knowledge.vectors import open_vectors

        name = "documents"
        if self.settings.chroma.url is not None:  # which other homes may use too
            name += f"-{await asyncio.to_thread(self.store.library_id)}"
        embedder, dimension = await asyncio.to_thread(self.stored.embedder)
        return await open_vectors(self.settings, name, embedder=embedder, dimension=dimension)

    async def _open_graph(self) -> GraphStore:
        from reverie.knowledge.graph.open import open_graph

        embedder, dimension = await asyncio.to_thread(self.stored.embedder)
        return await open_graph(self.settings, embedder=embedder, dimension=dimension)
