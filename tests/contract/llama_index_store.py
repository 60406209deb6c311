"""What the LlamaIndex store has to do over any graph store, as tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from reverie.errors import ConfigError
from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch, Edge, Node, Span
from reverie.knowledge.llama_index import ReveriePropertyGraphStore
from tests.contract.graph_examples import DIMENSION, OneStore, vector


def embedding() -> Any:
    """LlamaIndex's embedding interface over hashed words."""
    from llama_index.core.embeddings import BaseEmbedding

    class Hashed(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return [float(value) for value in vector(text)]

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

    return Hashed(model_name="hashed words")


class LlamaIndexStore(OneStore):
    """A subclass has the fixture ``reopen``."""

    @pytest.fixture
    def graph(self, store: GraphStore) -> Iterator[ReveriePropertyGraphStore]:
        opened = ReveriePropertyGraphStore(store)
        yield opened
        opened.close()

    async def test_nodes_and_relations_come_back(self, graph: ReveriePropertyGraphStore) -> None:
        from llama_index.core.graph_stores.types import ChunkNode, EntityNode, Relation

        ada = EntityNode(name="Ada Lovelace", label="PERSON", properties={"born": 1815})
        engine = EntityNode(name="Analytical Engine", label="MACHINE")
        page = ChunkNode(text="Ada wrote notes.", id_="p-1", properties={"n": [1, {"a": None}]})
        await graph.aupsert_nodes([ada, engine, page])
        wrote = Relation(
            label="WROTE FOR",
            source_id="Ada Lovelace",
            target_id="Analytical Engine",
            properties={"triplet_source_id": "p-1"},
        )
        await graph.aupsert_relations(
            [wrote, Relation(label="NEXT", source_id="p-1", target_id="Somebody Else")]
        )
        assert await graph.aget(ids=["Ada Lovelace", "p-1", "nobody"]) == [ada, page]
        assert await graph.aget(ids=["ada lovelace"]) == [ada]
        assert await graph.aget(properties={"born": 1815}) == [ada]
        assert await graph.aget(properties={"born": 1}, ids=["Ada Lovelace"]) == []
        assert {node.id for node in await graph.aget()} == {
            "Ada Lovelace",
            "Analytical Engine",
            "p-1",
            "Somebody Else",
        }
        (triplet,) = await graph.aget_triplets(entity_names=["Ada Lovelace"])
        assert triplet == (ada, wrote, engine)
        assert await graph.aget_triplets(relation_names=["WROTE FOR"]) == [triplet]
        assert await graph.aget_triplets(relation_names=["NEXT"], ids=["Ada Lovelace"]) == []
        assert await graph.aget_triplets(properties={"born": 1815}) == [triplet]
        assert await graph.aget_triplets() == []

    async def test_writing_twice_changes_and_doubles_nothing(
        self, graph: ReveriePropertyGraphStore
    ) -> None:
        from llama_index.core.graph_stores.types import EntityNode, Relation

        knows = Relation(label="KNOWS", source_id="A b", target_id="C d")
        for year in (1, 2):
            await graph.aupsert_nodes([EntityNode(name="A b", properties={"year": year})])
            await graph.aupsert_relations([knows])
        assert len(await graph.aget_triplets(relation_names=["KNOWS"])) == 1
        (node,) = await graph.aget(ids=["A b"])
        assert node.properties == {"year": 2}

    async def test_the_map_goes_nearest_first_and_stops(
        self, graph: ReveriePropertyGraphStore
    ) -> None:
        from llama_index.core.graph_stores.types import EntityNode, Relation

        names = [f"Stop {n}" for n in range(5)]
        await graph.aupsert_relations(
            [
                Relation(label="NEXT" if n != 1 else "LAST", source_id=a, target_id=b)
                for n, (a, b) in enumerate(pairwise(names))
            ]
        )
        start = [EntityNode(name="Stop 0")]

        async def ends(**options: Any) -> list[str]:
            return [t[2].id for t in await graph.aget_rel_map(start, **options)]

        assert await ends(depth=1) == ["Stop 1"]
        assert await ends(depth=3) == ["Stop 1", "Stop 2", "Stop 3"]
        assert await ends(depth=3, limit=2) == ["Stop 1", "Stop 2"]
        assert await ends(depth=2, ignore_rels=["LAST"]) == ["Stop 1"]
        assert await graph.aget_rel_map([EntityNode(name="nowhere")]) == []

    async def test_what_was_ingested_is_there(
        self, graph: ReveriePropertyGraphStore, store: GraphStore
    ) -> None:
        nodes = [
            Node("document:/a.md", "document", "A guide", source="/a.md"),
            Node("chunk:1", "chunk", "Dams", "A dam holds water.", source="/a.md"),
            Node("dam", "entity", "Dam"),
            Node("water is held", "outcome", "water is held"),
        ]
        span = Span("/a.md", 3, 4)
        edges = [
            Edge("chunk:1", "mentions", "dam", source="/a.md", span=span),
            Edge("dam", "causes", "water is held", "closes", source="/a.md", span=span),
            Edge("dam", "causes", "nobody knows", status="hypothesis", source="/a.md"),
        ]
        await store.write(Batch(nodes, edges))
        found = await graph.aget_triplets(entity_names=["Dam"])
        assert [(a.id, r.label, b.id) for a, r, b in found] == [
            ("chunk:1", "mentions", "Dam"),
            ("Dam", "closes", "water is held"),
        ]
        assert found[1][1].properties["span"] == "/a.md:3-4"
        (text,) = await graph.aget_llama_nodes(["chunk:1", "Dam"])
        assert text.get_content() == "A dam holds water."
        with pytest.raises(ConfigError, match=r"belongs to /a\.md"):
            await graph.adelete(ids=["chunk:1"])
        assert len(await graph.aget(ids=["chunk:1"])) == 1
        schema = await graph.aget_schema()
        assert schema["relations"] == {"mentions": 1, "causes": 2}
        assert "mentions" in await graph.aget_schema_str()

    async def test_what_is_deleted_is_gone(self, graph: ReveriePropertyGraphStore) -> None:
        from llama_index.core.graph_stores.types import ChunkNode, EntityNode, Relation

        await graph.aupsert_nodes(
            [
                EntityNode(name="Ada", properties={"triplet_source_id": "p-1"}),
                EntityNode(name="Bob"),
                ChunkNode(text="Ada met Bob.", id_="p-1"),
            ]
        )
        source = {"triplet_source_id": "p-1"}
        await graph.aupsert_relations(
            [
                Relation(label="MET", source_id="Ada", target_id="Bob", properties=source),
                Relation(label="LIKES", source_id="Bob", target_id="Tea"),
                Relation(label="HATES", source_id="Bob", target_id="Rain"),
            ]
        )
        await graph.adelete(relation_names=["HATES"])
        assert [t[1].label for t in await graph.aget_triplets(ids=["Bob"])] == ["MET", "LIKES"]
        # The chunk and what was read from it.
        await graph.adelete(properties=source)
        await graph.adelete(ids=["p-1"])
        assert await graph.aget(ids=["Ada", "p-1"]) == []
        assert [t[1].label for t in await graph.aget_triplets(ids=["Bob"])] == ["LIKES"]
        await graph.adelete(entity_names=["Tea"])
        assert await graph.aget_triplets(ids=["Bob"]) == []
        await graph.adelete(ids=["nobody"])

    async def test_vectors_find_nodes(self, graph: ReveriePropertyGraphStore) -> None:
        from llama_index.core.graph_stores.types import EntityNode
        from llama_index.core.vector_stores.types import (
            MetadataFilter,
            MetadataFilters,
            VectorStoreQuery,
        )

        names = ("red apple", "green apple", "steam engine")
        await graph.aupsert_nodes(
            [EntityNode(name=n, embedding=[3 * float(v) for v in vector(n)]) for n in names]
        )
        query = [float(v) for v in vector("steam engine")]
        found, scores = await graph.avector_query(
            VectorStoreQuery(query_embedding=query, similarity_top_k=2)
        )
        assert found[0].id == "steam engine"
        assert len(found) == len(scores) == 2
        assert scores[0] == pytest.approx(1, abs=1e-4)
        with pytest.raises(ConfigError, match="query_embedding"):
            await graph.avector_query(VectorStoreQuery(query_str="steam"))
        filters = MetadataFilters(filters=[MetadataFilter(key="a", value=1)])
        with pytest.raises(ConfigError, match="filters no vector queries"):
            await graph.avector_query(VectorStoreQuery(query_embedding=query, filters=filters))
        with pytest.raises(ConfigError):
            await graph.aupsert_nodes([EntityNode(name="short", embedding=[1.0])])

    async def test_lost_properties_are_said(
        self, graph: ReveriePropertyGraphStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        from llama_index.core.graph_stores.types import Relation

        since = Relation(label="KNOWS", source_id="A", target_id="B", properties={"since": 1})
        with caplog.at_level(logging.WARNING):
            await graph.aupsert_relations([since])
            await graph.aupsert_relations([since])
        assert len(caplog.records) == 1


def test_llama_index(graph: ReveriePropertyGraphStore) -> None:
    """A PropertyGraphIndex over the store, from documents to what a retriever finds. Synchronous,
    as most of LlamaIndex's users are.
    """
    from llama_index.core import Document, PropertyGraphIndex
    from llama_index.core.indices.property_graph import (
        ImplicitPathExtractor,
        VectorContextRetriever,
    )
    from llama_index.core.llms import MockLLM

    embed = embedding()
    assert len(vector("x")) == DIMENSION
    steam = " ".join(f"The steam engine number {n} drives a pump in the mine." for n in range(150))
    index = PropertyGraphIndex.from_documents(
        [Document(text=steam, id_="steam"), Document(text="Cats like milk.", id_="cats")],
        property_graph_store=graph,
        kg_extractors=[ImplicitPathExtractor()],
        embed_model=embed,
        llm=MockLLM(),
        use_async=False,
    )
    retriever = index.as_retriever(
        sub_retrievers=[VectorContextRetriever(graph, embed_model=embed, path_depth=1)],
        use_async=False,
    )
    found = retriever.retrieve("steam engine pump")
    assert found
    start, relation, end = found[0].node.get_content().split(" -> ")
    assert relation in {"NEXT", "PREVIOUS"}
    texts = graph.get_llama_nodes([start, end])
    assert ["steam engine" in text.get_content() for text in texts] == [True, True]
    # Inserting the same again adds nothing; deleting a document's chunks takes them away.
    before = graph.get_schema()
    index.insert_nodes(
        graph.get_llama_nodes([n.id for n in graph.get() if n.label == "text_chunk"])
    )
    assert graph.get_schema() == before
    graph.delete_llama_nodes(ref_doc_ids=["steam"])
    again = PropertyGraphIndex.from_existing(
        graph, embed_model=embed, llm=MockLLM(), use_async=False
    )
    left = again.as_retriever(
        sub_retrievers=[VectorContextRetriever(graph, embed_model=embed)], use_async=False
    )
    assert left.retrieve("steam engine pump") == []
