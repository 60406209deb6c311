"""The graph store: causal steps (what, action, result) with provenance, found by meaning."""

from reverie.knowledge.graph.motif import seed
from reverie.knowledge.graph.sqlite import SqliteGraph
from reverie.knowledge.graph.store import GraphStore, Match
from reverie.knowledge.graph.triplet import Triplet, embedding_text

__all__ = ["GraphStore", "Match", "SqliteGraph", "Triplet", "embedding_text", "seed"]
