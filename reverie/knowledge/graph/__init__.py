"""The graph store: things and what is said of them, with provenance, found along edges, by words
and by meaning.
"""

from reverie.knowledge.graph.motif import seed
from reverie.knowledge.graph.sqlite import SqliteGraph
from reverie.knowledge.graph.store import GraphStore, Match
from reverie.knowledge.graph.triplet import Triplet, embedding_text

__all__ = ["GraphStore", "Match", "SqliteGraph", "Triplet", "embedding_text", "seed"]
