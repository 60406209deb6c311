"""Hits of a search on a terminal or in a pipe."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from reverie.cli.wording import Glyphs, clean, glyphs_for, joined

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from reverie.knowledge.search.records import Hit, SearchResult

_WIDTH: Final = 100
"""Columns in a pipe."""
_LINES: Final = 4
"""Lines of a text that are shown."""
_INDENT: Final = "   "


def print_hits(result: SearchResult) -> None:
    """A block per hit: where it stands, its text around the words, how it was found."""
    from rich.console import Console

    glyphs = glyphs_for(sys.stdout.encoding)
    is_terminal = sys.stdout.isatty()
    console = Console(
        width=None if is_terminal else _WIDTH, highlight=False, markup=False, emoji=False
    )
    if not result.hits:
        console.print("nothing was found")
        return
    words = _stems(result.query)
    for rank, hit in enumerate(result.hits, start=1):
        if rank > 1:
            console.print()
        _print_hit(console, rank, hit, words, glyphs, long_lines=not is_terminal)


def _print_hit(
    console: Console, rank: int, hit: Hit, words: list[str], glyphs: Glyphs, *, long_lines: bool
) -> None:
    from rich.text import Text

    head = Text.assemble(
        (f"{rank}. ", "bold"), (_place(hit), "cyan"), (f"  {_what(hit)}" if _what(hit) else "")
    )
    # A path must stay whole to be opened: on a narrow terminal it goes on in the next line.
    console.print(head, soft_wrap=long_lines, overflow="fold")
    width = max(console.width - len(_INDENT), 20)
    for line in _snippet(clean(hit.text, keep_lines=True), words, width):
        # Cropped: characters that take two columns are more than they count for.
        console.print(Text(_INDENT) + _marked(line, words), no_wrap=True, overflow="crop")
    places = [f"{p.source} {p.rank} ({p.score:.3g})" for p in hit.places]
    for line in joined([f"score {hit.score:.4g}", *places], glyphs, width).splitlines():
        console.print(Text(_INDENT + line, "dim"))


def _place(hit: Hit) -> str:
    path, line, page = (hit.metadata.get(k) for k in ("path", "first_line", "page"))
    if page is not None:
        return f"{clean(str(path))}, page {page}"
    return f"{clean(str(path))}:{line}"


def _what(hit: Hit) -> str:
    """The chunk's name, or its document's title."""
    return clean(str(hit.metadata.get("name") or hit.title or ""))


def _snippet(text: str, words: list[str], width: int) -> list[str]:
    """Some lines of the text, each cut to ``width``: those that have most of the words."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        return []
    found = [{w for w in words if _begins(w).search(line)} for line in lines]
    best = max(
        range(len(lines)), key=lambda n: (len(set().union(*found[n : n + _LINES])), bool(found[n]))
    )
    return [_cut(line, words, width) for line in lines[best : best + _LINES]]


def _cut(line: str, words: list[str], room: int) -> str:
    """At most ``room`` characters of a line, with the first of the words among them."""
    if len(line) <= room:
        return line
    hits = [match.start() for word in words if (match := _begins(word).search(line))]
    start = min(max(0, min(hits, default=0) - room // 3), len(line) - room)
    before = "..." if start else ""
    behind = "..." if start + room < len(line) else ""
    return before + line[start + len(before) : start + room - len(behind)] + behind


def _marked(line: str, words: list[str]) -> Text:
    from rich.text import Text

    text = Text(line)
    for word in words:
        for match in _begins(word).finditer(line):
            text.stylize("bold yellow", *match.span())
    return text


def _begins(stem: str) -> re.Pattern[str]:
    """Words that begin so, and end as its other forms do."""
    return re.compile(rf"(?<![^\W_]){re.escape(stem)}(?:ing|ed|es|s|e)?(?![^\W_])", re.IGNORECASE)


def _stems(query: str) -> list[str]:
    """The beginnings of the query's words that its other forms share."""
    from reverie.knowledge.library.fulltext import words_of

    return [re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", word) for word in words_of(query)][:64]
