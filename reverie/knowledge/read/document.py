"""A file as it was read: its text, and where every line of it stands in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reverie.knowledge.graph.records import Span

Media = Literal["text", "markdown", "code"]


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """One document. HTML and PDF were turned into Markdown and text; a JSON Lines file has one
    document per record.
    """

    path: str
    """As it is named everywhere: absolute, with / between its parts; or an address."""
    media: Media
    text: str
    """Its lines end in a line feed, and nothing else ends one."""
    language: str = ""
    """Of code: "python", "javascript", "typescript", "go", "rust", "java", "c"."""
    title: str = ""
    lines: Sequence[int] | None = None
    """For every line of ``text`` the line of the file (from 1) it comes from; None: the same."""
    pages: Sequence[int] | None = None
    """For every line of ``text`` its page (from 1), of a PDF."""
    notices: Sequence[str] = ()
    """What was odd about it, such as bytes that are no text."""
    record: str = ""
    """Of a file of many records, which one it is: its id, or what tells it from others with the
    same text. Empty where nothing has to.
    """

    def span(self, first: int, last: int) -> Span:
        """Where lines ``first`` to ``last`` of ``text`` (from 1) stand in the file."""
        page = None if self.pages is None else self.pages[first - 1]
        if self.lines is not None:
            first, last = self.lines[first - 1], self.lines[last - 1]
        return Span(self.path, min(first, last), max(first, last), page)
