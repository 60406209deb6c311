"""How similar procedures are to a task: the cosine of their embeddings.

Few are compared one by one, which takes less than a millisecond for hundreds. From ``INDEX_FROM``
procedures on Chroma is asked, where chromadb is installed, or a server is set. SQLite stays the
source of truth: vectors are kept there, and the index is filled from it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from reverie.errors import KnowledgeUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.knowledge.sops.book import SopBook
    from reverie.knowledge.sops.records import StoredSop
    from reverie.models.embedder import Embedder
    from reverie.settings import Settings

INDEX_FROM: Final = 256
"""Procedures below which they are compared one by one."""
NEAREST: Final = 64
"""How many of the book the index has to find; the similarity of others counts as 0."""

_ASKED: Final = 4 * NEAREST
_COLLECTION: Final = "sops"


async def sop_vectors(
    book: SopBook, stored: Sequence[StoredSop], embedder: Embedder
) -> dict[str, NDArray[np.float32]]:
    """The vectors [D] of procedures, by key. Embeds and stores those that are missing."""
    await embedder.load()
    kept = await book.vectors(embedder.name)
    # Another model may be served under the same name: vectors of another length are made anew.
    known = {key: vector for key, vector in kept.items() if len(vector) == embedder.dimension}
    missing = [one for one in stored if one.key not in known]
    if missing:
        made = await embedder.embed([one.sop.text for one in missing])
        new = {one.key: vector for one, vector in zip(missing, made, strict=True)}
        await book.keep_vectors(embedder.name, new)
        known |= new
    return {one.key: known[one.key] for one in stored}


async def similarities(
    task: NDArray[np.float32],
    book: SopBook,
    stored: Sequence[StoredSop],
    embedder: Embedder,
    settings: Settings,
    *,
    index_from: int = INDEX_FROM,
) -> dict[str, float]:
    """The cosine between ``task`` [D] and each procedure, by key; with an index, of the nearest."""
    vectors = await sop_vectors(book, stored, embedder)
    if len(stored) >= index_from and _has_index(settings):
        try:
            found = await _from_index(task, stored, vectors, embedder, settings)
        except KnowledgeUnavailable:
            found = {}  # compared one by one, which finds the same
        # Versions of before, and of other homes on the same server, may be nearer than the own.
        if len(found) >= min(NEAREST, len(stored)):
            return found
    return {key: float(vector @ task) for key, vector in vectors.items()}


async def _from_index(
    task: NDArray[np.float32],
    stored: Sequence[StoredSop],
    vectors: dict[str, NDArray[np.float32]],
    embedder: Embedder,
    settings: Settings,
) -> dict[str, float]:
    import numpy as np

    from reverie.knowledge.vectors import open_vectors
    from reverie.knowledge.vectors.store import VectorRecord

    store = await open_vectors(
        settings, _COLLECTION, embedder=embedder.name, dimension=embedder.dimension
    )
    try:
        there = await store.get([one.key for one in stored])
        missing = [one for one in stored if one.key not in there]
        if missing:
            records = [
                VectorRecord(
                    one.key, one.sop.text, {"name": one.name, "category": one.sop.category}
                )
                for one in missing
            ]
            await store.write(records, np.stack([vectors[one.key] for one in missing]))
        found = await store.search(task, limit=_ASKED)
    finally:
        await store.close()
    known = {one.key for one in stored}
    return {hit.record.id: hit.similarity for hit in found if hit.record.id in known}


def _has_index(settings: Settings) -> bool:
    return importlib.util.find_spec("chromadb") is not None or settings.chroma.url is not None
