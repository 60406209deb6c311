"""Whether two names can be names of one thing, as far as their letters tell.

Chosen on WordNet's nouns, where synonyms are known: names of the same letters are the same thing,
and so are names of several words of which one is spelled otherwise, when they also mean the same.
Nothing else is: names with a word more ("white birch"), with another word, in another order or in
the plural are mostly another thing there, however similar their vectors.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["letters", "spelling", "different"]
"""The same letters; one word spelled otherwise, where meaning has to agree; not the same."""

_WORD = re.compile(r"[^\W_]+")
_SYMBOLS = re.compile(r"[+#*/\\@$€£%<>=]")
_MARKS = re.compile(r"^[-_.~]+|_+$")
"""What tells ``--file``, ``.file``, ``__file__`` and the word apart."""
_QUALIFIER = re.compile(r"\(([^()]*)\)\s*$")
_MOST_WORDS = 8
_FEWEST_LETTERS = 5
"""Of a word that may be spelled otherwise."""
_ROMAN = re.compile(r"(?=[ivxlc])(?:x{0,3})(?:ix|iv|v?i{0,3})")
_ORDINALS: Final = frozenset(
    """first second third fourth fifth sixth seventh eighth ninth tenth one two three four five six
    seven eight nine ten junior senior jr sr""".split()  # noqa: SIM905  # a list of so many strings is not easier to read
)


@dataclass(frozen=True, slots=True)
class Name:
    """A name, taken apart."""

    plain: str
    """Letters and digits alone, without accents."""
    words: tuple[str, ...]
    numbers: tuple[str, ...]
    """Digits, ordinals, Roman numerals and single letters, in order: what tells versions, dates and
    persons apart.
    """
    symbols: tuple[str, ...]
    qualifier: str
    """What stands in brackets at its end."""


def name_of(text: str) -> Name:
    """Takes a name apart."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(c for c in decomposed if not unicodedata.combining(c))
    qualifier = _QUALIFIER.search(folded)
    words = tuple(_WORD.findall(folded))
    return Name(
        plain="".join(words),
        words=words,
        numbers=tuple(word for place, word in enumerate(words) if _tells_apart(word, place)),
        symbols=(*sorted(_SYMBOLS.findall(folded)), *_MARKS.findall(folded.strip())),
        qualifier=" ".join(_WORD.findall(qualifier[1])) if qualifier else "",
    )


def compared(one: Name, other: Name) -> Verdict:
    """What the letters of two names say. Names whose numbers, versions, dates, initials or symbols
    differ are never the same, nor those with different words in brackets at their end.
    """
    if not one.plain or one.symbols != other.symbols or one.qualifier != other.qualifier:
        return "different"
    if _digits(one) != _digits(other):
        return "different"
    if one.plain == other.plain:
        return "letters"
    if one.numbers != other.numbers or len(one.words) != len(other.words) or len(one.words) < 2:
        return "different"
    pairs = [(a, b) for a, b in zip(one.words, other.words, strict=True) if a != b]
    return "spelling" if len(pairs) == 1 and _spelled_otherwise(*pairs[0]) else "different"


def block_keys(name: Name) -> list[str]:
    """Names that share none of these need not be compared: their letters, and, for each longer word
    that may be spelled otherwise, all the others with its first letter.
    """
    keys = [f"={name.plain}"]
    if 2 <= len(name.words) <= _MOST_WORDS:
        for place, word in enumerate(name.words):
            if len(word) >= _FEWEST_LETTERS:
                others = [*name.words[:place], f"{word[0]}\0", *name.words[place + 1 :]]
                keys.append(" ".join(others))
    return keys


def _spelled_otherwise(one: str, other: str) -> bool:
    """Whether one letter is too many, missing or another one, within words of the same beginning.
    An ending more ("trade", "trader") makes another word.
    """
    short, long = sorted((one, other), key=len)
    if len(short) < _FEWEST_LETTERS or short[0] != long[0] or len(long) - len(short) > 1:
        return False
    if long.startswith(short) or short[:-1] == long[:-1]:
        return False
    at = next(i for i, letter in enumerate(short) if letter != long[i])
    return short[at + 1 :] == long[at + 1 :] or short[at:] == long[at + 1 :]


def _digits(name: Name) -> list[str]:
    return re.findall(r"\d+", " ".join(name.words))


def _tells_apart(word: str, place: int) -> bool:
    if any(map(str.isdigit, word)) or word in _ORDINALS:
        return True
    if len(word) == 1:
        return not (place == 0 and word == "a")
    return place > 0 and bool(_ROMAN.fullmatch(word))
