"""The vectors of a home: in a folder, or on the Chroma server of the settings."""

from __future__ import annotations

from reverie.knowledge.vectors.store import VectorStore
from reverie.settings import Settings

FOLDER = "vectors"
"""In the home; every store has a folder of its own in it."""


async def open_vectors(
    settings: Settings, name: str, *, embedder: str, dimension: int
) -> VectorStore:
    """The vectors called ``name``, of ``embedder``, [``dimension``]: on the server
    ``settings.chroma.url``, else in a folder under ``settings.home``.

    Several homes that use one server share what has the same name. Raises ``KnowledgeUnavailable``,
    and ``ConfigError`` where chromadb is missing.
    """
    if settings.chroma.url is not None:
        from reverie.knowledge.vectors.chroma_server import ChromaServerVectors

        return await ChromaServerVectors.open(
            settings.chroma, name, embedder=embedder, dimension=dimension
        )
    from reverie.knowledge.vectors.chroma_store import ChromaFolderVectors

    return await ChromaFolderVectors.open(
        settings.home / FOLDER, name, embedder=embedder, dimension=dimension
    )
