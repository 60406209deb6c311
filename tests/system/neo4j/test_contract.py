"""The contract of graph stores on a real Neo4j server."""

from __future__ import annotations

import pytest

from reverie.knowledge.graph.neo4j import Neo4jGraph
from reverie.settings import Neo4jSettings
from tests.contract.graph_suite import GraphStoreSuite


class TestNeo4jGraph(GraphStoreSuite):
    """``reopen`` is in conftest.py."""

    @pytest.fixture
    def store(self, empty: Neo4jSettings, shared_store: Neo4jGraph) -> Neo4jGraph:
        return shared_store
