"""What of a file goes into the graph, and that it gets there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError, ModelUnavailable, ReverieError
from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.resolve import resolve_entities
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

_VERSION: Final = 2
"""Higher when the rules have changed so that files should be written to the graph again."""

_PROBED: Final = 20
"""Files whose presence in the graph is looked at before an ingest."""

_MOST_RESOLVED: Final = 500_000
"""Nodes and edges of a graph that is looked through for names of the same thing: 5 s."""

_GONE_AFTER: Final = 3
"""Chunks in a row for which the model could not be reached."""

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
        self._unreached = 0
        """Chunks in a row, up to the latest one."""

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

    async def write(self, path: str, digest: str, read: Read, extract: str) -> str:
        """Makes what was read of a file what the graph says of it; ``extract`` is "rules" or
        "model". Chunks for which the model could not be reached are left to the next ingest.
        Returns what to tell the user, if anything.
        """
        errors: list[ReverieError] = []
        done = extract
        has_gone = self._unreached >= _GONE_AFTER  # which was told
        for name, parts in _by_path(read).items():
            if await self._graph.source_version(name) == self._version(extract, digest):
                continue
            batch = await asyncio.to_thread(_rules, parts)
            written = extract
            if extract == "model":
                triplets, missed = await self._triplets(name, parts)
                batch = _joined([batch, triplets])
                errors += missed
                if any(isinstance(error, ModelUnavailable) for error in missed):
                    written = done = "rules"
            # First, so that a run that is killed in between leaves nothing out.
            await asyncio.to_thread(self._store.unresolve, _ends(batch))
            await self._graph.replace_source(name, self._version(written, digest), batch)
        await asyncio.to_thread(self._store.graphed, path, done)
        if not errors or has_gone:
            return ""
        later = " The next ingest asks again." if done != extract else ""
        return f"{path}: the model did not read {len(errors):,} chunks: {errors[0]}{later}"

    async def resolve(self) -> str:
        """Looks for other names of the things that came since it last did. Returns what to tell the
        user, if anything.
        """
        things = await asyncio.to_thread(self._store.unresolved)
        if not things:
            return ""
        try:
            size = await self._graph.size()
            if sum(size.nodes.values()) + sum(size.edges.values()) > _MOST_RESOLVED:
                return (
                    "The graph is too large to be looked through for names of the same thing "
                    "after every ingest."
                )
            await resolve_entities(self._graph, self._embedder, only=things)
        except ReverieError as error:
            return f"Names of the same thing are looked for by the next ingest: {error}"
        await asyncio.to_thread(self._store.resolved, things)
        return ""

    def _version(self, extract: str, digest: str) -> str:
        return f"{_VERSION} {extract} {self._model} {digest}"

    async def _triplets(self, name: str, parts: Read) -> tuple[Batch, list[ReverieError]]:
        """What the model reads, and why it did not read some of the chunks."""
        chunks = [chunk for _, some in parts for chunk in some]
        by_chunk, errors = await self._extracted(chunks)
        found = [
            replace(triplet, source=name)
            for chunk in chunks
            for triplet in by_chunk.get(chunk.id, ())
        ]
        if not found:
            return Batch(), errors
        vectors = await self._embedder.embed([embedding_text(triplet) for triplet in found])
        return await asyncio.to_thread(triplet_batch, found, vectors), errors

    async def _extracted(
        self, chunks: Sequence[Chunk]
    ) -> tuple[dict[str, Sequence[Triplet]], list[ReverieError]]:
        """What the model reads from chunks, several at a time; what it read once is not asked
        again. A model that has gone is asked no more.
        """
        stored = await asyncio.to_thread(
            self._store.extracted, [chunk.id for chunk in chunks], self._model
        )
        found: dict[str, Sequence[Triplet]] = {
            key: [_triplet(fields) for fields in json.loads(text)] for key, text in stored.items()
        }
        asked = [chunk for chunk in chunks if chunk.id not in found]
        if self._extractor is None or not asked:
            return found, []
        if self._unreached >= _GONE_AFTER:
            gone = ModelUnavailable("it could not be reached before")
            return found, [gone] * len(asked)
        errors: list[ReverieError] = []
        async with aclosing(self._extractor.extract_all(asked)) as extractions:
            async for one in extractions:
                if isinstance(one.error, ConfigError):
                    raise one.error
                gone_now = isinstance(one.error, ModelUnavailable)
                self._unreached = self._unreached + 1 if gone_now else 0
                if one.error is not None:
                    errors.append(one.error)
                    continue
                found[one.chunk.id] = one.triplets
                text = json.dumps([asdict(triplet) for triplet in one.triplets])
                key = one.chunk.id
                await asyncio.to_thread(self._store.keep_extracted, key, self._model, text)
        return found, errors


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


def _ends(batch: Batch) -> set[str]:
    """Of its edges, those that can be things."""
    ends = {end for edge in batch.edges for end in (edge.start, edge.end)}
    return {end for end in ends if not end.startswith(("chunk:", "document:"))}


def _triplet(fields: dict[str, Any]) -> Triplet:
    span = fields.pop("span")
    return Triplet(**fields, span=None if span is None else Span(**span))
