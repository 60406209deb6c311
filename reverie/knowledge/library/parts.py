"""What a library works with, opened when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reverie.knowledge.library.index import LibraryIndex
from reverie.knowledge.library.index_level import IndexLevel
from reverie.knowledge.library.store import LibraryStore
from reverie.knowledge.library.stored_vectors import StoredVectors

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
        self._embedder = embedder
        self._graph = graph
        self._vectors = vectors
        self._own: list[GraphStore | VectorStore] = []
        self._own_embedder: Embedder | None = None
        self._reranker: Reranker | None = None
        self._opening = asyncio.Lock()

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told of what was opened here."""
        own = [notice for part in self._own for notice in part.notices]
        return (*self.store.database.notices, *own)

    @property
    def has_vectors(self) -> bool:
        """Whether the store of vectors is open."""
        return self._vectors is not None

    async def embedder(self) -> Embedder:
        """Loaded. Raises ``ModelUnavailable`` and ``ConfigError``."""
        async with self._opening:
            if self._embedder is None:
                from reverie.models.embeddings import load_embedder

                self._embedder = await asyncio.to_thread(load_embedder, self.settings)
                self._own_embedder = self._embedder
        await self._embedder.load()
        return self._embedder

    def level(self, embedder: str) -> IndexLevel:
        """How far the index that the settings name has followed."""
        place = self.settings.chroma.url or "folder"
        return IndexLevel(self.store.database, f"{place} {embedder}")

    async def index(self, embedder: str, dimension: int) -> LibraryIndex:
        """Raises ``KnowledgeUnavailable``, and ``ConfigError`` where chromadb is missing."""
        async with self._opening:
            if self._vectors is None:
                from reverie.knowledge.vectors import open_vectors

                name = "documents"
                if self.settings.chroma.url is not None:  # which other homes may use too
                    name += f"-{await asyncio.to_thread(self.store.library_id)}"
                self._vectors = await open_vectors(
                    self.settings, name, embedder=embedder, dimension=dimension
                )
                self._own.append(self._vectors)
        return LibraryIndex(self.stored, self.level(embedder), self._vectors, embedder)

    async def graph(self, embedder: str, dimension: int) -> GraphStore:
        """Raises ``KnowledgeUnavailable``, and ``ConfigError`` where a package is missing."""
        async with self._opening:
            if self._graph is None:
                from reverie.knowledge.graph.open import open_graph

                self._graph = await open_graph(
                    self.settings, embedder=embedder, dimension=dimension
                )
                self._own.append(self._graph)
        return self._graph

    def reranker(self) -> Reranker | None:
        """None: the settings name none."""
        name = self.settings.search.rerank
        if name is not None and self._reranker is None:
            from reverie.knowledge.search.rerank import CrossEncoderReranker

            self._reranker = CrossEncoderReranker(name)
        return self._reranker

    async def close(self) -> None:
        """A second call does nothing."""
        own, self._own = self._own, []
        for part in own:
            await part.close()
        embedder, self._own_embedder = self._own_embedder, None
        if embedder is not None:
            await embedder.aclose()
        await asyncio.to_thread(self.store.close)
