"""What is measured of search: Reverie's engines, and its peers over the same vectors and words.

Chroma has its own index of the vectors. LangChain's and LlamaIndex's fusion get their two lists
from the sources that Reverie's hybrid search asks, wrapped as their retrievers: only the fusion is
theirs. Everything embeds the question once.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final

from reverie.evals.bench.retrieval_data import Corpus
from reverie.knowledge.chunk import chunks_of
from reverie.knowledge.extract.rules import rule_batch
from reverie.knowledge.graph.sqlite import SqliteGraph
from reverie.knowledge.read.document import SourceDocument
from reverie.knowledge.search import Document, Query, SearchSource, create_search_engine
from reverie.knowledge.search.bm25 import Bm25
from reverie.knowledge.search.documents import searched_text
from reverie.knowledge.search.engine import HybridSearch
from reverie.knowledge.search.exact import ExactVectors
from reverie.knowledge.search.factory import WEIGHTS
from reverie.knowledge.search.graph_walk import GraphWalk
from reverie.models.embedder import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST: Final = 10
POOL: Final = 50

Search = Callable[[str], Awaitable[list[str]]]
"""From a question to the ids of at most ``MOST`` texts, best first."""


@dataclass(frozen=True, slots=True)
class Side:
    """One way to search. ``seconds`` is what its index took, embedding the texts apart."""

    name: str
    search: Search
    seconds: float
    close: Callable[[], Awaitable[None]]


async def sides(corpus: Corpus, embedder: Embedder, vectors: NDArray[np.float32]) -> list[Side]:
    """Every side, indexed."""
    shared = _Sources(corpus, embedder, vectors)
    made = [await _reverie(corpus, embedder, vectors, kind) for kind in _KINDS]
    return [
        *made,
        await _stored(corpus, embedder, vectors),
        await _chroma(corpus, embedder, vectors),
        await _langchain(shared),
        await _llama_index(shared),
    ]


_KINDS: Final = {
    "vector": "Reverie: vector",
    "bm25": "Reverie: BM25",
    "hybrid": "Reverie: hybrid",
    "graph": "Reverie: hybrid + graph walk",
}


async def _reverie(
    corpus: Corpus, embedder: Embedder, vectors: NDArray[np.float32], kind: Any
) -> Side:
    engine = create_search_engine(
        kind, documents=corpus.documents, embedder=embedder, vectors=vectors
    )
    began = time.perf_counter()
    await engine.index()
    seconds = time.perf_counter() - began

    async def search(question: str) -> list[str]:
        return [hit.id for hit in (await engine.search(question, limit=MOST)).hits]

    return Side(_KINDS[kind], search, seconds, engine.close)


async def _stored(corpus: Corpus, embedder: Embedder, vectors: NDArray[np.float32]) -> Side:
    """The same search over a graph store, filled by the rules that fill it for a library: every
    document a Markdown file of one chunk.
    """
    folder = await asyncio.to_thread(mkdtemp, prefix="reverie-bench-")
    began = time.perf_counter()
    graph = await SqliteGraph.open(
        Path(folder) / "graph.sqlite", embedder=embedder.name, dimension=embedder.dimension
    )
    chunks = {}
    for place, document in enumerate(corpus.documents):
        text = f"# {document.title}\n\n{document.text}\n"
        file = SourceDocument(f"/{place}.md", "markdown", text, title=document.title)
        (chunk,) = await asyncio.to_thread(chunks_of, file, tokens=100_000)
        chunks[chunk.id] = document
        await graph.write(await asyncio.to_thread(rule_batch, file, [chunk]))
    texts = [searched_text(document) for document in chunks.values()]
    words = await asyncio.to_thread(Bm25.build, list(chunks), texts)
    sources: list[SearchSource] = [ExactVectors(list(chunks), vectors), words, GraphWalk(graph)]
    seconds = time.perf_counter() - began

    async def found(ids: Sequence[str]) -> dict[str, Document]:
        return {chunk: chunks[chunk] for chunk in ids if chunk in chunks}

    engine = HybridSearch(sources, WEIGHTS, found, embedder)

    async def search(question: str) -> list[str]:
        return [chunks[hit.id].id for hit in (await engine.search(question, limit=MOST)).hits]

    async def close() -> None:
        await graph.close()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    return Side("Reverie: hybrid + walk on the graph store", search, seconds, close)


async def _chroma(corpus: Corpus, embedder: Embedder, vectors: NDArray[np.float32]) -> Side:
    import chromadb
    from chromadb.config import Settings

    folder = await asyncio.to_thread(mkdtemp, prefix="reverie-bench-")
    client: Any = await asyncio.to_thread(  # its declared type has no close
        chromadb.PersistentClient, path=folder, settings=Settings(anonymized_telemetry=False)
    )
    began = time.perf_counter()
    collection = await asyncio.to_thread(
        client.create_collection,
        "passages",
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
    )
    ids = [document.id for document in corpus.documents]
    texts = [searched_text(document) for document in corpus.documents]
    for start in range(0, len(ids), 1000):
        end = start + 1000
        await asyncio.to_thread(
            collection.add,
            ids[start:end],
            embeddings=vectors[start:end],
            documents=texts[start:end],
        )
    seconds = time.perf_counter() - began

    async def search(question: str) -> list[str]:
        vector = await embedder.embed([question])
        found = await asyncio.to_thread(
            collection.query, query_embeddings=vector, n_results=MOST, include=["distances"]
        )
        return list(found["ids"][0])

    async def close() -> None:
        await asyncio.to_thread(client.close)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    return Side("Chroma alone", search, seconds, close)


class _Sources:
    """The two lists that the fusions of others are given."""

    def __init__(self, corpus: Corpus, embedder: Embedder, vectors: NDArray[np.float32]) -> None:
        ids = [document.id for document in corpus.documents]
        texts = [searched_text(document) for document in corpus.documents]
        began = time.perf_counter()
        self._vectors = ExactVectors(ids, vectors)
        self._words = Bm25.build(ids, texts)
        self.seconds = time.perf_counter() - began
        self._embedder = embedder

    async def by_meaning(self, question: str) -> list[tuple[str, float]]:
        query = Query(question, (await self._embedder.embed([question]))[0])
        return [(one.id, one.score) for one in await self._vectors.rank(query, POOL, {})]

    async def by_words(self, question: str) -> list[tuple[str, float]]:
        found = await self._words.rank(Query(question), POOL, {})
        return [(one.id, one.score) for one in found]


async def _langchain(sources: _Sources) -> Side:
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_core.documents import Document as Found
    from langchain_core.retrievers import BaseRetriever

    class Listed(BaseRetriever):
        ranked: Callable[[str], Awaitable[list[tuple[str, float]]]]

        async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
            return [Found(page_content=text) for text, _ in await self.ranked(query)]

        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
            raise NotImplementedError

    both = [Listed(ranked=sources.by_meaning), Listed(ranked=sources.by_words)]
    ensemble: Any = EnsembleRetriever(retrievers=both, weights=[0.5, 0.5])

    async def search(question: str) -> list[str]:
        return [found.page_content for found in await ensemble.ainvoke(question)][:MOST]

    return Side("LangChain EnsembleRetriever", search, sources.seconds, _nothing)


async def _llama_index(sources: _Sources) -> Side:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.llms.mock import MockLLM
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
    from llama_index.core.schema import NodeWithScore, TextNode

    class Listed(BaseRetriever):
        def __init__(self, ranked: Callable[[str], Awaitable[list[tuple[str, float]]]]) -> None:
            super().__init__()
            self._ranked = ranked

        async def _aretrieve(self, query_bundle: Any) -> list[Any]:
            ranked = await self._ranked(query_bundle.query_str)
            return [NodeWithScore(node=TextNode(id_=t, text=t), score=s) for t, s in ranked]

        def _retrieve(self, query_bundle: Any) -> list[Any]:
            raise NotImplementedError

    fusion: Any = QueryFusionRetriever(
        [Listed(sources.by_meaning), Listed(sources.by_words)],
        llm=MockLLM(),  # never asked: one query is searched, the question itself
        mode=FUSION_MODES.RECIPROCAL_RANK,
        similarity_top_k=MOST,
        num_queries=1,
    )

    async def search(question: str) -> list[str]:
        return [found.node.text for found in await fusion.aretrieve(question)]

    return Side("LlamaIndex QueryFusionRetriever", search, sources.seconds, _nothing)


async def _nothing() -> None:
    return


def recall(found: Sequence[str], relevant: frozenset[str], at: int) -> float:
    """The share of ``relevant`` among the first ``at`` of ``found``."""
    return len(relevant & set(found[:at])) / len(relevant)
