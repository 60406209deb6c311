"""The chunks nearest in meaning, as a source of a search."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.library.filters import EVERYWHERE, Where
from reverie.knowledge.library.index import LibraryIndex
from reverie.knowledge.library.stored_vectors import StoredVectors
from reverie.knowledge.search.records import Query, Ranked, SearchSource


class VectorSource:
    """Ranks chunks by the cosine of their vectors. A ``SearchSource``.

    Asks the index; under a filter, and where the index cannot be used, it compares with every
    vector of ``library.sqlite``, which finds the same and takes longer.
    """

    name = "vector"
    wants_vector = True
    wants_found = False

    def __init__(
        self,
        stored: StoredVectors,
        index: LibraryIndex | None,
        embedder: str,
        where: Where = EVERYWHERE,
    ) -> None:
        self.warnings: list[str] = []
        self._stored = stored
        self._index = index
        self._embedder = embedder
        self._where = where

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> Sequence[Ranked]:
        """At most ``limit`` chunks, best first."""
        del found
        vector = query.vector
        if vector is None:
            return []
        if self._index is not None and not self._where:
            try:
                nearest = await self._index.nearest(vector, limit)
            except KnowledgeUnavailable as error:
                self.warnings.append(f"Without the index of vectors, exactly instead: {error}")
            else:
                if nearest is not None:
                    return nearest
        return await asyncio.to_thread(
            self._stored.nearest, vector, limit, self._embedder, where=self._where, after=None
        )


class Filtered:
    """Another source, of whose ranks only some chunks count. A ``SearchSource``."""

    def __init__(self, source: SearchSource, allowed: frozenset[str]) -> None:
        self.name = source.name
        self.wants_vector = source.wants_vector
        self.wants_found = source.wants_found
        self._source = source
        self._allowed = allowed

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> Sequence[Ranked]:
        """At most ``limit`` of the allowed chunks, of ten times as many that the source ranks."""
        ranked = await self._source.rank(query, 10 * limit, found)
        return [one for one in ranked if one.id in self._allowed][:limit]
