"""The library of documents: ``Library``, and what ingesting them tells."""

from reverie.knowledge.library.events import (
    Done,
    Embedded,
    Ended,
    Failed,
    Found,
    IngestEvent,
    Reading,
    Removed,
    Skipped,
    Warned,
)
from reverie.knowledge.library.filters import EVERYWHERE, Where
from reverie.knowledge.library.library import Library
from reverie.knowledge.library.records import Folder, LibraryStatus

__all__ = [
    "EVERYWHERE",
    "Done",
    "Embedded",
    "Ended",
    "Failed",
    "Folder",
    "Found",
    "IngestEvent",
    "Library",
    "LibraryStatus",
    "Reading",
    "Removed",
    "Skipped",
    "Warned",
    "Where",
]
