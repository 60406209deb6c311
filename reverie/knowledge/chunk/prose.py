"""Prose by windows of whole sentences."""

from __future__ import annotations

from collections.abc import Iterator

from reverie.knowledge.chunk.piece import Lines, Piece
from reverie.knowledge.chunk.sentences import sentence_units
from reverie.knowledge.chunk.windows import windows
from reverie.knowledge.read.document import SourceDocument


def prose_pieces(document: SourceDocument, lines: Lines, tokens: int) -> Iterator[Piece]:
    """Every chunk of a text without structure. Chunks end with paragraphs where they can."""
    headings = (document.title,) if document.title else ()
    for start, end in windows(sentence_units(lines, 0, len(lines) - 1, tokens), tokens):
        yield Piece("prose", start, end, document.title, headings)
