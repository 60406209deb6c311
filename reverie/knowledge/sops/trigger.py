"""Whether a task has the words that call for a procedure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

MOST_READ: Final = 20_000
"""Characters of a task that are looked at."""

_APOSTROPHES: Final = str.maketrans({"\u2019": "'", "\u02bc": "'", "\uff07": "'"})

_UNSPACED: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # CJK
    (0x4E00, 0x9FFF),  # CJK
    (0xF900, 0xFAFF),  # CJK
    (0x20000, 0x323AF),  # CJK
)
"""Scripts whose words no space divides."""


def triggers_in(text: str, triggers: Sequence[str]) -> tuple[str, ...]:
    """Those of ``triggers`` that stand in ``text``, as whole words, whatever the case: "error" is
    not in "terror". One with a ``*`` at its end is the beginning of a word. Between letters of a
    script that is written without spaces, every place may be the edge of a word.
    """
    plain = _plain(text[:MOST_READ])
    return tuple(trigger for trigger in triggers if _stands_in(plain, trigger))


def _stands_in(plain: str, trigger: str) -> bool:
    wanted = _plain(trigger.removesuffix("*"))
    at = plain.find(wanted) if wanted else -1
    while at >= 0:
        end = at + len(wanted)
        if _edge(plain, at) and (trigger.endswith("*") or _edge(plain, end)):
            return True
        at = plain.find(wanted, at + 1)
    return False


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    return " ".join(folded.split())


def _edge(text: str, at: int) -> bool:
    """Whether a word may begin or end before the character ``at``."""
    if at in (0, len(text)):
        return True
    before, behind = text[at - 1], text[at]
    if not (_of_a_word(before) and _of_a_word(behind)):
        return True
    return _unspaced(before) or _unspaced(behind)


def _of_a_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def _unspaced(character: str) -> bool:
    point = ord(character)
    return any(first <= point <= last for first, last in _UNSPACED)
