"""Fills chunks with units of text, one after the other, up to a number of tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reverie.knowledge.chunk.piece import Lines
from reverie.knowledge.chunk.tokens import reach, weigh

_MOST_REPEATED = 0.25
"""Share of a chunk that the sentence it shares with the chunk before may take."""
_FILLED = 0.5
"""Share of a chunk from which on it may end early, where a paragraph does."""
_LONGEST_CHARACTER = 16
"""Code points that are drawn as one and not cut."""
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Unit:
    """What is not cut: a sentence, a line, a code fence that fits."""

    start: int
    end: int
    tokens: float
    rank: int = 0
    """How good it is to begin a chunk here: 0 is a new paragraph or statement, more is worse."""
    sentence: bool = False
    """Whether it may be repeated at the beginning of the next chunk."""


def windows(units: Sequence[Unit], most: int) -> Iterator[tuple[int, int]]:
    """Slices of the text that hold all units in order, at most ``most`` tokens each.

    A chunk ends where the best unit to begin another follows, among those that leave it at least
    half full. One that ends inside a paragraph is followed by one that repeats its last sentence.
    """
    first = 0
    repeated = False
    while first < len(units):
        last, full = first, units[first].tokens
        while last + 1 < len(units) and full + units[last + 1].tokens <= most:
            last += 1
            full += units[last].tokens
        if last + 1 < len(units):
            last = _best_end(units, first, last, full, repeated)
        yield units[first].start, units[last].end
        following = last + 1
        repeated = False
        if following < len(units):
            unit = units[last]
            inside = units[following].rank > 1 and unit.sentence and last > first
            fits = unit.tokens + units[following].tokens <= most
            if inside and fits and unit.tokens <= most * _MOST_REPEATED:
                following, repeated = last, True
        first = following


def _best_end(units: Sequence[Unit], first: int, last: int, full: float, repeated: bool) -> int:
    """The last unit of the chunk that begins at ``first`` and could go on to ``last``."""
    least = full * _FILLED
    best, rank = last, units[last + 1].rank
    for end in range(last - 1, first if repeated else first - 1, -1):
        full -= units[end + 1].tokens
        if rank == 0 or full < least:
            break
        if units[end + 1].rank < rank:
            best, rank = end, units[end + 1].rank
    return best


def line_units(
    lines: Lines, first: int, last: int, most: int, ranks: Sequence[int] | None = None
) -> list[Unit]:
    """The lines as units; ``ranks`` has one for each of them, and otherwise indentation says it.
    Lines that are too long are cut at words.
    """
    units: list[Unit] = []
    after_blank = True
    for number in range(first, last + 1):
        line = lines.lines[number]
        if not line or line.isspace():
            after_blank = True
            continue
        if ranks is None:
            indent = min(len(line) - len(line.lstrip()), 100)
            # A lone closing bracket begins nothing.
            closing = not any(map(str.isalnum, line))
            rank = 2 * indent + (0 if after_blank else 1) + (100 if closing else 0)
        else:
            rank = ranks[number - first]
        after_blank = False
        tokens = lines.tokens(number, number)
        if tokens <= most:
            units.append(Unit(lines.start(number), lines.end(number), tokens, rank))
        else:
            units += cut(lines.text, lines.start(number), lines.end(number), most, rank)
    return units


def cut(text: str, start: int, end: int, most: int, rank: int = 0) -> list[Unit]:
    """What is too long to be one unit, cut at white space, or between characters if need be."""
    units: list[Unit] = []
    while start < end:
        stop = _cut_at(text, start, end, most)
        if not text[start:stop].isspace():
            worse = rank if not units else 1000
            units.append(Unit(start, stop, weigh(text[start:stop]), worse))
        start = stop
    return units


def _cut_at(text: str, start: int, end: int, most: int) -> int:
    """Where the longest beginning of the slice ends that has at most ``most`` tokens."""
    reached = reach(text, start, end, most)
    if reached >= end:
        return end
    for stop in range(reached, (start + reached) // 2, -1):
        if text[stop - 1].isspace():
            return stop
    stop = reached
    while (
        stop > max(start + 1, reached - _LONGEST_CHARACTER)
        and stop < end
        and _belongs(text[stop], text[stop - 1])
    ):
        stop -= 1
    return stop


def _belongs(character: str, before: str) -> bool:
    """Whether it is drawn as one with the character before it."""
    return (
        unicodedata.combining(character) > 0
        or character in _JOINERS
        or before in _JOINERS
        or "\ufe00" <= character <= "\ufe0f"
    )
