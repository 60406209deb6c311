"""Search over documents: by meaning, by words, fused, and by a walk on the graph."""

from reverie.knowledge.search.factory import DocumentSearch, SearchKind, create_search_engine
from reverie.knowledge.search.fit import Fit, fit_weights
from reverie.knowledge.search.records import (
    Document,
    Hit,
    Place,
    Query,
    Ranked,
    SearchEngine,
    SearchResult,
    SearchSource,
)

__all__ = [
    "Document",
    "DocumentSearch",
    "Fit",
    "Hit",
    "Place",
    "Query",
    "Ranked",
    "SearchEngine",
    "SearchKind",
    "SearchResult",
    "SearchSource",
    "create_search_engine",
    "fit_weights",
]
