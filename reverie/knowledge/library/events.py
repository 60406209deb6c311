"""What an ingest tells while it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Found:
    """Folders were listed: so many files, and so many of them have to be looked into."""

    files: int
    changed: int
    size: int
    """Bytes of those that have to be looked into."""
    type: Literal["found"] = "found"


@dataclass(frozen=True, slots=True)
class Reading:
    """A file is being read and cut into chunks."""

    path: str
    type: Literal["reading"] = "reading"


@dataclass(frozen=True, slots=True)
class Embedded:
    """Texts got their vectors, and those are stored."""

    texts: int
    seconds: float
    """That the embedder took for them."""
    path: str = ""
    """The file that they belong to, or the first of several."""
    type: Literal["embedded"] = "embedded"


@dataclass(frozen=True, slots=True)
class Done:
    """A file is stored and can be found."""

    path: str
    chunks: int
    written: int
    """Chunks that are new or changed."""
    replaced: bool
    """Whether the file was there before."""
    notices: tuple[str, ...] = ()
    """What was odd about it."""
    type: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file is the same as when it was ingested."""

    path: str
    type: Literal["skipped"] = "skipped"


@dataclass(frozen=True, slots=True)
class Removed:
    """A file has gone, and all that was known of it."""

    path: str
    type: Literal["removed"] = "removed"


@dataclass(frozen=True, slots=True)
class Failed:
    """A file or folder cannot be read. What was stored of it before stays."""

    path: str
    reason: str
    hint: str = ""
    type: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something does not work, and the ingest goes on without it."""

    message: str
    type: Literal["warned"] = "warned"


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event: how long which part took. Parts overlap."""

    seconds: float
    parts: dict[str, float]
    """Seconds by part: "list", "read", "embed", "store", "index", "graph"."""
    type: Literal["ended"] = "ended"


IngestEvent = Found | Reading | Embedded | Done | Skipped | Removed | Failed | Warned | Ended
