"""What every way to chunk works with: slices of a document's text, and its lines."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from reverie.knowledge.chunk.chunk import ChunkKind
from reverie.knowledge.chunk.tokens import weigh


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk to be: the text from ``start`` up to ``end``, counted in characters."""

    kind: ChunkKind
    start: int
    end: int
    name: str = ""
    headings: Sequence[str] = ()
    docstring: str = ""
    lead: str = ""
    """What its embedding text repeats from elsewhere: of the later parts of a function its
    signature, of a table its header.
    """


class Lines:
    """A text by its lines, which end in a line feed and nothing else. Lines count from 0 here."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self.starts = [0]
        """Where every line begins, in characters."""
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self._weights: list[float] | None = None

    def __len__(self) -> int:
        return len(self.lines)

    def start(self, line: int) -> int:
        return self.starts[line]

    def end(self, line: int) -> int:
        """Where ``line`` ends, without its line feed."""
        return self.starts[line] + len(self.lines[line])

    def at(self, position: int) -> int:
        """The line that holds the character at ``position``."""
        return bisect_right(self.starts, position, hi=len(self.lines)) - 1

    def blank(self, line: int) -> bool:
        return not self.lines[line] or self.lines[line].isspace()

    def tokens(self, first: int, last: int) -> float:
        """About how many tokens the lines ``first`` to ``last`` have."""
        if self._weights is None:
            self._weights = [0.0]
            for line in self.lines:
                self._weights.append(self._weights[-1] + weigh(line))
        return self._weights[last + 1] - self._weights[first]

    def trimmed(self, start: int, end: int) -> tuple[int, int]:
        """The slice without blank lines around it and white space behind it. A slice that begins
        where a line does keeps that line's indentation.
        """
        text = self.text[start:end]
        end = start + len(text.rstrip())
        begin = start + len(text) - len(text.lstrip())
        if begin >= end:
            return start, start
        line_start = self.starts[self.at(begin)]
        return (line_start if line_start >= start else begin), end
