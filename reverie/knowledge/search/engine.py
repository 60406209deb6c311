"""Hybrid search: several sources of ranks, fused, and reranked where there is a reranker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reverie.errors import ConfigError, KnowledgeUnavailable, ReverieError
from reverie.knowledge.search.fusion import RRF_K, Fused, distinct, fuse
from reverie.knowledge.search.records import (
    Document,
    Hit,
    Place,
    Query,
    Ranked,
    SearchResult,
    SearchSource,
)
from reverie.models.embedder import Embedder

if TYPE_CHECKING:
    from reverie.knowledge.search.rerank import Reranker

Texts = Callable[[Sequence[str]], Awaitable[Mapping[str, Document]]]
"""The texts with these ids, of those that are there."""

POOL: Final = 50
"""Texts asked of each source, at least: fusion needs those that no source has among its first."""

RERANKED: Final = 3
"""Candidates that a reranker gets for every hit asked for."""

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class HybridSearch:
    """Asks several sources at once and fuses their ranks. A ``SearchEngine``.

    A source or reranker that fails becomes a warning in the result, and the others still answer.
    It owns none of its parts: whoever opened them closes them.
    """

    def __init__(
        self,
        sources: Sequence[SearchSource],
        weights: Mapping[str, float],
        texts: Texts,
        embedder: Embedder | None,
        reranker: Reranker | None = None,
        *,
        k: float = RRF_K,
        pool: int = POOL,
    ) -> None:
        """``weights`` are by the source's name, 0 or more; a source without one has 1, and one of
        weight 0 is never asked. ``embedder`` may be None where no source wants a vector. ``k`` is
        that of ``fuse``. Raises ConfigError.
        """
        self._sources = [s for s in sources if weights.get(s.name, 1.0)]
        self._weights = dict(weights)
        self._texts = texts
        self._embedder = embedder
        self._reranker = reranker
        self._k = k
        self._pool = pool
        self._check(sources)

    async def search(self, query: str, *, limit: int = 10) -> SearchResult:
        """At most ``limit`` hits, best first; none for an empty query."""
        if limit < 1:
            raise ConfigError(f"The limit of a search is {limit}", hint="Ask for at least 1 hit")
        if not query.strip():
            return SearchResult(query, ())
        run = _Search()
        began = time.perf_counter()
        wanted = limit * RERANKED if self._reranker is not None else limit
        found = await self._found(query, max(self._pool, wanted), run)
        fused = fuse(found, self._weights, k=self._k)
        hits = await run.timed("texts", self._hits(fused, wanted))
        if self._reranker is not None and hits:
            hits = await self._reranked(self._reranker, query, hits, limit, run)
        run.seconds["all"] = time.perf_counter() - began
        return SearchResult(query, tuple(hits[:limit]), tuple(run.warnings), run.seconds)

    async def lists(self, query: str, *, limit: int = POOL) -> dict[str, list[Ranked]]:
        """What each source finds, by its name, before fusion; one that fails is left out.

        Raises what the sources raise when all of them fail.
        """
        return await self._found(query, limit, _Search())

    async def close(self) -> None:
        """Does nothing: it holds nothing of its own."""

    # -- inside ------------------------------------------------------------------------------------

    def _check(self, sources: Sequence[SearchSource]) -> None:
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            raise ConfigError(f"Two sources of a search have one name: {', '.join(names)}")
        if unknown := sorted(n for n, w in self._weights.items() if w and n not in names):
            raise ConfigError(
                f"There is a weight for {unknown[0]!r}, which is no source",
                hint=f"The sources are: {', '.join(names)}",
            )
        for name, weight in self._weights.items():
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"The weight of {name!r} is {weight}", hint="0 or more")
        if not self._sources:
            raise ConfigError("A search has no source with a weight above 0")
        wanting = [source.name for source in self._sources if source.wants_vector]
        if wanting and self._embedder is None:
            raise ConfigError(f"The source {wanting[0]!r} needs an embedder")

    async def _found(self, text: str, pool: int, run: _Search) -> dict[str, list[Ranked]]:
        """What each source that answers finds, in the order of the sources."""
        query = Query(text)
        asked = self._sources
        if any(source.wants_vector for source in asked):
            vector = await run.tried(
                "embed", "The query cannot be embedded", partial(self._embedded, text)
            )
            query = Query(text, vector)
            if vector is None:
                asked = [source for source in asked if not source.wants_vector]
        first = [source for source in asked if not source.wants_found]
        then = [source for source in asked if source.wants_found]
        begun = await run.ranked(first, query, pool, {})
        found = begun | await run.ranked(then, query, pool, begun)
        if not found:
            raise run.error()
        # Not in the order in which they answered: sums of floats depend on it.
        return {source.name: found[source.name] for source in asked if source.name in found}

    async def _embedded(self, text: str) -> Any:
        if self._embedder is None:  # _check has seen to it
            raise ConfigError("A search has no embedder")
        return (await self._embedder.embed([text]))[0]

    async def _hits(self, fused: Sequence[Fused], wanted: int) -> list[Hit]:
        """The best ``wanted`` of which there is a text: one may have been deleted since."""
        hits: list[Hit] = []
        for start in range(0, len(fused), wanted):
            some = fused[start : start + wanted]
            texts = await self._texts([one.id for one in some])
            hits += [_hit(one, texts[one.id]) for one in some if one.id in texts]
            if len(hits) >= wanted:
                break
        return hits[:wanted]

    async def _reranked(
        self, reranker: Reranker, query: str, hits: list[Hit], limit: int, run: _Search
    ) -> list[Hit]:
        ordered = await run.tried(
            "rerank",
            "The hits are not reranked",
            partial(reranker.rerank, query, hits, limit=limit),
        )
        if ordered is None:
            return hits
        return [
            Hit(
                hit.id,
                hit.text,
                hit.score,
                (*hit.places, Place("rerank", rank, hit.score)),
                hit.title,
                hit.metadata,
            )
            for rank, hit in enumerate(ordered, start=1)
        ]


class _Search:
    """What one search has come to so far."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}
        self._errors: list[Exception] = []

    async def ranked(
        self,
        sources: Sequence[SearchSource],
        query: Query,
        pool: int,
        found: Mapping[str, Sequence[Ranked]],
    ) -> dict[str, list[Ranked]]:
        """What these sources find, asked at the same time; those that fail are left out."""
        lists = await asyncio.gather(
            *(
                self.tried(s.name, f"Without {s.name!r}", partial(s.rank, query, pool, found))
                for s in sources
            )
        )
        named = zip(sources, lists, strict=True)
        return {s.name: distinct(ranked)[:pool] for s, ranked in named if ranked is not None}

    async def tried(self, part: str, said: str, work: Callable[[], Awaitable[_T]]) -> _T | None:
        """What ``work`` returns, or None with a warning that begins with ``said``."""
        try:
            return await self.timed(part, work())
        except ReverieError as error:
            self._errors.append(error)
            self.warnings.append(f"{said}: {error}")
        except Exception as error:  # noqa: BLE001  # sources may be anybody's
            _log.warning("%s failed", part, exc_info=True)
            self._errors.append(error)
            self.warnings.append(f"{said}: {type(error).__name__}: {error}")
        return None

    async def timed(self, part: str, work: Awaitable[_T]) -> _T:
        """What ``work`` returns; ``seconds`` has what it took."""
        began = time.perf_counter()
        try:
            return await work
        finally:
            self.seconds[part] = time.perf_counter() - began

    def error(self) -> ReverieError:
        """What to raise when no source has answered."""
        for error in self._errors:
            if isinstance(error, ReverieError):
                return error
        failed = KnowledgeUnavailable(f"No source of the search answers: {self.warnings[0]}")
        failed.__cause__ = self._errors[0]
        return failed


def _hit(fused: Fused, document: Document) -> Hit:
    return Hit(
        fused.id, document.text, fused.score, fused.places, document.title, document.metadata
    )
