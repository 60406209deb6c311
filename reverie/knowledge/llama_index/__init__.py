"""LlamaIndex on Reverie's graph store, and its readers as a source of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reverie.errors import ConfigError

if TYPE_CHECKING:
    from reverie.knowledge.llama_index.property_graph import ReveriePropertyGraphStore
    from reverie.knowledge.llama_index.reader import source_documents

__all__ = ["ReveriePropertyGraphStore", "source_documents"]


def __getattr__(name: str) -> Any:
    """Import LlamaIndex only when one of the names is asked for: it takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        if name == "source_documents":
            from reverie.knowledge.llama_index.reader import source_documents

            return source_documents
        from reverie.knowledge.llama_index.property_graph import ReveriePropertyGraphStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "llama_index":
            raise
        raise ConfigError(
            "LlamaIndex is not installed", hint="pip install 'reverie[knowledge]'"
        ) from error
    return ReveriePropertyGraphStore
