"""One search over the library: which sources there are for it, and what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reverie.errors import ConfigError, KnowledgeUnavailable, ReverieError
from reverie.knowledge.library.filters import Where
from reverie.knowledge.library.fulltext import FullTextSource
from reverie.knowledge.library.index import LibraryIndex
from reverie.knowledge.library.parts import Parts
from reverie.knowledge.library.sources import Filtered, VectorSource
from reverie.knowledge.search.records import Document, SearchResult, SearchSource

if TYPE_CHECKING:
    from reverie.models.embedder import Embedder


class LibrarySearch:
    """Meaning, words and graph over the chunks that ``where`` lets through."""

    def __init__(self, parts: Parts, where: Where, index_from: int) -> None:
        self._parts = parts
        self._where = where
        self._index_from = index_from
        self._warnings: list[str] = []
        self._errors: list[ReverieError] = []

    async def search(self, query: str, limit: int) -> SearchResult:
        """See ``Library.search``."""
        from reverie.knowledge.search.engine import HybridSearch

        section = self._parts.settings.search
        weights = {
            "vector": section.vector_weight,
            "fulltext": section.fulltext_weight,
            "graph": section.graph_weight,
        }
        if not any(weights.values()):
            raise ConfigError(
                "every way to search has the weight 0",
                hint="Raise search.vector_weight, search.fulltext_weight or search.graph_weight",
            )
        stored, _ = await asyncio.to_thread(self._parts.stored.embedder)
        found = (
            await self._by_meaning() if weights["vector"] and stored else None,
            FullTextSource(self._parts.store.database, self._where),
            await self._by_graph() if weights["graph"] else None,
        )
        sources: list[SearchSource] = [one for one in found if one and weights[one.name]]
        if not sources:
            if self._errors:  # every way that there is failed
                raise self._errors[0]
            return SearchResult(query, ())
        engine = HybridSearch(
            sources,
            {source.name: weights[source.name] for source in sources},
            self._texts,
            await self._parts.embedder() if found[0] else None,
            self._parts.reranker(),
        )
        result = await engine.search(query, limit=limit)
        said = [*self._warnings, *(found[0].warnings if found[0] else ())]
        return replace(result, warnings=(*said, *result.warnings))

    async def _by_meaning(self) -> VectorSource | None:
        try:
            embedder: Embedder = await self._parts.embedder()
            await asyncio.to_thread(self._parts.stored.check, embedder.name, embedder.dimension)
        except ReverieError as error:
            self._failed("Without the search by meaning", error)
            return None
        index = await self._index()
        return VectorSource(self._parts.stored, index, embedder.name, self._where)

    async def _index(self) -> LibraryIndex | None:
        """None: comparing with every vector finds the same, and is fast or the only way."""
        size = await asyncio.to_thread(self._parts.store.size)
        if self._where or (not self._parts.has_vectors and size["chunks"] < self._index_from):
            return None
        try:
            return await self._parts.index()
        except ConfigError:  # chromadb is missing: the ingest has said it
            return None
        except KnowledgeUnavailable as error:
            self._warnings.append(f"Without the index of vectors, exactly instead: {error}")
            return None

    async def _by_graph(self) -> SearchSource | None:
        from reverie.knowledge.search.graph_walk import GraphWalk

        if not await asyncio.to_thread(self._parts.store.has_graph):
            return None
        try:
            graph = await self._parts.graph()
        except (KnowledgeUnavailable, ConfigError) as error:
            self._failed("Without the graph", error)
            return None
        walk = GraphWalk(graph)
        if not self._where:
            return walk
        return Filtered(walk, await asyncio.to_thread(self._parts.store.keys, self._where))

    def _failed(self, said: str, error: ReverieError) -> None:
        self._warnings.append(f"{said}: {error}")
        self._errors.append(error)

    async def _texts(self, keys: Sequence[str]) -> Mapping[str, Document]:
        return await asyncio.to_thread(self._parts.store.texts, keys)
