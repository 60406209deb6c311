"""Words, as the full-text index keeps them and as a query to Lucene asks for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

WORDS_ANALYSER: Final = "english"
"""Neo4j's name of the analyser: Porter's stems, as those of SQLite's full text."""

_MOST: Final = 256
"""Different words of a query; Lucene refuses more than 1024."""

_WORD = re.compile(r"[^\W_]+")

# What that analyser drops. Written otherwise they stay, so that "The Who" can be found.
_DROPPED: Final = re.compile(
    "an?|and|are|as|at|be|but|by|for|if|in|into|is|it|not?|of|on|or|such|that|the|their|then|there"
    "|these|they|this|to|was|will|with"
)


def words(text: str) -> list[str]:
    """The runs of letters and digits in ``text``, in lower case and without accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(c for c in plain if not unicodedata.combining(c))
    return _WORD.findall(bare)


def indexed(texts: Iterable[str]) -> str:
    """The words of ``texts``, as the index keeps them."""
    return " ".join(_kept(word) for text in texts for word in words(text))


def lucene_query(text: str) -> str:
    """A query for any of the words of ``text``; empty when there are none.

    It holds nothing but lower case letters, digits and ``OR`` between words, so nothing in it is an
    operator, a field or a wildcard.
    """
    different = dict.fromkeys(words(text))
    return " OR ".join(_kept(word) for word in list(different)[:_MOST])


def _kept(word: str) -> str:
    return f"{word}0stop" if _DROPPED.fullmatch(word) else word
