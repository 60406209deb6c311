"""Markdown by heading. Tables are chunks of their own; a code fence that fits is never cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from reverie.errors import ConfigError
from reverie.knowledge.chunk.piece import Lines, Piece
from reverie.knowledge.chunk.sentences import sentence_units
from reverie.knowledge.chunk.windows import Unit, line_units, windows
from reverie.knowledge.read.markdown import front_matter, plain


@dataclass(frozen=True, slots=True)
class _Block:
    kind: Literal["heading", "text", "fence", "table"]
    first: int
    last: int
    level: int = 0
    heading: str = ""


@dataclass(slots=True)
class _Section:
    headings: tuple[str, ...] = ()
    blocks: list[_Block] = field(default_factory=list)
    has_body: bool = False
    """Whether there is anything else than headings."""


def markdown_pieces(lines: Lines, tokens: int) -> Iterator[Piece]:
    """Every chunk of a Markdown text. Raises ConfigError when markdown-it-py is not installed."""
    for section in _sections(lines):
        units: list[Unit] = []
        for block in section.blocks:
            if block.kind == "table":
                yield from _pieces(section, units, tokens)
                units = []
                yield from _table(section, block, lines, tokens)
            else:
                units += _units(block, lines, tokens)
        yield from _pieces(section, units, tokens)


def _sections(lines: Lines) -> Iterator[_Section]:
    """Headings with what stands under them. One with nothing under it begins the next section."""
    path: list[tuple[int, str]] = []
    section = _Section()
    for block in _blocks(lines):
        if block.kind == "heading":
            if section.has_body:
                yield section
                section = _Section()
            while path and path[-1][0] >= block.level:
                path.pop()
            path.append((block.level, block.heading))
            section.headings = tuple(heading for _, heading in path if heading)
        else:
            section.has_body = True
        section.blocks.append(block)
    if section.blocks:
        yield section


def _blocks(lines: Lines) -> Iterator[_Block]:
    """All blocks in order; every line that is not blank is in one of them."""
    body = front_matter(lines.lines)
    if body:
        yield _Block("text", 0, body - 1)
    reached = body
    for block in _parsed(lines, body):
        if block.first > reached:
            yield from _unparsed(lines, reached, block.first - 1)
        yield block
        reached = block.last + 1
    yield from _unparsed(lines, reached, len(lines) - 1)


def _unparsed(lines: Lines, first: int, last: int) -> Iterator[_Block]:
    """What gives no token, such as the addresses of links."""
    if any(not lines.blank(row) for row in range(first, last + 1)):
        yield _Block("text", first, last)


def _parsed(lines: Lines, body: int) -> Iterator[_Block]:
    try:
        from markdown_it import MarkdownIt
        from markdown_it.rules_block import StateBlock
        from markdown_it.token import Token
    except ImportError as error:
        raise ConfigError(
            "cutting Markdown needs markdown-it-py", hint="pip install 'reverie[knowledge]'"
        ) from error
    parser = MarkdownIt("commonmark").enable("table")

    class Outermost(StateBlock):
        """Forgets what stands within a block, but for the words of a heading: a megabyte of short
        lines has a million tokens.
        """

        def push(self, ttype: str, tag: str, nesting: Literal[-1, 0, 1]) -> Token:
            token = super().push(ttype, tag, nesting)
            heading = token.level == 1 and self.tokens[-2].type == "heading_open"
            if token.level and not heading:
                self.tokens.pop()
            return token

    # It takes a carriage return for the end of a line too; here only a line feed is one.
    text = "\n".join(lines.lines[body:]).replace("\r", " ")
    state = Outermost(text.replace("\0", "\ufffd"), parser, {}, [])
    parser.block.tokenize(state, state.line, state.lineMax)
    reached = body
    for place, token in enumerate(state.tokens):
        if token.level or token.map is None or token.nesting < 0:
            continue
        first, last = token.map[0] + body, min(token.map[1] + body, len(lines)) - 1
        first = max(first, reached)
        if first > last:
            continue
        reached = last + 1
        if token.type == "heading_open":
            yield _Block(
                "heading", first, last, int(token.tag[1]), plain(state.tokens[place + 1].content)
            )
        elif token.type == "table_open":
            yield _Block("table", first, last)
        elif token.type in {"fence", "code_block", "html_block"}:
            yield _Block("fence", first, last)
        else:
            yield _Block("text", first, last)


def _units(block: _Block, lines: Lines, tokens: int) -> list[Unit]:
    if block.kind == "text":
        return sentence_units(lines, block.first, block.last, tokens)
    rows = [row for row in range(block.first, block.last + 1) if not lines.blank(row)]
    if not rows:
        return []
    size = lines.tokens(block.first, block.last)
    if size <= tokens:
        return [Unit(lines.start(rows[0]), lines.end(rows[-1]), size)]
    return line_units(lines, block.first, block.last, tokens)


def _pieces(section: _Section, units: list[Unit], tokens: int) -> Iterator[Piece]:
    name = section.headings[-1] if section.headings else ""
    for start, end in windows(units, tokens):
        yield Piece("section" if name else "prose", start, end, name, section.headings)


def _table(section: _Section, block: _Block, lines: Lines, tokens: int) -> Iterator[Piece]:
    """A table; one that is too long is cut between rows, and its header repeated for the search."""
    name = section.headings[-1] if section.headings else ""
    header = lines.lines[block.first].strip()[:400]
    units = [
        Unit(unit.start, unit.end, unit.tokens, 0)
        for unit in line_units(lines, block.first, block.last, tokens)
    ]
    for number, (start, end) in enumerate(windows(units, tokens)):
        yield Piece("table", start, end, name, section.headings, lead=header if number else "")
