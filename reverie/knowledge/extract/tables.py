"""Tables in Markdown: what stands in which row and column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from reverie.knowledge.extract.lines import Line

MOST_CELLS: Final = 20_000
"""Of one document: beyond that it is a data set."""

_MOST_COLUMNS = 200
_MOST_LINE = 2000
"""Characters of the rule below the headings."""

_RULE = re.compile(r"^\s{0,3}\|?\s{0,9}:?-+:?\s{0,9}(?:\|\s{0,9}:?-+:?\s{0,9})*\|?\s*$")
_CELL = re.compile(r"(?<!\\)\|")
_ORDINAL = re.compile(r"#?\d{1,3}[.)]?")
"""A row's number, which every table has: the next cell names the row."""
_MARKS = re.compile(r"\*\*|__|`|(?<!\w)[*_]|[*_](?!\w)")
_LINKED = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()]{0,500}\)")
_PLAIN_VALUE = re.compile(
    r"[\W\d_]*|(?:y|n|yes|no|true|false|none|null|n/?a|x|partial|partly|ok|unknown|optional|required)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table says of a row: the name in its first column, or behind its number,
    the column's heading, the value, and the line of the text (from 1).
    """

    row: str
    column: str
    value: str
    line: int

    @property
    def statement(self) -> str:
        """In words, as the name of what is said."""
        return f"{self.row} {self.column}: {self.value}" if self.column else self.value

    @property
    def names_a_thing(self) -> bool:
        """Whether the value can stand for itself. A number or a "yes" means nothing without its
        row, and would tie together every row that has the same.
        """
        return (
            len(self.value) <= 80
            and len(self.value.split()) <= 6
            and sum(map(str.isalpha, self.value)) > 2
            and not _PLAIN_VALUE.fullmatch(self.value)
        )


def cells(lines: Sequence[Line]) -> list[Cell]:
    """Every cell with a row's name and a value, at most ``MOST_CELLS``, in order."""
    found: list[Cell] = []
    position = 1
    while position < len(lines) and len(found) < MOST_CELLS:
        line, above = lines[position], lines[position - 1]
        position += 1
        if line.code or "|" not in line.text or "|" not in above.text:
            continue
        columns = _split(above.text) if _RULE.match(line.text[:_MOST_LINE]) else []
        if len(columns) < 2:
            continue
        columns = columns[1:_MOST_COLUMNS]
        while position < len(lines) and "|" in lines[position].text and not lines[position].code:
            found += _row(columns, lines[position])
            position += 1
    return found[:MOST_CELLS]


def _row(columns: Sequence[str], line: Line) -> Iterator[Cell]:
    row, *values = _split(line.text)
    if values and columns[1:] and _ORDINAL.fullmatch(row):
        (row, *values), columns = values, columns[1:]
    for column, value in zip(columns, values, strict=False):
        if row and value:
            yield Cell(row, column, value, line.number)


def _split(text: str) -> list[str]:
    inner = text.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [_words(cell) for cell in _CELL.split(inner)]


def _words(cell: str) -> str:
    plain = _MARKS.sub("", _LINKED.sub(r"\1", cell.replace("\\|", "|")))
    return " ".join(plain.split())
