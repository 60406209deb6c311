"""HTML to Markdown, with the line of the file that every line comes from.

The parser of the standard library reads it as a stream, so that damaged and deeply nested pages are
read like others, and no tree is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from typing import Final

from reverie.knowledge.read.document import SourceDocument
from reverie.knowledge.read.html_lines import MarkdownLines
from reverie.knowledge.read.markdown import LONGEST_HEADING

_CHARSET: Final = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_LOOKED_AT: Final = 4096

_SKIPPED: Final = frozenset({
    "script", "style", "template", "noscript", "svg", "math", "canvas", "iframe", "object",
    "audio", "video", "select", "button", "datalist", "nav", "dialog",
})  # fmt: skip
"""What is no text of the page, or only leads elsewhere."""
_ROLES: Final = frozenset({"navigation", "search", "menu", "menubar", "toolbar"})
_VOID: Final = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
})  # fmt: skip
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup",
    "html", "legend", "li", "main", "ol", "p", "section", "summary", "table", "tbody", "tfoot",
    "thead", "tr", "ul", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
})  # fmt: skip
_IMPLIED: Final[Mapping[str, frozenset[str]]] = {
    "li": frozenset({"li"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
    "tr": frozenset({"tr", "td", "th"}),
    "td": frozenset({"td", "th"}),
    "th": frozenset({"td", "th"}),
    "option": frozenset({"option"}),
}
"""What the beginning of an element ends, where the page leaves the end tag out."""
_CONTAINERS: Final = frozenset({"ul", "ol", "dl", "table"})
"""Across which nothing is ended by implication."""


_HEADINGS: Final = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BEGIN: Final[Mapping[str, Callable[[MarkdownLines], None]]] = {
    "li": MarkdownLines.item,
    "blockquote": MarkdownLines.begin_quote,
    "caption": MarkdownLines.caption,
    "table": MarkdownLines.begin_table,
    "td": MarkdownLines.cell,
    "th": MarkdownLines.cell,
    "main": MarkdownLines.begin_main,
}
_END: Final[Mapping[str, Callable[[MarkdownLines], None]]] = {
    "pre": MarkdownLines.end_pre,
    "caption": MarkdownLines.end_caption,
    "li": MarkdownLines.line_break,
    "dt": MarkdownLines.line_break,
    "ul": MarkdownLines.end_list,
    "ol": MarkdownLines.end_list,
    "blockquote": MarkdownLines.end_quote,
    "table": MarkdownLines.end_table,
    "tr": MarkdownLines.end_row,
    "main": MarkdownLines.end_main,
}


_MOST_ENDLESS: Final = 50


def declared_encoding(data: bytes) -> str:
    """The encoding that the page says it has, or ""."""
    match = _CHARSET.search(data[:_LOOKED_AT])
    return match[1].decode("ascii", "replace") if match else ""


def read_html(text: str, path: str, notices: Sequence[str]) -> list[SourceDocument]:
    """The page as one document; none for a page without text. Scripts, styles, navigation and what
    is hidden are left out, and everything outside of ``<main>`` where there is one.
    """
    page = _parsed(text, navigation=False)
    if not page.out.has_text:  # all of it stands in what should be left out
        page = _parsed(text, navigation=True)
    lines, origins = page.out.result()
    if not lines:
        return []
    title = (" ".join(page.title.split()) or page.out.first_heading)[:LONGEST_HEADING]
    return [
        SourceDocument(
            path, "markdown", "\n".join(lines), title=title, lines=tuple(origins), notices=notices
        )
    ]


def _parsed(text: str, *, navigation: bool) -> _Page:
    page = _Page(navigation=navigation)
    try:
        page.feed(text)
        page.close()
    except _Endless as rest:
        page.handle_data(text[-rest.characters :] if rest.characters else "")
    page.out.finish()
    return page


class _Endless(Exception):
    """Too many elements and comments are begun and never ended."""

    def __init__(self, characters: int) -> None:
        super().__init__(characters)
        self.characters = characters
        """How many are left."""


class _Page(HTMLParser):
    """Keeps track of which elements are open, and sends their text on."""

    def __init__(self, *, navigation: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.out = MarkdownLines()
        self.title = ""
        self._skipped = _SKIPPED - {"nav"} if navigation else _SKIPPED
        self._open: list[str] = []
        self._skipping = 0
        """How many elements were open when one began that is left out; 0: none is."""
        self._links: list[str] = []
        self._endless = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in _VOID:
            if not self._skipping:
                self._void(tag, attributes)
            return
        self._imply(tag)
        self._open.append(tag)
        if self._skipping:
            return
        if self._left_out(tag, attributes, dict(attrs)):
            self._skipping = len(self._open)
        else:
            self._begin(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._open[-200:]:
            if tag == "p" and not self._skipping:
                self.out.paragraph()
            return
        last = len(self._open) - 1
        while self._open[last] != tag:
            last -= 1
        self._close_from(last)

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if self._open and self._open[-1] == "title":
            self.title = self.title or data
            return
        self.out.text(data, self.getpos()[0])

    def parse_starttag(self, i: int) -> int:
        return self._ended(super().parse_starttag(i), i)

    def parse_endtag(self, i: int) -> int:
        return self._ended(super().parse_endtag(i), i)

    def parse_html_declaration(self, i: int) -> int:
        return self._ended(super().parse_html_declaration(i), i)

    def parse_comment(self, i: int, report: bool = True) -> int:
        return self._ended(super().parse_comment(i, report), i)

    def parse_pi(self, i: int) -> int:
        return self._ended(super().parse_pi(i), i)

    def _ended(self, end: int, begin: int) -> int:
        """``end``, where what began at ``begin`` ends: negative when it does not. Every one that
        does not has the parser look through the rest of the page.
        """
        if end < 0:
            self._endless += 1
            if self._endless > _MOST_ENDLESS:
                raise _Endless(len(self.rawdata) - begin)
        return end

    def _left_out(
        self, tag: str, attributes: Mapping[str, str], given: Mapping[str, str | None]
    ) -> bool:
        return (
            tag in self._skipped
            or "hidden" in given
            or attributes.get("aria-hidden") == "true"
            or ("nav" in self._skipped and attributes.get("role") in _ROLES)
        )

    def _imply(self, tag: str) -> None:
        """Ends the elements that the beginning of ``tag`` ends."""
        ends = _IMPLIED.get(tag)
        if ends is None and tag in _BLOCKS and "p" in self._open[-1:]:
            ends = frozenset({"p"})
        if ends is None:
            return
        for depth in range(len(self._open) - 1, max(-1, len(self._open) - 50), -1):
            if self._open[depth] in ends:
                # The outermost of them: a row also ends the cell in it.
                outer = depth
                while outer and self._open[outer - 1] in ends:
                    outer -= 1
                self._close_from(outer)
                return
            if self._open[depth] in _CONTAINERS:
                return

    def _close_from(self, depth: int) -> None:
        """Ends every element from ``depth`` on."""
        while len(self._open) > depth:
            ended = self._open.pop()
            if not self._skipping:
                self._end(ended)
            elif len(self._open) < self._skipping:
                self._skipping = 0

    def _void(self, tag: str, attributes: Mapping[str, str]) -> None:
        line = self.getpos()[0]
        if tag == "br":
            self.out.line_break()
        elif tag == "hr":
            self.out.paragraph()
        elif tag == "img" and (said := attributes.get("alt", "").strip()):
            self.out.text(f" {said} ", line)

    def _begin(self, tag: str, attributes: Mapping[str, str]) -> None:
        out, line = self.out, self.getpos()[0]
        if tag in _HEADINGS:
            out.heading(_HEADINGS[tag], line)
        elif tag == "pre":
            out.begin_pre(_language(attributes.get("class", "")), line)
        elif tag == "code":
            out.set_language(_language(attributes.get("class", "")))
            out.mark("`")
        elif tag in {"ul", "ol"}:
            out.begin_list(numbered=tag == "ol")
        elif tag == "a":
            self._links.append(attributes.get("href", ""))
            out.begin_link()
        elif tag == "tr":
            out.row(line)
        elif tag in _BEGIN:
            _BEGIN[tag](out)
        elif tag in _BLOCKS:
            out.paragraph()

    def _end(self, tag: str) -> None:
        if tag == "a":
            self.out.end_link(self._links.pop() if self._links else "")
        elif tag in _HEADINGS:
            self.out.end_heading()
        elif tag == "code":
            self.out.mark("`")
        elif tag in _END:
            _END[tag](self.out)
        elif tag in _BLOCKS:
            self.out.paragraph()


def _language(classes: str) -> str:
    match = re.search(r"(?:language|lang|highlight-source|brush:?)[-\s]+([\w+#-]+)", classes)
    return match[1] if match else ""
