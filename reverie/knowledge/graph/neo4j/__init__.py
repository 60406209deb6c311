"""The graph store on a Neo4j server (5.23 or newer; Community will do, without APOC and GDS)."""

from reverie.knowledge.graph.neo4j.store import Neo4jGraph

__all__ = ["Neo4jGraph"]
