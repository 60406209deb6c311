"""What of a file goes into the graph, and that it gets there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.rules import rule_batch
from reverie.knowledge.graph.records import Batch, Edge, Node, Span
from reverie.knowledge.graph.store import GraphStore
from reverie.knowledge.graph.triplet import Triplet, embedding_text, triplet_batch
from reverie.knowledge.library.records import KnownFile
from reverie.knowledge.library.store import LibraryStore
from reverie.knowledge.read.document import SourceDocument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.knowledge.extract.triplets import TripletExtractor
    from reverie.models.embedder import Embedder

_VERSION: Final = 1
"""Higher when the rules have changed so that files should be written to the graph again."""

_PROBED: Final = 20
"""Files whose presence in the graph is looked at before an ingest."""

Read = Sequence[tuple[SourceDocument, Sequence[Chunk]]]
"""A file's documents and their chunks."""


class LibraryGraph:
    """A ``GraphStore`` that follows the library."""

    def __init__(
        self,
        store: LibraryStore,
        graph: GraphStore,
        embedder: Embedder,
        extractor: TripletExtractor | None = None,
        model: str = "",
    ) -> None:
        """With ``extractor``, the triplets that ``model`` reads go into the graph too."""
        self._store = store
        self._graph = graph
        self._embedder = embedder
        self._extractor = extractor
        self._model = model

    async def check(self) -> str:
        """Whether the graph is the one that files were written to: if not, they are to be written
        again. Returns what to tell the user, if anything.
        """
        known = await asyncio.to_thread(self._store.known)
        graphed = [path for path, file in known.items() if file.graph in ("rules", "model")]
        step = max(1, len(graphed) // _PROBED)
        for path in graphed[::step]:
            documents = await asyncio.to_thread(self._store.document_paths, path)
            for document in documents[:1]:
                if await self._graph.source_version(document) is None:
                    count = await asyncio.to_thread(self._store.ungraph)
                    return (
                        f"The graph is another one, or was begun anew: {count:,} files are "
                        "written to it again, from library.sqlite."
                    )
        return ""

    async def forget(self) -> None:
        """Deletes what the library holds no more."""
        for path in await asyncio.to_thread(self._store.forgotten):
            await self._graph.delete_source(path)
            await asyncio.to_thread(self._store.remembered, path)

    async def write(self, path: str, digest: str, read: Read, extract: str) -> None:
        """Makes what was read of a file what the graph says of it; ``extract`` is "rules" or
        "model".
        """
        for name, parts in _by_path(read).items():
            version = f"{_VERSION} {extract} {self._model} {digest}"
            if await self._graph.source_version(name) == version:
                continue
            batch = await asyncio.to_thread(_rules, parts)
            if extract == "model":
                batch = _joined([batch, await self._triplets(name, parts)])
            await self._graph.replace_source(name, version, batch)
        await asyncio.to_thread(self._store.graphed, path, extract)

    async def _triplets(self, name: str, parts: Read) -> Batch:
        found: list[Triplet] = []
        for _, chunks in parts:
            for chunk in chunks:
                found += await self._extracted(chunk)
        if not found:
            return Batch()
        sourced = [replace(triplet, source=name) for triplet in found]
        vectors = await self._embedder.embed([embedding_text(triplet) for triplet in sourced])
        return await asyncio.to_thread(triplet_batch, sourced, vectors)

    async def _extracted(self, chunk: Chunk) -> list[Triplet]:
        """What the model reads from a chunk; what it read once is not asked again."""
        if self._extractor is None:
            return []
        stored = await asyncio.to_thread(self._store.extracted, chunk.id, self._model)
        if stored is not None:
            return [_triplet(fields) for fields in json.loads(stored)]
        triplets = await self._extractor.extract(chunk)
        text = json.dumps([asdict(triplet) for triplet in triplets])
        await asyncio.to_thread(self._store.keep_extracted, chunk.id, self._model, text)
        return triplets


def needs_graph(known: KnownFile, extract: str) -> bool:
    """Whether the graph lacks something of a file that has not changed."""
    if extract == "nothing":
        return False
    return known.graph not in (("model",) if extract == "model" else ("rules", "model"))


def _by_path(read: Read) -> dict[str, list[tuple[SourceDocument, Sequence[Chunk]]]]:
    """The documents that the graph knows by the same name, together."""
    parts: dict[str, list[tuple[SourceDocument, Sequence[Chunk]]]] = {}
    for document, chunks in read:
        parts.setdefault(document.path, []).append((document, chunks))
    return parts


def _rules(parts: Read) -> Batch:
    return _joined([rule_batch(document, chunks) for document, chunks in parts])


def _joined(batches: Sequence[Batch]) -> Batch:
    """All of them as one: of nodes with the same id the first."""
    if len(batches) == 1:
        return batches[0]
    nodes: dict[str, Node] = {}
    node_vectors: dict[str, NDArray[np.float32]] = {}
    edges: list[Edge] = []
    edge_vectors: dict[int, NDArray[np.float32]] = {}
    for batch in batches:
        for node in batch.nodes:
            nodes.setdefault(node.id, node)
        node_vectors.update(batch.node_vectors)
        edge_vectors.update({len(edges) + n: v for n, v in batch.edge_vectors.items()})
        edges += batch.edges
    return Batch(tuple(nodes.values()), edges, node_vectors, edge_vectors)


def _triplet(fields: dict[str, Any]) -> Triplet:
    span = fields.pop("span")
    return Triplet(**fields, span=None if span is None else Span(**span))
