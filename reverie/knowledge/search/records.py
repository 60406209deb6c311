"""What is searched, what a search returns, and what a source of ranks is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be found. ``id`` may be empty: its position then counts."""

    text: str
    id: str = ""
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for; every source gets the same one."""

    text: str
    vector: NDArray[np.float32] | None = None
    """[D], of length one; None where no source wants it."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One text in the list of one source; higher scores are better."""

    id: str
    score: float


class SearchSource(Protocol):
    """One way to find texts."""

    @property
    def name(self) -> str:
        """What its ranks are called: "vector", "bm25", "fulltext", "graph"."""
        ...

    @property
    def wants_vector(self) -> bool:
        """Whether it needs ``Query.vector``."""
        ...

    @property
    def wants_found(self) -> bool:
        """Whether it begins from what others found. It is then asked when all those that do not
        have answered, which are asked at the same time.
        """
        ...

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> Sequence[Ranked]:
        """At most ``limit`` texts, best first. ``found``, by the source's name, is what those that
        want nothing found have found; empty unless ``wants_found``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source had a hit: ``rank`` counts from 1; ``score`` is the source's own. A reranker
    counts as a source, called "rerank".
    """

    source: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A text that was found, and why."""

    id: str
    text: str
    score: float
    """By which hits are ordered; only comparable within one result."""
    places: Sequence[Place] = ()
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Of an ingested chunk: path, first_line, last_line, page, kind, name."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search came to."""

    query: str
    hits: Sequence[Hit]
    warnings: Sequence[str] = ()
    """What did not work, such as a reranker that could not be loaded: the hits are then those that
    there would be without it.
    """
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By part of the search: "embed", each source's name, "texts", "rerank", "all"."""


class SearchEngine(Protocol):
    """Finds texts. Get one with ``create_search_engine``."""

    async def search(self, query: str, *, limit: int = 10) -> SearchResult:
        """At most ``limit`` hits, best first; none for an empty query.

        Raises ConfigError for a limit below 1, and what the sources raise when all of them fail.
        """
        ...

    async def close(self) -> None:
        """Releases what it holds; a second call does nothing."""
        ...
