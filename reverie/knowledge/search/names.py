"""Names as texts write them: one form for all spellings, and where known names stand in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from reverie.knowledge.graph.records import thing_id

MOST_TITLE_WORDS: Final = 8
"""Nobody writes longer titles out in another text."""

_WORD: Final = re.compile(r"\w+")
_QUALIFIER: Final = re.compile(r"\s*\([^()]*\)\s*$")


def name_key(name: str) -> str:
    """What the spellings of a name share: "The Y-combinator." has "y combinator"."""
    return " ".join(_WORD.findall(thing_id(name)))


def title_name(title: str) -> str:
    """The name in a title, without what tells it from others: "Mercury (planet)" is "Mercury"."""
    return _QUALIFIER.sub("", title) or title


class KnownNames:
    """Names to be found in texts as whole words, the longest first. Blocks; immutable.

    Several words are found in any case. A single word is found when it stands there as it was
    given, or all in capitals: "Young" the name is not "young" the word.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._forms: dict[str, set[str]] = {}
        lengths: dict[str, set[int]] = {}
        for name in names:
            key = name_key(name)
            words = key.split()
            if not words or len(words) > MOST_TITLE_WORDS:
                continue
            forms = self._forms.setdefault(key, set())
            if len(words) == 1:
                written = _WORD.findall(name)[-1]
                forms |= {written, written.upper()}
            lengths.setdefault(words[0], set()).add(len(words))
        self._lengths = {word: sorted(some, reverse=True) for word, some in lengths.items()}

    def inside(self, text: str) -> set[str]:
        """The keys (``name_key``) of the names in ``text``."""
        written = _WORD.findall(text)
        words = [word.casefold() for word in written]
        found: set[str] = set()
        place = 0
        while place < len(words):
            length = self._at(written, words, place)
            if length:
                found.add(" ".join(words[place : place + length]))
            place += length or 1
        return found

    def _at(self, written: Sequence[str], words: Sequence[str], place: int) -> int:
        """How many words the longest name has that begins at ``place``; 0: none begins there."""
        for length in self._lengths.get(words[place], ()):
            forms = self._forms.get(" ".join(words[place : place + length]))
            if forms is not None and (length > 1 or written[place] in forms):
                return length
        return 0
