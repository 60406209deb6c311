"""LlamaIndex over a real Neo4j server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from reverie.knowledge.graph.neo4j import Neo4jGraph
from reverie.knowledge.llama_index import ReveriePropertyGraphStore
from reverie.settings.knowledge import Neo4jSettings
from tests.contract.graph_examples import DIMENSION, EMBEDDER
from tests.contract.llama_index_store import LlamaIndexStore, test_llama_index

__all__ = ["test_llama_index"]


class TestOverNeo4j(LlamaIndexStore):
    """``reopen`` is in conftest.py."""


@pytest.fixture
def graph(empty: Neo4jSettings) -> Iterator[ReveriePropertyGraphStore]:
    store = asyncio.run(Neo4jGraph.open(empty, embedder=EMBEDDER, dimension=DIMENSION))
    opened = ReveriePropertyGraphStore(store)
    yield opened
    opened.close()
    asyncio.run(store.close())
