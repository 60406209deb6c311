"""Rows of ``library.sqlite``: a file's documents and chunks, in and out of a transaction."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from typing import Final

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.database import storable
from reverie.knowledge.graph.records import Span
from reverie.knowledge.library.records import ReadFile, Replaced
from reverie.knowledge.read.document import SourceDocument

_FAST: Final = 1
"""Level of compression: text shrinks to a third at 100 MB/s."""


def file_id(connection: sqlite3.Connection, path: str) -> int | None:
    row = connection.execute("SELECT id FROM files WHERE path = ?", (storable(path),)).fetchone()
    return None if row is None else int(row[0])


def replace_documents(
    connection: sqlite3.Connection, number: int | None, file: ReadFile
) -> set[tuple[str]]:
    """Returns the paths of documents that are in the file no more."""
    before = connection.execute("SELECT path FROM documents WHERE file_id = ?", (number,))
    gone = {(path,) for (path,) in before}
    connection.execute("DELETE FROM documents WHERE file_id = ?", (number,))
    connection.executemany(
        "INSERT INTO documents (file_id, position, path, media, language, title, record, "
        "text, lines, pages) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(number, position, storable(d.path), d.media, d.language, storable(d.title)),
                storable(d.record),
                zlib.compress(d.text.encode("utf-8", "replace"), _FAST),
                _packed(d.lines),
                _packed(d.pages),
            )
            for position, d in enumerate(file.documents)
        ),
    )
    return gone - {(storable(d.path),) for d in file.documents}


def replace_chunks(connection: sqlite3.Connection, number: int | None, file: ReadFile) -> Replaced:
    rows = connection.execute("SELECT key, hash FROM chunks WHERE file_id = ?", (number,))
    before: dict[str, str] = dict(rows.fetchall())
    left = dict(before)
    written = 0
    for document, (chunks, hashes) in enumerate(zip(file.chunks, file.hashes, strict=True)):
        title = storable(file.documents[document].title)
        for position, (chunk, text) in enumerate(zip(chunks, hashes, strict=True)):
            connection.execute(
                "INSERT INTO chunks (key, file_id, document, position, kind, name, title, "
                "headings, docstring, text, embedding_text, hash, first_line, last_line, page) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET document = excluded.document, "
                "position = excluded.position, title = excluded.title, "
                "headings = excluded.headings, docstring = excluded.docstring, "
                "embedding_text = excluded.embedding_text, hash = excluded.hash, "
                "first_line = excluded.first_line, last_line = excluded.last_line, "
                "page = excluded.page",
                (
                    *(chunk.id, number, document, position, chunk.kind, storable(chunk.name)),
                    *(title, json.dumps(list(chunk.headings)), storable(chunk.docstring)),
                    *(storable(chunk.text), storable(chunk.embedding_text), text),
                    *(chunk.span.first_line, chunk.span.last_line, chunk.span.page),
                ),
            )
            if left.pop(chunk.id, None) != text:
                written += 1
                connection.execute("INSERT INTO changes (key) VALUES (?)", (chunk.id,))
    for key in left:
        connection.execute("DELETE FROM chunks WHERE key = ?", (key,))
        connection.execute("DELETE FROM extracted WHERE key = ?", (key,))
        connection.execute("INSERT INTO changes (key) VALUES (?)", (key,))
    return Replaced(len(before), not before, written, len(left))


def document_of(row: Sequence[object]) -> SourceDocument:
    _, path, media, text, language, title, lines, pages, record = row
    return SourceDocument(
        str(path),
        media,  # type: ignore[arg-type]  # as it was written
        zlib.decompress(text).decode("utf-8"),  # type: ignore[arg-type]  # a blob
        str(language),
        str(title),
        _unpacked(lines),
        _unpacked(pages),
        record=str(record),
    )


def chunks_of_document(
    connection: sqlite3.Connection, number: int | None, document: int, path: str
) -> list[Chunk]:
    rows = connection.execute(
        "SELECT key, kind, text, first_line, last_line, page, name, headings, docstring, "
        "embedding_text FROM chunks WHERE file_id = ? AND document = ? ORDER BY position",
        (number, document),
    )
    return [
        Chunk(key, kind, text, Span(path, *span), name, tuple(json.loads(heads)), doc, embedding)
        for key, kind, text, *span, name, heads, doc, embedding in rows
    ]


def _packed(numbers: Sequence[int] | None) -> bytes | None:
    return None if numbers is None else zlib.compress(json.dumps(list(numbers)).encode(), _FAST)


def _unpacked(blob: object) -> list[int] | None:
    if not isinstance(blob, bytes):
        return None
    numbers: list[int] = json.loads(zlib.decompress(blob))
    return numbers
