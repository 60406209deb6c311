"""Text as a standard operating procedure may hold it: one line, without what nobody can see."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field

MOST_CHARACTERS: Final = 500

_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Co", "Cn")
_JOINERS: Final = "\u200c\u200d"
"""Invisible, but they shape words of several scripts."""


def one_line(text: str) -> str:
    """``text`` with single spaces. Raises ValueError for a character that cannot be seen: a person
    who reads the procedure could not know what it says to a model.
    """
    line = " ".join(text.split())
    for character in line:
        if unicodedata.category(character) in _INVISIBLE and character not in _JOINERS:
            raise ValueError(f"the invisible character U+{ord(character):04X} is not allowed")
    return line


Line = Annotated[str, Field(max_length=MOST_CHARACTERS), AfterValidator(one_line)]
