"""The lines of a text, and which of them are code."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Line:
    """One line; ``number`` counts from 1, ``code`` says that it is in a fenced block."""

    number: int
    text: str
    code: bool = False


def lines_of(text: str, *, markdown: bool) -> list[Line]:
    """Every line of ``text``. Only Markdown has fences."""
    lines: list[Line] = []
    fence = ""
    for number, line in enumerate(text.split("\n"), 1):
        mark = _FENCE.match(line) if markdown else None
        ends = mark is not None and fence != "" and line.strip().startswith(fence)
        if mark is not None and not fence:
            fence = mark[1]
            lines.append(Line(number, line, code=True))
            continue
        lines.append(Line(number, line, code=bool(fence)))
        if ends:
            fence = ""
    return lines
