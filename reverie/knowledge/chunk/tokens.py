"""How many tokens a text has, by an estimate that needs no model.

Most chunks are made before an embedding model is loaded, and every model has another tokenizer. So
the sizes of chunks rest on an estimate, fitted by eye to the word pieces of all-MiniLM-L6-v2 on the
standard library's sources; ``python -m reverie.evals.bench chunks`` prints how far it is off.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Final

_PATTERN: Final = r"[A-Za-z\u00c0-\u024f]{1,%s}|[0-9]{1,%s}|[^\sA-Za-z\u00c0-\u024f0-9]"
_PIECES: Final = re.compile(_PATTERN.replace("%s", ""))
"""Runs of Latin letters, runs of digits, and every other character by itself."""
_LONGEST: Final = 64
_WORD: Final = tuple(max(1.1, 0.22 * letters) for letters in range(_LONGEST))
"""Tokens of a run of that many letters: short words are one token, rare long ones many."""
_NUMBER: Final = tuple(max(1.0, 0.5 * digits) for digits in range(_LONGEST))


def count_tokens(text: str) -> int:
    """About how many tokens ``text`` has, rounded up; 0 for white space."""
    return ceil(weigh(text))


def weigh(text: str) -> float:
    """The same before rounding, so that the parts of a text add up."""
    return sum(map(_weight, _PIECES.findall(text)))


def reach(text: str, start: int, end: int, most: float) -> int:
    """Up to where the slice from ``start`` has at most ``most`` tokens; beyond ``start``."""
    total = 0.0
    # The first part of a longer run is too much already. Whole, a genome in one line would be
    # looked through to its end for every chunk.
    longest = str(int(2 * most) + _LONGEST)
    for piece in re.compile(_PATTERN.replace("%s", longest)).finditer(text, start, end):
        weight = _weight(piece.group())
        if total + weight > most:
            if total:
                return piece.start()
            return min(end, piece.start() + max(1, int(2 * most)))
        total += weight
    return end


def _weight(piece: str) -> float:
    length = len(piece)
    if length == 1:
        return 1.0
    if length >= _LONGEST:
        return 0.5 * length
    return _NUMBER[length] if piece[0] <= "9" else _WORD[length]
