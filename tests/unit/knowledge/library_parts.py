"""A library over real stores, with an embedder that hashes words and counts what it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.library import IngestEvent, Library
from reverie.knowledge.vectors import FaissVectors
from reverie.settings import Settings
from tests.unit.conftest import HashEmbedder


class CountingEmbedder(HashEmbedder):
    """Remembers every text; ``refuse`` makes it fail for texts that hold a word."""

    def __init__(self, name: str = "hashed words") -> None:
        self.name = name
        self.texts: list[str] = []
        self.error: Exception | None = None
        self.refuse = ""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.error is not None and any(self.refuse in text for text in texts):
            raise self.error
        self.texts += texts
        return await super().embed(texts)


class Parts:
    """The stores of one home."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.settings = settings
        self.embedder = CountingEmbedder()
        self.vectors: Any = FaissVectors(embedder="hashed words", dimension=64)
        self.options = options
        self.graph: Any = None

    @asynccontextmanager
    async def library(self) -> AsyncIterator[Library]:
        graph = self.graph or await SqliteGraph.open(
            self.settings.home / "graph.sqlite", embedder="hashed words", dimension=64
        )
        library = await Library.open(
            self.settings,
            embedder=self.embedder,  # type: ignore[arg-type]  # it needs no closing
            graph=graph,
            vectors=self.vectors,
            **self.options,
        )
        try:
            yield library
        finally:
            await library.close()
            if graph is not self.graph:
                await graph.close()

    async def ingest(self, *paths: Path, **options: Any) -> list[IngestEvent]:
        async with self.library() as library:
            return [event async for event in library.ingest(paths, **options)]

    async def found(self, query: str, **options: Any) -> list[str]:
        """Names of the files found, best first, each once."""
        async with self.library() as library:
            result = await library.search(query, **options)
        return list(dict.fromkeys(Path(hit.metadata["path"]).name for hit in result.hits))


def of(events: Sequence[IngestEvent], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


def names(events: Sequence[IngestEvent], kind: str) -> list[str]:
    return [Path(event.path).name for event in of(events, kind)]
