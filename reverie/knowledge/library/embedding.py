"""Texts of chunks to stored vectors, several batches at a time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from reverie.errors import ModelRejected, OutputInvalid, ReverieError
from reverie.knowledge.library.events import Embedded
from reverie.knowledge.library.records import ReadFile
from reverie.knowledge.library.stored_vectors import StoredVectors
from reverie.models.embedder import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH: Final = 64
"""Texts of one call."""
_BLOCK: Final = 512
"""Texts between two transactions: what a killed run has to embed again."""
_MOST_AT_ONCE: Final = 4
"""Calls at once: the packaged embedder computes in one thread per call, servers batch them."""


class TextRefused(ReverieError):
    """The embedder does not take one of the texts, or returned nonsense for it."""


class TextEmbedding:
    """One embedder, and where its vectors are kept."""

    def __init__(self, stored: StoredVectors, embedder: Embedder) -> None:
        self.stored = stored
        self.embedder = embedder
        self._at_once = max(1, min(_MOST_AT_ONCE, os.cpu_count() or 1))

    async def embed(self, files: Sequence[ReadFile]) -> AsyncIterator[Embedded]:
        """Embeds and stores those texts of ``files`` that have no vector. Raises ``TextRefused``,
        and ``ModelUnavailable`` when the embedder has gone.
        """
        texts = await asyncio.to_thread(_texts, files)
        missing = await asyncio.to_thread(self.stored.missing, texts, self.embedder.name)
        path = files[0].path if files else ""
        wanted = iter([(one, text) for one, text in texts.items() if one in missing])
        while block := dict(islice(wanted, _BLOCK)):
            yield await self._block(block, path)

    async def fill(self) -> AsyncIterator[Embedded]:
        """Embeds the chunks that are stored without a vector: of another embedder's library."""
        before: list[tuple[str, str]] = []
        while block := await asyncio.to_thread(self.stored.without, self.embedder.name, _BLOCK):
            if block == before:  # their vectors cannot be stored: rather end than go round
                return
            before = block
            yield await self._block(dict(block), "")

    async def _block(self, block: Mapping[str, str], path: str) -> Embedded:
        import numpy as np

        began = time.perf_counter()
        # Similar lengths together: a batch is padded to its longest.
        ordered = sorted(block, key=lambda one: len(block[one]))
        batches = [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
        free = asyncio.Semaphore(self._at_once)

        async def one(batch: Sequence[str]) -> NDArray[np.float32]:
            async with free:
                return await self.embedder.embed([block[hash_] for hash_ in batch])

        try:
            vectors = await asyncio.gather(*map(one, batches))
        except (ModelRejected, OutputInvalid) as error:
            raise TextRefused(error.message, hint=error.hint) from error
        seconds = time.perf_counter() - began
        await asyncio.to_thread(
            self.stored.keep, self.embedder.name, ordered, np.concatenate(vectors)
        )
        return Embedded(len(block), seconds, path)


def _texts(files: Sequence[ReadFile]) -> dict[str, str]:
    """By its hash, every text once."""
    return {
        one: chunk.embedding_text
        for file in files
        for chunks, hashes in zip(file.chunks, file.hashes, strict=True)
        for chunk, one in zip(chunks, hashes, strict=True)
    }
