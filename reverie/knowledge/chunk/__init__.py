"""Documents to the pieces that are embedded and found: functions, sections, sentences."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from reverie.knowledge.chunk.chunk import Chunk, ChunkKind
from reverie.knowledge.chunk.code import code_pieces
from reverie.knowledge.chunk.markdown import markdown_pieces
from reverie.knowledge.chunk.piece import Lines, Piece
from reverie.knowledge.chunk.prose import prose_pieces
from reverie.knowledge.chunk.tokens import count_tokens
from reverie.knowledge.read.document import SourceDocument

__all__ = ["Chunk", "ChunkKind", "chunks_of", "count_tokens"]

_DESCRIBED = 200
"""Characters of a docstring that the embedding text begins with."""
_PATH_PARTS = 3
_LONGEST_NAME = 300
"""Characters of a title or name, which every chunk under it repeats."""


def chunks_of(document: SourceDocument, *, tokens: int) -> list[Chunk]:
    """The chunks of ``document`` in its order, which together hold all of its text; none for white
    space. Blocks: about 1 MB a second.

    ``tokens`` is the most that a chunk has by ``count_tokens``, an estimate. A function may have
    four times as many, and is cut between statements only when it has more; the head of a class
    with its docstring twice as many. Any text will do; code
    that does not parse is cut as well as can be. Raises ConfigError when the grammar of its
    language, or the parser of Markdown, is not installed.
    """
    lines = Lines(document.text)
    seen: Counter[str] = Counter()
    chunks: list[Chunk] = []
    for piece in _pieces(document, lines, tokens):
        start, end = lines.trimmed(piece.start, piece.end)
        if start == end:
            continue
        text = document.text[start:end]
        own = _hash(document, piece, text)
        seen[own] += 1
        chunks.append(
            Chunk(
                id=own if seen[own] == 1 else _digest(own, str(seen[own])),
                kind=piece.kind,
                text=text,
                span=document.span(lines.at(start) + 1, lines.at(end - 1) + 1),
                name=piece.name,
                headings=tuple(piece.headings),
                docstring=piece.docstring,
                embedding_text=_embedding_text(document, piece, text),
            )
        )
    return chunks


def _pieces(document: SourceDocument, lines: Lines, tokens: int) -> Iterator[Piece]:
    if document.media == "code":
        return code_pieces(document, lines, tokens)
    if document.media == "markdown":
        return markdown_pieces(lines, tokens)
    return prose_pieces(document, lines, tokens)


def _embedding_text(document: SourceDocument, piece: Piece, text: str) -> str:
    """The text, and in front of it what a search should know that stands elsewhere."""
    if document.media == "code":
        path = "/".join(PurePosixPath(document.path).parts[-_PATH_PARTS:])
        said = " ".join(piece.docstring.split())[:_DESCRIBED]
        name = f"{piece.kind} {piece.name}".strip()[:_LONGEST_NAME]
        front = (name, said, path.strip("/"), piece.lead)
    else:
        headings = [heading[:_LONGEST_NAME] for heading in piece.headings]
        title = document.title[:_LONGEST_NAME]
        if title and headings[:1] != [title]:
            headings.insert(0, title)
        front = (" > ".join(headings), "", "", piece.lead)
    return "\n".join([*filter(None, front), text])


def _hash(document: SourceDocument, piece: Piece, text: str) -> str:
    return _digest(document.path, document.record, piece.kind, piece.name, text)


def _digest(*parts: str) -> str:
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:32]
