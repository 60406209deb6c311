"""Texts by their vectors: Chroma in a folder or on a server, FAISS in memory."""

from reverie.knowledge.vectors.faiss import FaissVectors
from reverie.knowledge.vectors.open import open_vectors
from reverie.knowledge.vectors.store import VectorHit, VectorRecord, VectorStore, Where

__all__ = ["FaissVectors", "VectorHit", "VectorRecord", "VectorStore", "Where", "open_vectors"]
