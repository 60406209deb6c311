"""The episodic memory: remember, recall, forget, compact."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError
from reverie.knowledge.episodes.duplicates import MERGE_ABOVE, near_duplicates
from reverie.knowledge.episodes.episode import Episode, Occasion, Recalled, score_of, strength
from reverie.knowledge.episodes.file import EpisodeFile, Written
from reverie.knowledge.episodes.lines import line_of, parsed

if TYPE_CHECKING:
    from reverie.models.embedder import Embedder

MOST_TEXT: Final = 100_000
"""Characters of one memory."""
_PAGE = 500
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Totals:
    """What is there: memories by kind, bytes on disk, the quota."""

    kinds: Mapping[str, int]
    size: int
    most: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """What ``compact`` did."""

    merged: int
    faded: int
    freed: int
    """Bytes of disk."""


class EpisodicMemory:
    """Memories in one SQLite file, found by meaning. Get one with ``open``; ``close`` it.

    Every method may raise ``KnowledgeUnavailable``, and what the embedder raises. Several processes
    may use one file.
    """

    def __init__(self, file: EpisodeFile, embedder: Embedder, half_life_days: float, most: int):
        self._file = file
        self._embedder = embedder
        self._half_life_days = half_life_days
        self._most = most

    @classmethod
    async def open(
        cls, path: Path, embedder: Embedder, *, half_life_days: float = 30.0, most: int = 10_000
    ) -> EpisodicMemory:
        """Opens or creates the memory. ``embedder`` is loaded.

        A memory counts half after ``half_life_days`` in which nobody made use of it. Of more than
        ``most`` the weakest go.
        """
        file = await asyncio.to_thread(
            EpisodeFile, path, embedder.name, embedder.dimension, half_life_days, most
        )
        return cls(file, embedder, half_life_days, most)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        return tuple(self._file.database.notices)

    # -- writing ---------------------------------------------------------------------------------

    async def remember(
        self,
        text: str,
        *,
        importance: float = 0.5,
        kind: str = "note",
        source: str = "",
        at: float | None = None,
    ) -> str:
        """Stores something that was learnt, now or ``at`` (seconds since 1970); returns its id.

        What is known already is learnt again: it keeps its id and the day it was first learnt,
        takes the higher importance, and is fresh again. Raises ConfigError for an empty or too long
        text, or an importance that is not from 0 to 1.
        """
        at = time.time() if at is None else at
        memory = _checked(Written(text, kind, importance, (Occasion(at, source),), at))
        vectors = await self._embedder.embed([text])
        ids, _ = await asyncio.to_thread(self._file.write, [memory], vectors)
        return ids[0]

    async def weigh(self, source: str, importance: float, *, kind: str = "run") -> int:
        """Gives memories of ``kind`` that were learnt from ``source`` another importance, 0 to 1.
        Returns how many.
        """
        _check_importance(importance)
        return await asyncio.to_thread(self._file.weigh, source, kind, importance)

    async def forget(self, ids: Sequence[str]) -> int:
        """Deletes memories, by id or the beginning of it. Returns how many. Raises ConfigError for
        an id that names none or several; then nothing is deleted.
        """
        found = [await asyncio.to_thread(self._file.resolve, one) for one in ids]
        return await asyncio.to_thread(self._file.forget, found)

    async def compact(
        self, *, similar_above: float = MERGE_ABOVE, faded_below: float = 0.0
    ) -> Compaction:
        """Makes one memory of those that say the same, deletes those weaker than ``faded_below``,
        and gives space back to the disk.

        Two say the same when they are of one kind, their cosine is at least ``similar_above``, and
        neither numbers nor negations differ. Raises ConfigError.
        """
        for name, value in (("similar_above", similar_above), ("faded_below", faded_below)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value:g}", hint="give a number from 0 to 1")
        merged = await asyncio.to_thread(self._merge, similar_above)
        faded = await asyncio.to_thread(self._forget_faded, faded_below) if faded_below else 0
        freed = await asyncio.to_thread(self._file.vacuum)
        return Compaction(merged, faded, freed)

    async def import_lines(self, lines: Iterable[str]) -> int:
        """Takes in what ``export`` gave, of any embedder; returns how many memories.

        What is there already is learnt again, so importing twice changes nothing. Raises
        ConfigError that names the first bad line; then nothing is taken in.
        """
        memories = [_checked(one) for one in await asyncio.to_thread(parsed, lines)]
        for start in range(0, len(memories), _BATCH):
            some = memories[start : start + _BATCH]
            vectors = await self._embedder.embed([memory.text for memory in some])
            await asyncio.to_thread(self._file.write, some, vectors)
        return len(memories)

    # -- reading ---------------------------------------------------------------------------------

    async def recall(
        self,
        query: str,
        *,
        limit: int = 5,
        minimum: float = 0.3,
        kinds: Sequence[str] = (),
        since: float | None = None,
        until: float | None = None,
        use: bool = False,
    ) -> list[Recalled]:
        """The memories that ``query`` brings to mind, best first: similar ones (cosine at least
        ``minimum``), the stronger the better; those learnt between ``since`` and ``until`` (seconds
        since 1970) only. With ``use`` they count as made use of, which keeps them fresh.
        """
        if not query.strip() or limit < 1:
            return []
        vector = (await self._embedder.embed([query]))[0]
        found = await asyncio.to_thread(self._file.nearest, vector, minimum, kinds)
        now = time.time()
        recalled = []
        for episode, similarity in found:
            if _learned_between(episode, since, until):
                left = strength(episode, now=now, half_life_days=self._half_life_days)
                recalled.append(Recalled(episode, similarity, left, score_of(similarity, left)))
        recalled.sort(key=lambda one: (-one.score, one.episode.learned, one.episode.id))
        best = recalled[:limit]
        if use and best:
            ids = [one.episode.id for one in best]
            await asyncio.to_thread(self._file.reinforce, ids, now)
        return best

    async def latest(self, limit: int = 20, *, kinds: Sequence[str] = ()) -> list[Episode]:
        """What was learnt last, newest first."""
        return await asyncio.to_thread(self._file.latest, limit, kinds)

    async def export(self) -> AsyncIterator[str]:
        """Every memory as a line of JSON, without its vector."""
        after = 0
        while page := await asyncio.to_thread(self._file.page, after, _PAGE):
            for _, episode in page:
                yield line_of(episode)
            after = page[-1][0]

    async def totals(self) -> Totals:
        """How much there is."""
        kinds, size = await asyncio.to_thread(self._file.totals)
        return Totals(kinds, size, self._most)

    def strength(self, episode: Episode) -> float:
        """What is left of a memory's importance now, 0 to 1."""
        return strength(episode, now=time.time(), half_life_days=self._half_life_days)

    async def close(self) -> None:
        """Closes the file; a second call does nothing."""
        await asyncio.to_thread(self._file.database.close)

    # -- inside ----------------------------------------------------------------------------------

    def _merge(self, similar_above: float) -> int:
        seqs, matrix = self._file.vectors()
        episodes = self._file.episodes([int(seq) for seq in seqs])
        groups = near_duplicates(seqs, matrix, episodes, similar_above)
        return self._file.merge(groups) if groups else 0

    def _forget_faded(self, below: float) -> int:
        gone, after = [], 0
        while page := self._file.page(after, _PAGE):
            after = page[-1][0]
            gone += [episode.id for _, episode in page if self.strength(episode) < below]
        return self._file.forget(gone)


def _learned_between(episode: Episode, since: float | None, until: float | None) -> bool:
    return any(
        (since is None or occasion.at >= since) and (until is None or occasion.at < until)
        for occasion in episode.occasions
    )


def _checked(memory: Written) -> Written:
    _check_importance(memory.importance)
    if not memory.text.strip():
        raise ConfigError("there is nothing to remember: the text is empty")
    if len(memory.text) > MOST_TEXT:
        raise ConfigError(
            f"a memory of {len(memory.text):,} characters is too long",
            hint=f"at most {MOST_TEXT:,}; `reverie ingest` is for documents",
        )
    if not memory.kind.strip():
        raise ConfigError("a memory needs a kind, such as note")
    return memory


def _check_importance(importance: float) -> None:
    if not (math.isfinite(importance) and 0 <= importance <= 1):
        raise ConfigError(f"an importance of {importance:g}", hint="give a number from 0 to 1")
