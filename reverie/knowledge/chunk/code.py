"""Source code by what it defines: a function, a method, the head of a class is one chunk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from reverie.knowledge.chunk.definitions import Definitions, Item, signature, statement_ranks
from reverie.knowledge.chunk.languages import GRAMMARS, Grammar, parser_of
from reverie.knowledge.chunk.piece import Lines, Piece
from reverie.knowledge.chunk.windows import line_units, windows
from reverie.knowledge.read.document import SourceDocument

WHOLE: Final = 4
"""A function is one chunk up to that many times the tokens of a chunk."""
_WHOLE_HEAD: Final = 2
"""And so the head of a class with its docstring."""
_TIMES: Final = {"function": WHOLE, "method": WHOLE, "class": _WHOLE_HEAD}
_GLUED: Final = 16
"""Most tokens of what opens or closes something around a definition, to be one chunk with it."""
_OPENING: Final = ("{", ":", "(", "[")
_CLOSING: Final = ("}", ")", "]", "#endif")


def code_pieces(document: SourceDocument, lines: Lines, tokens: int) -> Iterator[Piece]:
    """Every chunk of a source. One without a grammar is cut at its least indented lines.

    Raises ConfigError when the grammar is not installed.
    """
    grammar = _grammar(document)
    if grammar is None:
        yield from _by_lines(Item("code", 0, len(lines) - 1), lines, tokens)
        return
    # A lone surrogate is no UTF-8; what stands in its place does not matter, only rows count.
    tree = parser_of(grammar).parse(lines.text.encode("utf-8", "replace"))
    found = Definitions(tree.root_node, lines, grammar, tokens)
    for item in _joined(_covering(found, lines), lines, tokens):
        most = tokens * _TIMES.get(item.kind, 1)
        if lines.tokens(item.first, item.last) <= most:
            yield _piece(item, lines.start(item.first), lines.end(item.last))
        elif item.kind in {"function", "method"}:
            yield from _split_function(item, lines, tokens, grammar)
        else:
            yield from _by_lines(item, lines, tokens)


def _grammar(document: SourceDocument) -> Grammar | None:
    language = document.language
    if language == "typescript" and PurePosixPath(document.path).suffix.lower() == ".tsx":
        language = "tsx"
    return GRAMMARS.get(language)


def _covering(found: Definitions, lines: Lines) -> Iterator[Item]:
    """The items, and what stands between them as code of the class or namespace around it."""
    before: Item | None = None
    row = 0
    for item in found.items:
        gaps = list(_gaps(found, lines, row, item.first - 1))
        if gaps and before is not None and _closes(gaps[0], before, lines):
            before.last = gaps.pop(0).last
        if gaps and _opens(gaps[-1], item, lines):
            item.first = gaps.pop().first
        if before is not None:
            yield before
        yield from gaps
        before, row = item, item.last + 1
    gaps = list(_gaps(found, lines, row, len(lines) - 1))
    if before is not None:
        if gaps and _closes(gaps[0], before, lines):
            before.last = gaps.pop(0).last
        yield before
    yield from gaps


def _gaps(found: Definitions, lines: Lines, first: int, last: int) -> Iterator[Item]:
    """The rows from ``first`` to ``last`` without blank ones around, by whose they are."""
    item: Item | None = None
    for row in range(first, last + 1):
        if lines.blank(row):
            continue
        owner = found.owners[row]
        if item is None or item.name != owner:
            if item is not None:
                yield item
            item = Item("code", row, row, owner)
        item.last = row
    if item is not None:
        yield item


def _closes(gap: Item, item: Item, lines: Lines) -> bool:
    """Whether the gap ends what the item stands in: closing brackets, ``#endif``."""
    text = "\n".join(lines.lines[gap.first : gap.last + 1])
    if not any(map(str.isalnum, text)):
        return True
    return (
        gap.first == item.last + 1
        and text.lstrip().startswith(_CLOSING)
        and lines.tokens(gap.first, gap.last) <= _GLUED
    )


def _opens(gap: Item, item: Item, lines: Lines) -> bool:
    """Whether the gap begins what the item stands in, such as ``impl Stack {`` or ``try:``."""
    last = lines.lines[gap.last].strip()
    return (
        item.kind in {"function", "method", "class"}
        and gap.last + 1 == item.first
        and (last.endswith(_OPENING) or last.startswith("#"))
        and lines.tokens(gap.first, gap.last) <= _GLUED
    )


def _joined(items: Iterator[Item], lines: Lines, tokens: int) -> Iterator[Item]:
    """Imports next to each other as one item, and so code of one class, while it fits."""
    before: Item | None = None
    for item in items:
        if before is not None:
            same = item.kind == before.kind and item.name == before.name
            if (
                same
                and item.kind in {"imports", "code"}
                and lines.tokens(before.first, item.last) <= tokens
            ):
                before.last = item.last
                continue
            yield before
        before = item
    if before is not None:
        yield before


def _split_function(item: Item, lines: Lines, tokens: int, grammar: Grammar) -> Iterator[Piece]:
    """A very long function, cut where its outermost statements begin."""
    node = item.node
    if node is None:
        return
    ranks = statement_ranks(node, item.first, item.last, grammar)
    units = line_units(lines, item.first, item.last, tokens, ranks)
    for number, (start, end) in enumerate(windows(units, tokens)):
        yield _piece(item, start, end, signature(node) if number else "")


def _by_lines(item: Item, lines: Lines, tokens: int) -> Iterator[Piece]:
    for start, end in windows(line_units(lines, item.first, item.last, tokens), tokens):
        yield _piece(item, start, end)


def _piece(item: Item, start: int, end: int, lead: str = "") -> Piece:
    return Piece(item.kind, start, end, item.name, (), item.docstring, lead)
