"""The contract of graph stores on a real Neo4j server."""

from __future__ import annotations

from tests.contract.graph_suite import GraphStoreSuite


class TestNeo4jGraph(GraphStoreSuite):
    """``reopen`` is in conftest.py."""
