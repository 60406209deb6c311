"""A search engine over documents in memory, in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.search.documents import documents_of, searched_text
from reverie.knowledge.search.engine import HybridSearch
from reverie.knowledge.search.records import (
    Document,
    Ranked,
    SearchResult,
    SearchSource,
)
from reverie.models.embedder import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.knowledge.search.exact import EmbeddedTexts
    from reverie.knowledge.search.rerank import Reranker

SearchKind = Literal["vector", "bm25", "hybrid", "graph"]

SOURCES: Final[Mapping[SearchKind, tuple[str, ...]]] = {
    "vector": ("vector",),
    "bm25": ("bm25",),
    "hybrid": ("vector", "bm25"),
    "graph": ("vector", "bm25", "graph"),
}
"""What each kind of engine asks."""

WEIGHTS: Final[Mapping[str, float]] = {"vector": 1.0, "bm25": 1.0, "graph": 20.0}
"""The walk begins at what the other two found, so its list has taken theirs into account: one
place in it counts as much as ten in both of them. docs/search.md has measurements of others."""


def create_search_engine(
    kind: SearchKind,
    *,
    documents: Sequence[str | Mapping[str, Any] | Document],
    embedder: Embedder | None = None,
    vectors: NDArray[np.float32] | None = None,
    vector_weight: float | None = None,
    bm25_weight: float | None = None,
    graph_weight: float | None = None,
    reranker: Reranker | None = None,
) -> DocumentSearch:
    """An engine over ``documents``, which are indexed at the first search.

    ``kind`` is "vector" (by meaning), "bm25" (by words), "hybrid" (both, fused by rank) or "graph"
    (both, and a walk over the names that documents share, for questions whose answer lies in a
    document that another one leads to). A document is a string, a ``Document``, or a mapping with
    the fields of one; without an id it is called by its position, from "0".

    ``embedder`` is that of the settings unless given, the packaged MiniLM by default; ``vectors``
    ([N, D], length one, from it) spare embedding the documents. Weights are 0 or more, ``WEIGHTS``
    unless given; a source of weight 0 is not asked. Raises ConfigError.
    """
    if kind not in SOURCES:
        raise ConfigError(
            f"There is no search engine called {kind!r}",
            hint=f"It is one of: {', '.join(get_args(SearchKind))}",
        )
    given = {"vector": vector_weight, "bm25": bm25_weight, "graph": graph_weight}
    weights = {}
    for name, weight in given.items():
        if name in SOURCES[kind]:
            weights[name] = WEIGHTS[name] if weight is None else float(weight)
        elif weight is not None:
            raise ConfigError(
                f"The search engine {kind!r} has no {name}_weight",
                hint=f"Its sources are: {', '.join(SOURCES[kind])}",
            )
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"{name}_weight is {weight}", hint="A number, 0 or more")
    if not any(weights.values()):
        raise ConfigError("Every weight of the search is 0", hint="Give one above 0")
    read = documents_of(documents)
    if vectors is not None and len(vectors) != len(read):
        raise ConfigError(f"{len(read)} documents have {len(vectors)} vectors")
    return DocumentSearch(read, weights, embedder=embedder, vectors=vectors, reranker=reranker)


class DocumentSearch:
    """A ``SearchEngine`` over documents in memory. Get one with ``create_search_engine``.

    An asynchronous context manager: leaving it closes it.
    """

    def __init__(
        self,
        documents: Mapping[str, Document],
        weights: Mapping[str, float],
        *,
        embedder: Embedder | None = None,
        vectors: NDArray[np.float32] | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._documents = documents
        self._weights = weights
        self._embedder = embedder
        self._vectors = vectors
        self._reranker = reranker
        self._owned: Embedder | None = None
        self._search: HybridSearch | None = None
        self._texts_embedded: EmbeddedTexts | None = None
        self._indexing = asyncio.Lock()
        self._closed = False

    async def search(self, query: str, *, limit: int = 10) -> SearchResult:
        """At most ``limit`` hits, best first; none for an empty query.

        Raises ConfigError for a limit below 1, ModelUnavailable when there is only the search by
        meaning and the embedder fails, KnowledgeUnavailable when it is closed.
        """
        return await (await self._ready()).search(query, limit=limit)

    async def lists(self, query: str, *, limit: int = 50) -> dict[str, list[Ranked]]:
        """What each source finds, by its name, before fusion: what ``fit_weights`` is given. Raises
        also what the embedder raises: weights are not to be fitted without a source.
        """
        await self.index()
        return await (await self._ready()).lists(query, limit=limit)

    async def index(self) -> None:
        """Indexes the documents now, which the first search does otherwise. Raises also what the
        embedder raises, without which a search would do.
        """
        await self._ready()
        if self._texts_embedded is not None:
            await self._texts_embedded.index()

    async def close(self) -> None:
        """Releases the index; a second call does nothing."""
        self._closed = True
        self._search = None
        self._texts_embedded = None
        owned, self._owned = self._owned, None
        if owned is not None:
            await owned.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- inside ------------------------------------------------------------------------------------

    async def _ready(self) -> HybridSearch:
        if self._closed:
            raise KnowledgeUnavailable("The search engine is closed", hint="Create another one")
        if self._search is None:
            async with self._indexing:
                if self._search is None:
                    self._search = await self._indexed()
        return self._search

    async def _indexed(self) -> HybridSearch:
        ids = list(self._documents)
        texts = [searched_text(document) for document in self._documents.values()]
        sources: list[SearchSource] = []
        embedder = None
        if self._weights.get("vector"):
            embedder = await self._embedding()
            sources.append(await self._by_meaning(ids, texts, embedder))
        if self._weights.get("bm25"):
            from reverie.knowledge.search.bm25 import Bm25

            sources.append(await asyncio.to_thread(Bm25.build, ids, texts))
        if self._weights.get("graph"):
            from reverie.knowledge.search.document_graph import DocumentGraph, DocumentWalk

            documents = list(self._documents.values())
            graph = await asyncio.to_thread(DocumentGraph, documents)
            sources.append(DocumentWalk(ids, graph))
        return HybridSearch(sources, self._weights, self._texts, embedder, reranker=self._reranker)

    async def _by_meaning(
        self, ids: list[str], texts: list[str], embedder: Embedder
    ) -> SearchSource:
        from reverie.knowledge.search.exact import EmbeddedTexts, ExactVectors

        if self._vectors is not None:
            return await asyncio.to_thread(ExactVectors, ids, self._vectors)
        self._texts_embedded = EmbeddedTexts(ids, texts, embedder)
        return self._texts_embedded

    async def _embedding(self) -> Embedder:
        if self._embedder is not None:
            return self._embedder
        if self._owned is None:
            self._owned = await asyncio.to_thread(_embedder_of_settings)
        return self._owned

    async def _texts(self, ids: Sequence[str]) -> dict[str, Document]:
        return {text: self._documents[text] for text in ids}


def _embedder_of_settings() -> Embedder:
    from reverie.models.embeddings import load_embedder
    from reverie.settings import load_settings

    return load_embedder(load_settings().settings)
