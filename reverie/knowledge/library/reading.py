"""One file, read and cut into chunks. Everything here blocks."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from reverie.errors import DocumentUnreadable
from reverie.knowledge.chunk import chunks_of
from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.library.records import FoundFile, KnownFile, ReadFile, text_hash
from reverie.knowledge.read import SourceDocument, path_name, read_file

_VERSION: Final = 1
"""Higher when reading or cutting has changed so that files should be read again."""

_FRESH_NS: Final = 2_000_000_000
"""A file that was written so shortly before could be written again without another time."""


def recipe(chunk_tokens: int) -> str:
    """How files are read and cut; files that were read by another recipe are read again."""
    return f"{_VERSION} {chunk_tokens}"


def same_content(found: FoundFile, known: KnownFile, most_bytes: int) -> bool:
    """Whether the file still holds what was read of it. Raises ``DocumentUnreadable``."""
    return found.size == known.size and _digest(found, most_bytes) == known.digest


def read(found: FoundFile, *, chunk_tokens: int, most_bytes: int) -> ReadFile:
    """Raises ``DocumentUnreadable``, and ``ConfigError`` where a package is missing."""
    digest = _digest(found, most_bytes)
    documents = read_file(found.path, most_bytes=most_bytes)
    file = cut(path_name(found.path), documents, chunk_tokens)
    return replace(file, size=found.size, mtime_ns=settled(found), digest=digest)


def cut(name: str, documents: Sequence[SourceDocument], chunk_tokens: int) -> ReadFile:
    """Documents that others have read, as a file. Raises ``ConfigError``."""
    chunks = _distinct([chunks_of(document, tokens=chunk_tokens) for document in documents])
    digest = hashlib.sha256()
    for document in documents:
        digest.update(f"{document.title}\0{document.text}\0".encode("utf-8", "replace"))
    return ReadFile(
        path=name,
        size=sum(len(document.text) for document in documents),
        mtime_ns=-1,
        digest=digest.hexdigest(),
        recipe=recipe(chunk_tokens),
        documents=documents,
        chunks=chunks,
        hashes=[[text_hash(chunk.embedding_text) for chunk in some] for some in chunks],
    )


def settled(found: FoundFile) -> int:
    """The file's time of change; -1 when that is too short ago to tell a later change from it."""
    return -1 if time.time_ns() - found.mtime_ns < _FRESH_NS else found.mtime_ns


def _digest(found: FoundFile, most_bytes: int) -> str:
    path: Path = found.path
    if found.size > most_bytes or not path.is_file():
        return ""  # reading it says why not
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DocumentUnreadable(
            f"{path_name(path)} cannot be read: {error.strerror or error}",
            hint="Check that it is there and that you may read it",
        ) from error


def _distinct(cut: Sequence[Sequence[Chunk]]) -> list[list[Chunk]]:
    """Every chunk of the file under an id of its own: records of one file may say the same."""
    seen: Counter[str] = Counter()
    kept: list[list[Chunk]] = []
    for chunks in cut:
        kept.append([])
        for chunk in chunks:
            seen[chunk.id] += 1
            count = seen[chunk.id]
            own = chunk.id if count == 1 else text_hash(f"{chunk.id} {count}")
            kept[-1].append(replace(chunk, id=own))
    return kept
