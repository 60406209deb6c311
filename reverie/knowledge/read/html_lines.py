"""Lines of Markdown, each with the line of the file it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_SPECIAL: Final = re.compile(r"(?:#{1,6}\s|>|`{3}|~{3}|[-+*]\s|={2,}$|-{2,}$|\|)")
"""What a line must not begin with that is only text."""
_NUMBERED: Final = re.compile(r"(\d{1,9})([.)]\s)")
_MOST_COLUMNS: Final = 200
_DEEPEST: Final = 8
"""Lists and quotations within each other beyond which all look the same."""


@dataclass(slots=True)
class _Table:
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    """Line of the file and cells."""


@dataclass(slots=True)
class MarkdownLines:
    """Takes the text of a page piece by piece, in order. Lines of the file count from 1."""

    lines: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    first_heading: str = ""
    has_text: bool = False
    _parts: list[str] = field(default_factory=list)
    """Of the line that is being written."""
    _origin: int = 0
    _lists: list[int] = field(default_factory=list)
    """Per open list the number of the last item; -1: it has no numbers."""
    _item: bool = False
    """Whether the next line begins an item."""
    _quotes: int = 0
    _heading: int = 0
    _pre: list[tuple[int, str]] | None = None
    _language: str = ""
    _table: _Table | None = None
    _inner_tables: int = 0
    _link: int = -1
    """Where in ``_parts`` the text of a link begins."""
    _main: int = -1
    """The first line of the main part."""
    _mains: list[tuple[int, int]] = field(default_factory=list)

    def text(self, data: str, line: int) -> None:
        """Text that begins on ``line`` of the file. Its own line breaks are kept as such."""
        if self._pre is not None:
            for number, part in enumerate(data.split("\n")):
                if number or not self._pre:
                    self._pre.append((line + number, part))
                else:
                    before, said = self._pre[-1]
                    self._pre[-1] = (before, said + part)
            return
        for number, part in enumerate(data.split("\n")):
            if number:
                self._newline()
            if part and not part.isspace():
                self._origin = self._origin or line + number
                self._parts.append(part)
                self.has_text = True
            elif part and self._parts:
                self._parts.append(" ")

    def paragraph(self) -> None:
        """Ends what is being written; what follows is another paragraph."""
        if self._table is not None:
            self._parts.append(" ")
        elif self._pre is None:
            self._newline()
            self._blank()

    def line_break(self) -> None:
        if self._pre is not None:
            self._pre.append((self._pre[-1][0] if self._pre else self._origin, ""))
        elif self._table is not None or self._heading:
            self._parts.append(" ")
        else:
            self._newline()

    def mark(self, mark: str) -> None:
        """A mark around text on one line, such as that of code."""
        if self._pre is None:
            self._parts.append(mark)

    def heading(self, level: int, line: int) -> None:
        self.paragraph()
        self._heading = 0 if self._table is not None else level
        self._origin = line if self._heading else self._origin

    def end_heading(self) -> None:
        if self._heading:
            said = self._taken()
            if said:
                self.first_heading = self.first_heading or said
                self._put("#" * self._heading + " " + said)
            self._heading = 0
        self.paragraph()

    def begin_list(self, *, numbered: bool) -> None:
        if self._lists and self._table is None:
            self._newline()
        else:
            self.paragraph()
        self._lists.append(0 if numbered else -1)

    def end_list(self) -> None:
        if self._lists:
            self._newline()
            self._lists.pop()
        if not self._lists:
            self.paragraph()
        self._item = False

    def item(self) -> None:
        self._newline()
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
        self._item = self._table is None

    def begin_quote(self) -> None:
        self.paragraph()
        self._quotes += 1

    def end_quote(self) -> None:
        self.paragraph()
        self._quotes = max(0, self._quotes - 1)

    def begin_pre(self, language: str, line: int) -> None:
        if self._table is not None or self._pre is not None:
            return
        self.paragraph()
        self._pre, self._language, self._origin = [], language, line

    def set_language(self, language: str) -> None:
        if self._pre is not None and language:
            self._language = language

    def end_pre(self) -> None:
        if self._pre is None:
            return
        written, self._pre = self._pre, None
        while written and not written[-1][1].strip():
            written.pop()
        while written and not written[0][1].strip():
            written.pop(0)
        if written:
            self.has_text = True
            longest = max(
                len(run) for run in [*re.findall("`+", "\n".join(t for _, t in written)), ""]
            )
            fence = "`" * max(3, longest + 1)
            self._line(fence + self._language, written[0][0])
            for origin, said in written:
                self._line(said.rstrip(), origin)
            self._line(fence, written[-1][0])
        self._origin = 0
        self._blank()

    def begin_table(self) -> None:
        if self._table is not None:
            self._inner_tables += 1
            return
        self.paragraph()
        self._table = _Table()

    def row(self, line: int) -> None:
        if self._table is not None and not self._inner_tables:
            self._end_cell()
            self._table.rows.append((line, []))

    def cell(self) -> None:
        if self._table is not None and not self._inner_tables:
            self._end_cell()
            if not self._table.rows:
                self._table.rows.append((self._origin or 1, []))
            self._table.rows[-1][1].append("")

    def caption(self) -> None:
        if self._table is not None and not self._inner_tables:
            self._end_cell()

    def end_caption(self) -> None:
        """Puts it above the table."""
        if self._table is not None and not self._inner_tables and (said := self._taken()):
            self._line(_escaped(said), self._origin)
            self._blank()
            self._origin = 0

    def end_row(self) -> None:
        if self._table is not None and not self._inner_tables:
            self._end_cell()

    def end_table(self) -> None:
        if self._table is None:
            return
        if self._inner_tables:
            self._inner_tables -= 1
            return
        self._end_cell()
        rows = [(line, cells) for line, cells in self._table.rows if any(cells)]
        self._table = None
        columns = min(max((len(cells) for _, cells in rows), default=0), _MOST_COLUMNS)
        for number, (line, cells) in enumerate(rows):
            if columns == 1:  # only for looks
                self._line(_escaped(cells[0]), line)
                self._blank()
                continue
            padded = [cell.replace("|", "\\|") for cell in cells[:columns]]
            padded += [""] * (columns - len(padded))
            self._line("| " + " | ".join(padded) + " |", line)
            if number == 0:
                self._line("|" + " --- |" * columns, line)
        self._origin = 0
        self._blank()

    def begin_link(self) -> None:
        self._link = len(self._parts)

    def end_link(self, address: str) -> None:
        """Puts the address behind the text of the link, unless it leads within the page."""
        begin, self._link = self._link, -1
        if self._pre is not None or begin < 0 or begin >= len(self._parts):
            return
        if not address or address[0] == "#" or re.search(r"[\s()<>]", address):
            return
        if address.lower().startswith(("javascript:", "data:")):
            return
        said = "".join(self._parts[begin:])
        label = " ".join(said.split()).replace("[", "(").replace("]", ")")
        if label:
            before = " " if said[0].isspace() else ""
            after = " " if said[-1].isspace() else ""
            self._parts[begin:] = [f"{before}[{label}]({address}){after}"]

    def begin_main(self) -> None:
        self.paragraph()
        if self._main < 0:
            self._main = len(self.lines)

    def end_main(self) -> None:
        self.paragraph()
        if self._main >= 0:
            self._mains.append((self._main, len(self.lines)))
            self._main = -1

    def finish(self) -> None:
        """Ends whatever is still open."""
        self.end_pre()
        self._inner_tables = 0
        self.end_table()
        self.end_heading()
        self.end_main()
        self.paragraph()

    def result(self) -> tuple[list[str], list[int]]:
        """The lines and where they come from: of the main part, where there is one with text."""
        chosen = [row for first, last in self._mains for row in range(first, last)]
        if not any(self.lines[row] for row in chosen):
            chosen = list(range(len(self.lines)))
        while chosen and not self.lines[chosen[-1]]:
            chosen.pop()
        while chosen and not self.lines[chosen[0]]:
            chosen.pop(0)
        return [self.lines[row] for row in chosen], [self.origins[row] for row in chosen]

    def _newline(self) -> None:
        if self._table is not None or self._heading:
            self._parts.append(" ")
            return
        if said := self._taken():
            self._put(_escaped(said))
        self._origin = 0

    def _taken(self) -> str:
        said = " ".join("".join(self._parts).split())
        self._parts.clear()
        self._link = -1
        return "" if set(said) <= {"`", " "} else said

    def _put(self, said: str) -> None:
        """A line with what marks the list and quotation it stands in."""
        depth = min(len(self._lists), _DEEPEST)
        indent = "   " * (depth if not self._item else depth - 1) if depth else ""
        bullet = ""
        if self._item and depth:
            bullet = "- " if self._lists[-1] < 0 else f"{self._lists[-1]}. "
        self._item = False
        self._line("> " * min(self._quotes, _DEEPEST) + indent + bullet + said, self._origin)

    def _end_cell(self) -> None:
        said = self._taken()
        if self._table is not None and said:
            if not self._table.rows or not self._table.rows[-1][1]:
                # Text of a table outside of its cells, such as a caption.
                self._table.rows.append((self._origin or 1, [said]))
            else:
                cells = self._table.rows[-1][1]
                cells[-1] = f"{cells[-1]} {said}".strip()
        self._origin = 0

    def _line(self, said: str, origin: int) -> None:
        self.lines.append(said)
        least = self.origins[-1] if self.origins else 1
        self.origins.append(max(origin, least))

    def _blank(self) -> None:
        if self.lines and self.lines[-1]:
            self._line("", self.origins[-1])


def _escaped(said: str) -> str:
    if _SPECIAL.match(said):
        return "\\" + said
    return _NUMBERED.sub(r"\1\\\2", said, count=1) if _NUMBERED.match(said) else said
