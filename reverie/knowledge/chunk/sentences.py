"""Where sentences end, by rules: several scripts, common abbreviations, and lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from reverie.knowledge.chunk.piece import Lines
from reverie.knowledge.chunk.tokens import weigh
from reverie.knowledge.chunk.windows import Unit, cut

_CLOSING: Final = "\"'\u201d\u2019»)\\]」』\uff09】》"
_STOPS: Final = ".!?…؟۔।॥։።᠃"  # noqa: RUF001  # the full stops of other scripts are meant
_SHAD: Final = "་།༎"
_END: Final = re.compile(
    # A full stop and its like, when white space follows; in scripts without spaces, always. What
    # may fail is tried once in a run: a line of a hundred thousand dots takes no longer.
    rf"(?<![{_STOPS}])[{_STOPS}]+[{_CLOSING}]*(?=\s)|[。！？｡．]+[{_CLOSING}]*"  # noqa: RUF001  # as above
    rf"|(?<![{_SHAD}])[{_SHAD}]+(?=\s)|[។၊။]+"
)
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\"'])(?:"
    r"[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Gen|Col|Lt|Capt|Rev|Hon|Sen|Rep|Gov|Pres|Mt|Ft|No|Nos|Fig"
    r"|Figs|Eq|Eqs|Sec|Ch|Vol|Ed|Eds|Art|Inc|Ltd|Co|Corp|Bros|vs|cf|al|approx|ca|pp|p|etc|viz"
    r"|e\.g|i\.e|a\.m|p\.m|U\.S|U\.K|U\.N|Ph\.D"
    r"|z\.B|d\.h|u\.a|bzw|usw|ggf|Nr|Abs|Hr|Fr|Mme|Mlle|Sra"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
    r")$"
)
_LONGEST_ABBREVIATION: Final = 8
_ITEM: Final = re.compile(r"\s*(?:[-+*•‣◦]|\(?\w{1,3}[.)])\s")


def sentence_units(lines: Lines, first: int, last: int, most: int) -> list[Unit]:
    """The sentences of the lines ``first`` to ``last``. The first of a paragraph has rank 0, the
    first of an item of a list 1, any other 2.
    """
    units: list[Unit] = []
    for begin, end, rank in _paragraphs(lines, first, last):
        sentences = _sentences(lines.text, lines.start(begin), lines.end(end))
        for number, (start, stop) in enumerate(sentences):
            here = rank if number == 0 else 2
            tokens = weigh(lines.text[start:stop])
            if tokens <= most:
                units.append(Unit(start, stop, tokens, here, sentence=True))
            else:
                units += cut(lines.text, start, stop, most, here)
    return units


def _paragraphs(lines: Lines, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """First and last line of every paragraph and item of a list, and its rank."""
    begin, rank = -1, 0
    for number in range(first, last + 1):
        if lines.blank(number):
            if begin >= 0:
                yield begin, number - 1, rank
            begin = -1
        elif begin < 0:
            begin, rank = number, 0
        elif _ITEM.match(lines.lines[number]):
            yield begin, number - 1, rank
            begin, rank = number, 1
    if begin >= 0:
        yield begin, last, rank


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where every sentence of the slice begins and ends, without white space around it."""
    for match in _END.finditer(text, start, end):
        stop = match.end()
        if match.group() == "." and not _ends(text, start, match.start(), end):
            continue
        yield from _stripped(text, start, stop)
        start = stop
    yield from _stripped(text, start, end)


def _ends(text: str, start: int, dot: int, end: int) -> bool:
    """Whether the full stop at ``dot`` ends a sentence: not so after an abbreviation or a number
    in a list, and not when the next word begins small.
    """
    before = text[max(start, dot - _LONGEST_ABBREVIATION) : dot]
    if _ABBREVIATION.search(before) or (before.isdigit() and dot - start <= len(before)):
        return False
    for position in range(dot + 1, min(dot + 20, end)):
        if not text[position].isspace():
            return not text[position].islower()
    return True


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
