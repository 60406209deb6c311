"""The index of vectors, kept level with the library and searched together with what it lacks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from reverie.knowledge.library.filters import EVERYWHERE
from reverie.knowledge.library.index_level import IndexLevel, Level
from reverie.knowledge.library.stored_vectors import StoredVectors
from reverie.knowledge.search.records import Ranked
from reverie.knowledge.vectors.store import VectorRecord, VectorStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH: Final = 1000
"""Changes that are written at once."""

_MOST_BEHIND: Final = 5000
"""Changes that are compared one by one beside the index; with more of them all chunks are."""


class LibraryIndex:
    """A ``VectorStore`` that follows the library's vectors of one embedder."""

    def __init__(
        self, stored: StoredVectors, level: IndexLevel, store: VectorStore, embedder: str
    ) -> None:
        self.store = store
        self._stored = stored
        self._level = level
        self._embedder = embedder

    async def follow(self, dimension: int, *, least: int = 1) -> str:
        """Writes what changed, when at least ``least`` chunks did; under the ingest's lock. Ends at
        a batch's end when cancelled, and goes on there. Returns what to tell the user, if anything.
        """
        level = await asyncio.to_thread(self._level.read)
        epoch = await self.store.epoch()
        said = ""
        if level is None or level.epoch != epoch:
            said = await self._restart(level)
            epoch = await self.store.epoch()
        elif level.behind < least:
            return ""
        while True:
            keys, last = await asyncio.to_thread(self._level.unseen, BATCH)
            if not keys:
                return said
            await self._write(keys, dimension)
            await asyncio.to_thread(self._level.advance, last, epoch)

    async def nearest(self, vector: NDArray[np.float32], limit: int) -> list[Ranked] | None:
        """The chunks nearest to ``vector`` [D], best first, those that the index has not seen among
        them. None when it has not seen too much: all of them are then compared faster.
        """
        level = await asyncio.to_thread(self._level.read)
        if level is None or level.behind > _MOST_BEHIND or level.epoch != await self.store.epoch():
            return None
        changed: frozenset[str] = frozenset()
        new: list[Ranked] = []
        if level.behind:
            keys, _ = await asyncio.to_thread(self._level.unseen, level.behind)
            changed = frozenset(keys)
            new = await asyncio.to_thread(
                self._stored.nearest,
                vector,
                limit,
                self._embedder,
                where=EVERYWHERE,
                after=level.seen,
            )
        hits = await self.store.search(vector, limit=limit + len(changed))
        old = [Ranked(hit.record.id, hit.similarity) for hit in hits]
        kept = [*new, *(one for one in old if one.id not in changed)]
        return sorted(kept, key=lambda one: (-one.score, one.id))[:limit]

    async def _restart(self, level: Level | None) -> str:
        """What it holds is nothing of ours, or not all of it."""
        await self.store.clear()
        count = await asyncio.to_thread(self._level.restart, await self.store.epoch())
        if level is None or not count:
            return ""
        return (
            f"The index of vectors is another one, or was begun anew: its {count:,} chunks are "
            "written to it again, from library.sqlite."
        )

    async def _write(self, keys: list[str], dimension: int) -> None:
        there, vectors = await asyncio.to_thread(
            self._stored.of_chunks, keys, self._embedder, dimension
        )
        if gone := set(keys) - {row[0] for row in there}:
            await self.store.delete(sorted(gone))
        if there:
            records = [
                VectorRecord(key, "", {"path": path, "kind": kind, "name": name})
                for key, path, kind, name in there
            ]
            await self.store.write(records, vectors)
