"""Short forms that a text itself explains: "World Health Organization (WHO)"."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BRACKETS = re.compile(r"\(([^()\n]{2,120})\)")
_SHORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9&./-]{1,9}")
_WORD = re.compile(r"[^\W_]+(?:[-'&][^\W_]+)*")
_MOST_BEFORE = 150
_FUNCTION = frozenset({"a", "an", "and", "by", "for", "in", "of", "on", "or", "the", "to", "with"})


@dataclass(frozen=True, slots=True)
class Acronym:
    """A short form, what it stands for, and the character of the text where the short one is."""

    short: str
    long: str
    start: int


def acronyms(text: str) -> list[Acronym]:
    """The short forms that ``text`` explains, in order; those in brackets behind their long form,
    and long forms in brackets behind the short one. Linear.

    After Schwartz and Hearst 2003, stricter: every letter of the short form has to begin a word,
    and every word but "of" and its like has to be begun by one.
    """
    found: dict[tuple[str, str], Acronym] = {}
    for brackets in _BRACKETS.finditer(text):
        inside = brackets[1].split(",")[0].split(";")[0].strip()
        before = text[max(0, brackets.start() - _MOST_BEFORE) : brackets.start()].rstrip()
        before = re.split(r"[.;:!?]\s|\n\s*\n", before)[-1]
        if _is_short(inside):
            pair, at = (inside, _long_before(inside, before)), brackets.start(1)
        else:
            short = before.rpartition(" ")[2].strip("\"'")
            fits = _is_short(short) and _fits(short, [w[0] for w in _WORD.finditer(inside)])
            pair, at = (short, inside if fits else ""), brackets.start()
        if pair[1] and pair[0].casefold() != pair[1].casefold():
            found.setdefault(pair, Acronym(*pair, at))
    return list(found.values())


def _is_short(text: str) -> bool:
    return (
        _SHORT.fullmatch(text) is not None
        and sum(character.isupper() for character in text) >= 2
        and any(map(str.isalpha, text))
    )


def _long_before(short: str, before: str) -> str:
    """The words at the end of ``before`` that ``short`` stands for; empty when there are none."""
    words = list(_WORD.finditer(before))
    letters = sum(character.isalnum() for character in short)
    for count in range(min(letters, 2), min(letters + 5, len(words)) + 1):
        some = words[len(words) - count :]
        if some[0][0].casefold() not in _FUNCTION and _fits(short, [word[0] for word in some]):
            return " ".join(before[some[0].start() : some[-1].end()].split())
    return ""


def _fits(short: str, words: list[str]) -> bool:
    letters = [character.casefold() for character in short if character.isalnum()]
    parts = [part for word in words for part in re.split(r"[-&]", word) if part]
    position = 0
    for part in parts:
        if position < len(letters) and part[0].casefold() == letters[position]:
            position += 1
        elif part.casefold() not in _FUNCTION:
            return False
    return position == len(letters) >= 2
