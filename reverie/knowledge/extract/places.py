"""Where chunks stand in the lines of their document."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.graph.records import Span
from reverie.knowledge.read.document import SourceDocument

_AHEAD = 65_536
"""How many characters beyond where a chunk is expected it is looked for: linear in all."""


class Places:
    """Finds the chunk of a line, and the line of a word in a chunk. Lines are those of
    ``document.text``, from 1; spans those of the file.
    """

    def __init__(self, document: SourceDocument, chunks: Sequence[Chunk]) -> None:
        self.document = document
        if document.lines is None:
            ranges = [(c.span.first_line, c.span.last_line) for c in chunks]
            self._lines: list[tuple[int, int] | None] = list(ranges)
        else:
            self._lines = _located(document.text, chunks)
        self._length = (
            document.text.count("\n") + 1 if document.lines is None else len(document.lines)
        )
        # The smallest chunk that holds a line is the one that begins last.
        held = [(lines, i) for i, lines in enumerate(self._lines) if lines is not None]
        self._order = sorted(held, key=lambda entry: (entry[0][0], -entry[0][1]))
        self._begins = [lines[0] for lines, _ in self._order]

    def line(self, number: int) -> Span:
        """Where one line of the document's text stands in the file."""
        if not self._length:
            return Span(self.document.path)
        number = min(max(number, 1), self._length)
        return self.document.span(number, number)

    def chunk_at(self, line: int) -> int | None:
        """The position of the innermost chunk with this line; None when none has it."""
        last = bisect_right(self._begins, line) - 1
        # Few levels: sections within sections, methods within classes.
        for (_, end), chunk in reversed(self._order[max(0, last - 8) : last + 1]):
            lines = self._lines[chunk]
            if lines is not None and lines[0] <= line <= end:
                return chunk
        return None

    def within(self, chunks: Sequence[Chunk], position: int, offset: int) -> Span:
        """Where the character at ``offset`` of a chunk's text stands; the whole chunk's place when
        its lines are not known.
        """
        chunk, lines = chunks[position], self._lines[position]
        if lines is None:
            return chunk.span
        return self.line(min(lines[0] + chunk.text.count("\n", 0, max(offset, 0)), lines[1]))


def _located(text: str, chunks: Sequence[Chunk]) -> list[tuple[int, int] | None]:
    """By chunk its first and last line in ``text``, of those that stand there as they are."""
    found: list[tuple[int, int] | None] = []
    at = counted = 0
    line = 1
    for chunk in chunks:
        piece = chunk.text.strip("\n")
        start = text.find(piece, at, at + len(piece) + _AHEAD) if piece else -1
        if start < 0:
            found.append(None)
            continue
        line += text.count("\n", counted, start)
        counted = start
        found.append((line, line + piece.count("\n")))
        at = start  # the next one may overlap this one, or lie within it
    return found
