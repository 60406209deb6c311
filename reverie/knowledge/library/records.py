"""What the library keeps of a file, and what is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.read.document import SourceDocument

Extract = Literal["nothing", "rules", "model"]

EXTRACTS: Final[tuple[str, ...]] = ("", "nothing", "rules", "model")
"""How much of a file the graph holds, least first; empty: it was not written yet."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as a folder listed it."""

    path: Path
    size: int
    """In bytes."""
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as it was when it was ingested."""

    size: int
    mtime_ns: int
    digest: str
    recipe: str
    graph: str


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was read and cut: ready to be stored once its texts have vectors."""

    path: str
    size: int
    mtime_ns: int
    digest: str
    recipe: str
    documents: Sequence[SourceDocument]
    chunks: Sequence[Sequence[Chunk]]
    """Of every document."""
    hashes: Sequence[Sequence[str]]
    """Of their embedding texts."""

    @property
    def count(self) -> int:
        """How many chunks."""
        return sum(map(len, self.chunks))


@dataclass(frozen=True, slots=True)
class Replaced:
    """What storing a file did."""

    before: int
    """Chunks that it had; 0 when it was not there."""
    is_new: bool
    written: int
    """Chunks that came or changed."""
    deleted: int


@dataclass(frozen=True, slots=True)
class Folder:
    """What was named to be ingested, and what of it is there."""

    path: str
    files: int
    chunks: int
    size: int
    """Bytes of the files."""
    ingested: float
    """When it was last ingested, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class LibraryStatus:
    """What there is."""

    path: str
    files: int
    documents: int
    chunks: int
    size: int
    """Bytes of the files that were read."""
    stored: int
    """Bytes of ``library.sqlite``."""
    embedder: str
    lacking: int
    """Chunks without a vector of that embedder: found by words only."""
    unindexed: int
    """Changes that the vector index has not seen; they are searched exactly."""
    ungraphed: int
    """Files that are not in the graph yet."""
    kinds: Sequence[tuple[str, int]]
    """Chunks by kind, most first."""
    folders: Sequence[Folder]
    notices: Sequence[str] = ()


def text_hash(text: str) -> str:
    """What an embedding is kept under."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
