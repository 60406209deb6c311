"""A piece of a document that is embedded and found as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reverie.knowledge.graph.records import Span

ChunkKind = Literal[
    "function", "class", "method", "imports", "docstring", "code", "section", "prose", "table"
]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A function, a section under a heading, some sentences."""

    id: str
    """A hash of path, kind, name and text, and of which of several such it is: the same for the
    same text in the same place of a file, however many lines were put in above it.
    """
    kind: ChunkKind
    text: str
    """As it stands in the document."""
    span: Span
    name: str = ""
    """Of code the qualified name, ``Class.method``; of a section its heading."""
    headings: Sequence[str] = ()
    """What it stands under, outermost first; of a section the last is its own heading."""
    docstring: str = ""
    embedding_text: str = ""
    """What is embedded and searched by words: the text, with what says where it stands."""
