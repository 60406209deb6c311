"""Numbers in text, in any notation: ``1,200``, ``1.2e3``, ``twelve hundred``, ``3/4``, ``75 %``,
``1 km``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number. ``value`` is in the base unit of its ``kind`` (metres, seconds), ``written`` is
    the number as it stands there, and ``places`` how many decimals it has.
    """

    value: Fraction
    kind: str
    written: Fraction
    places: int
    begin: int
    end: int

    def same(self, other: Quantity) -> bool:
        """Whether both say the same. A bare number is the same with a unit behind it; a rounded
        one, of two decimals or more, is the same as what it was rounded from.
        """
        if self.kind and other.kind:
            return self.kind == other.kind and self.value == other.value
        if self.value == other.value or self.written == other.written:
            return True
        places = min((p for p in (self.places, other.places) if p), default=0)
        return places >= _ROUNDED and round(self.value, places) == round(other.value, places)


def quantities(text: str) -> list[Quantity]:
    """The numbers in ``text``, in order."""
    text = _plain(text)
    found = list(_digits(text))
    found += [q for q in _words(text) if not any(d.begin <= q.begin < d.end for d in found)]
    return sorted(found, key=lambda q: q.begin)


def without_quantities(text: str) -> str:
    """``text`` with its numbers, and the units behind them, left out."""
    text = _plain(text)
    for one in reversed(quantities(text)):
        text = f"{text[: one.begin]} {text[one.end :]}"
    return text


_ROUNDED = 2

_UNITS: dict[str, tuple[str, Fraction]] = {
    name: (kind, Fraction(factor))
    for kind, units in {
        "share": {"%": "1/100", "percent": "1/100", "per cent": "1/100"},
        "length": {
            "mm": "1/1000",
            "cm": "1/100",
            "m": "1",
            "km": "1000",
            "millimeter": "1/1000",
            "centimeter": "1/100",
            "meter": "1",
            "metre": "1",
            "kilometer": "1000",
            "kilometre": "1000",
        },
        "mass": {"mg": "1/1000", "g": "1", "gram": "1", "kg": "1000", "kilogram": "1000"},
        "time": {
            "ms": "1/1000",
            "s": "1",
            "sec": "1",
            "second": "1",
            "min": "60",
            "minute": "60",
            "h": "3600",
            "hour": "3600",
            "day": "86400",
            "week": "604800",
        },
        "volume": {"ml": "1/1000", "l": "1", "liter": "1", "litre": "1"},
        "dollars": {"$": "1", "dollar": "1", "usd": "1", "cent": "1/100"},
        "euros": {"€": "1", "euro": "1", "eur": "1"},
        "celsius": {"°c": "1", "degrees celsius": "1"},
        "fahrenheit": {"°f": "1", "degrees fahrenheit": "1"},
        "degrees": {"°": "1", "degree": "1"},
    }.items()
    for name, factor in units.items()
}

_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_BEHIND = re.compile(rf"\s?(?P<unit>{_UNIT})(?P<s>s?)(?![\w])", re.IGNORECASE)
_DIGITS = re.compile(
    r"(?<![\w.])(?P<money>[$€]\s?)?(?P<sign>-\s?(?=\d)|[-+](?=[.\d$€]))?"
    r"(?P<money2>[$€]\s?)?"
    r"(?:(?P<whole>\d+)\s+(?=\d+\s?/\s?\d))?"  # of a mixed number, as 1 1/2
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?: \d{3})+(?![\d/])|\d+\.\d+|\.\d+|\d+)"
    r"(?:\s?/\s?(?P<below>\d+)(?![\d/]))?"
    r"(?:[eE](?P<e>[-+]?\d{1,3})|\s?(?:[x*\u00d7\u00b7]|times)\s?10\s?(?:\^|\*\*)\s?\{?(?P<power>[-+]?\d{1,3})\}?"
    r"|\s?\^\s?\{?(?P<raised>\d{1,2})\}?)?"
    r"(?!\w*\d)",
)
_FRACTIONS = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
_LATEX = re.compile(r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}")

_TEENS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TIES = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES = {word: value for value, word in enumerate(_TEENS.split())}
_TENS = {word: 10 * value for value, word in enumerate(_TIES.split(), start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_BEHIND_DIGITS = {"dozen": 12, "hundred": 100, **_SCALES}
_COUNTING = "|".join([*_TENS, *sorted(_ONES, key=len, reverse=True), "hundred", *_SCALES, "dozen"])
_IN_WORDS = re.compile(
    rf"\b(?:{_COUNTING})(?:(?:[\s-]+|\s+and\s+)(?:{_COUNTING}))*\b", re.IGNORECASE
)
_SCALE_BEHIND = re.compile(r"\s(dozen|hundred|thousand|million|billion)\b", re.IGNORECASE)


def _plain(text: str) -> str:
    text = _LATEX.sub(r"\1/\2", text)
    for sign, written in _FRACTIONS.items():
        text = re.sub(rf"(?<=\d)\s?{sign}", f" {written}", text).replace(sign, written)
    return re.sub(r"[\u2212\u2012\u2013](?=\s?\d)", "-", re.sub(r"[\u00a0\u202f\u2009]", " ", text))


def _digits(text: str) -> Iterator[Quantity]:
    for match in _DIGITS.finditer(text):
        digits = match["number"].replace(",", "").replace(" ", "")
        value = Fraction(digits)
        places = len(digits.partition(".")[2])
        if match["below"]:
            if not int(match["below"]):
                continue
            value /= int(match["below"])
        value += int(match["whole"] or 0)
        if exponent := match["e"] or match["power"]:
            value *= Fraction(10) ** int(exponent)
        elif match["raised"]:
            value **= int(match["raised"])
        end = match.end()
        if scale := _SCALE_BEHIND.match(text, end):
            value *= _BEHIND_DIGITS[scale[1].lower()]
            end = scale.end()
        if match["sign"] and match["sign"].startswith("-"):
            value = -value
        money = (match["money"] or match["money2"] or "").strip()
        yield _of(text, value, (match.start(), end), places, money)


def _words(text: str) -> Iterator[Quantity]:
    for match in _IN_WORDS.finditer(text):
        words = [w for w in re.split(r"[\s-]+", match[0].lower()) if w != "and"]
        one = words == ["one"] and match[0] != text.strip(" .!")
        if one or all(w in _SCALES for w in words):
            continue  # "a million stars" and "the one on the left" are no numbers
        yield _of(text, Fraction(_counted(words)), match.span())


def _counted(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word in _SCALES:
            total, part = total + (part or 1) * _SCALES[word], 0
        elif word == "hundred":
            part = (part or 1) * 100
        elif word == "dozen":
            part = (part or 1) * 12
        else:
            part += _ONES.get(word, _TENS.get(word, 0))
    return total + part


def _of(
    text: str, value: Fraction, span: tuple[int, int], places: int = 0, unit: str = ""
) -> Quantity:
    begin, end = span
    behind = None if unit else _BEHIND.match(text, end)
    if behind:
        unit = behind["unit"].lower()
        end = behind.end()
    kind, factor = _UNITS.get(unit, ("", Fraction(1)))
    return Quantity(value * factor, kind, value, places, begin, end)
