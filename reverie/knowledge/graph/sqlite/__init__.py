"""The graph store in one SQLite file."""

from reverie.knowledge.graph.sqlite.core import SqliteGraphCore
from reverie.knowledge.graph.sqlite.store import SqliteGraph

__all__ = ["SqliteGraph", "SqliteGraphCore"]
