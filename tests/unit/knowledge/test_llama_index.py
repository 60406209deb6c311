"""LlamaIndex over the SQLite store, and its documents as documents to ingest. No socket is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reverie.errors import ConfigError
from reverie.knowledge.chunk import chunks_of
from reverie.knowledge.extract.rules import rule_batch
from reverie.knowledge.graph import GraphStore, SqliteGraph
from reverie.knowledge.llama_index import ReveriePropertyGraphStore, source_documents
from reverie.knowledge.read.document import SourceDocument
from tests.contract.graph_examples import DIMENSION, EMBEDDER, Reopen
from tests.contract.llama_index_store import LlamaIndexStore, test_llama_index

__all__ = ["test_llama_index"]


class TestOverSqlite(LlamaIndexStore):
    @pytest.fixture
    async def reopen(self, tmp_path: Path) -> AsyncIterator[Reopen]:
        opened: list[SqliteGraph] = []

        async def reopen(embedder: str = EMBEDDER, dimension: int = DIMENSION) -> GraphStore:
            path = tmp_path / "graph.sqlite"
            opened.append(await SqliteGraph.open(path, embedder=embedder, dimension=dimension))
            return opened[-1]

        yield reopen
        for store in opened:
            await store.close()

    async def test_there_is_no_query_language(self, graph: ReveriePropertyGraphStore) -> None:
        assert not graph.supports_structured_queries
        with pytest.raises(ConfigError, match="no query language"):
            await graph.astructured_query("MATCH (n) RETURN n")


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[ReveriePropertyGraphStore]:
    path = tmp_path / "graph.sqlite"
    store = asyncio.run(SqliteGraph.open(path, embedder=EMBEDDER, dimension=DIMENSION))
    opened = ReveriePropertyGraphStore(store)
    yield opened
    opened.close()
    asyncio.run(store.close())


async def test_relations_of_an_ingested_document_are_not_deleted(tmp_path: Path) -> None:
    store = await SqliteGraph.open(tmp_path / "g.sqlite", embedder=EMBEDDER, dimension=DIMENSION)
    document = SourceDocument("/a.md", "markdown", "# Zebra\n\nText.")
    await store.write(rule_batch(document, chunks_of(document, tokens=200)))
    before = await store.size()
    graph = ReveriePropertyGraphStore(store)
    with pytest.raises(ConfigError, match=r"'about' also belongs to /a\.md"):
        await graph.adelete(relation_names=["about"])
    assert await store.size() == before
    await store.close()


def test_synchronous_methods(graph: ReveriePropertyGraphStore) -> None:
    from llama_index.core.graph_stores.types import EntityNode, Relation
    from llama_index.core.vector_stores.types import VectorStoreQuery

    graph.upsert_nodes([EntityNode(name="Ada", embedding=[1.0] * DIMENSION)])
    graph.upsert_relations([Relation(label="KNOWS", source_id="Ada", target_id="Bob")])
    assert [node.id for node in graph.get(ids=["Ada"])] == ["Ada"]
    assert len(graph.get_triplets(entity_names=["Bob"])) == 1
    assert len(graph.get_rel_map(graph.get(ids=["Bob"]))) == 1
    query = VectorStoreQuery(query_embedding=[1.0] * DIMENSION, similarity_top_k=1)
    assert graph.vector_query(query)[0][0].id == "Ada"
    assert graph.get_schema() == {"nodes": {"entity": 2}, "relations": {"knows": 1}}
    with pytest.raises(ConfigError):
        graph.structured_query("MATCH (n) RETURN n")
    graph.delete(entity_names=["Ada"])
    assert graph.get_triplets(entity_names=["Bob"]) == []
    assert isinstance(graph.client, SqliteGraph)


def test_documents_of_readers() -> None:
    from llama_index.core import Document
    from llama_index.core.schema import TextNode

    made = source_documents(
        [
            Document(text="# Dams\r\nA dam.", metadata={"file_path": "/d/a.md", "title": " A  b "}),
            Document(text="One.\nTwo.", metadata={"file_path": "/d/b.pdf", "page_label": "4"}),
            Document(text="Three.", metadata={"file_path": "/d/b.pdf", "page_label": "5"}),
            Document(text="import re\n", metadata={"file_name": "c.py"}),
            Document(text="Ada", metadata={"source": "https://x.org/y"}, id_="r1"),
            Document(text="Bob", metadata={"source": "https://x.org/y"}, id_="r2"),
            Document(text=" \n"),
            TextNode(text="No metadata", id_="t1"),
        ]
    )
    assert [(d.path, d.media, d.record) for d in made] == [
        ("/d/a.md", "markdown", ""),
        ("/d/b.pdf", "text", ""),
        ("c.py", "code", ""),
        ("https://x.org/y", "text", "r1"),
        ("https://x.org/y", "text", "r2"),
        ("llama_index:t1", "text", ""),
    ]
    assert (made[0].title, made[0].text) == ("A b", "# Dams\nA dam.")
    assert made[1].text == "One.\nTwo.\nThree."
    assert [made[1].span(n, n).page for n in (1, 2, 3)] == [4, 4, 5]
    assert made[2].language == "python"
    assert all(rule_batch(document, []).nodes for document in made)


def test_names_that_are_not_there() -> None:
    import reverie.knowledge.llama_index as package

    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018  # the access is what is tested
