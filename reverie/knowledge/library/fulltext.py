"""Full text search over chunks: SQLite's FTS5, with any text taken as words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Final

from reverie.knowledge.database import Database
from reverie.knowledge.library.filters import EVERYWHERE, Where
from reverie.knowledge.search.records import Query, Ranked

_MOST_WORDS: Final = 64
"""Of a query; the rest of a very long one says little more."""

_MOST_CHARACTERS: Final = 20_000

_TITLE, _NAME, _TEXT = 2.0, 4.0, 1.0
"""How much a word counts in a document's title, in a chunk's name, in its text."""

STOPWORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a an and any are as at be because been but by can could did do does for from had happens "
        "has have how i if in into is it its me my of on or our please shall should so such than "
        "that the their them then there these they this those to was we were what when where which "
        "while who whom whose why will with would you your",
    )
)
"""What questions are made of, whatever they ask about."""


class FullTextSource:
    """Ranks chunks by their words (BM25). A ``SearchSource``."""

    name = "fulltext"
    wants_vector = False
    wants_found = False

    def __init__(self, database: Database, where: Where = EVERYWHERE) -> None:
        self._database = database
        self._where = where

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> Sequence[Ranked]:
        """At most ``limit`` chunks that have a word of the query, best first."""
        del found
        return await asyncio.to_thread(self._rank, query.text, limit)

    def _rank(self, text: str, limit: int) -> list[Ranked]:
        match = any_word(text)
        if not match:
            return []
        condition, values = self._where.condition()
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT c.key, -bm25(words, ?, ?, ?) AS score FROM words "  # noqa: S608  # ours
                f"JOIN chunks c ON c.id = words.rowid WHERE words MATCH ? AND {condition} "
                "ORDER BY score DESC, c.key LIMIT ?",
                (_TITLE, _NAME, _TEXT, match, *values, limit),
            ).fetchall()
        return [Ranked(key, score) for key, score in rows]


def words_of(text: str) -> list[str]:
    """The words that a query searches for, each once: without those that every question has,
    unless it has no others.
    """
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", text[:_MOST_CHARACTERS].casefold())))
    return [word for word in words if word not in STOPWORDS] or words


def any_word(text: str) -> str:
    """What FTS5 is asked for: any of the words. Nothing in ``text`` is a query language."""
    return " OR ".join(f'"{word}"' for word in words_of(text)[:_MOST_WORDS])
