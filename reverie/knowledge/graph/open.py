"""The graph store that the settings name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reverie.knowledge.graph.sqlite import SqliteGraph
from reverie.knowledge.graph.store import GraphStore
from reverie.settings import Settings

if TYPE_CHECKING:
    from reverie.knowledge.graph.neo4j import Neo4jGraph


async def open_graph(settings: Settings, *, embedder: str, dimension: int) -> GraphStore:
    """Opens the Neo4j of ``settings.neo4j``, or where it has no address the file graph.sqlite under
    home, for vectors of ``embedder``, ``dimension`` numbers each.

    Raises ``KnowledgeUnavailable``, and ``ConfigError`` when the extra for Neo4j is missing.
    """
    if settings.neo4j.uri is None:
        path = settings.home / "graph.sqlite"
        return await SqliteGraph.open(path, embedder=embedder, dimension=dimension)
    graph = await asyncio.to_thread(_neo4j_graph)
    return await graph.open(settings.neo4j, embedder=embedder, dimension=dimension)


def _neo4j_graph() -> type[Neo4jGraph]:
    from reverie.knowledge.graph.neo4j import Neo4jGraph

    return Neo4jGraph
