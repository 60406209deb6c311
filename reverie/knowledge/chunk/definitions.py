"""The functions, classes and imports of a parsed source, with their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reverie.knowledge.chunk.chunk import ChunkKind
from reverie.knowledge.chunk.docstrings import comment_docstring, string_docstring
from reverie.knowledge.chunk.languages import Grammar
from reverie.knowledge.chunk.piece import Lines

if TYPE_CHECKING:
    from tree_sitter import Node

_DEEPEST: Final = 24
"""How far into nested code definitions are looked for."""

_FILE: Final = ("//!", "/*!")
"""How a comment begins that documents what it stands in."""
_ABOVE: Final = ("/**", "///")
"""How one begins that documents what follows, or the file where nothing does."""


@dataclass(slots=True)
class Item:
    """Rows that are one thing, the first and the last included."""

    kind: ChunkKind
    first: int
    last: int
    name: str = ""
    docstring: str = ""
    node: Node | None = None
    """Of a function or class, the part of the tree that defines it."""


@dataclass(frozen=True, slots=True)
class _Scope:
    name: str = ""
    methods: bool = False
    """Whether functions in it are methods."""

    def qualified(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name and name else self.name or name


class Definitions:
    """Finds what a source defines.

    ``items`` are in order and do not overlap; ``owners`` has for every row the qualified name of
    the class or namespace it stands in.
    """

    def __init__(self, root: Node, lines: Lines, grammar: Grammar, tokens: int) -> None:
        self.items: list[Item] = []
        self.owners = [""] * len(lines)
        self._lines = lines
        self._grammar = grammar
        self._tokens = tokens
        self._visit(root, _Scope(), 0)

    def _visit(self, parent: Node, scope: _Scope, depth: int) -> None:
        """Adds what the children of ``parent`` define."""
        grammar = self._grammar
        comment: Item | None = None  # the comments and attributes right above
        for place, node in enumerate(parent.named_children):
            first, last = rows(node)
            if node.type in grammar.comments or node.type in grammar.attributes:
                if self.items and first == self.items[-1].last:
                    self.items[-1].last = max(last, first)
                elif comment is None or first > comment.last + 1:
                    comment = Item("code", first, last)
                else:
                    comment.last = max(last, comment.last)
                continue
            if comment is not None and (
                first > comment.last + 1 or self._is_overview(comment, node)
            ):
                self._overview(comment)
                comment = None
            begin = first if comment is None else comment.first
            self._node(node, scope, depth, begin, last, first_child=place == 0)
            comment = None
        if comment is not None:
            self._overview(comment)

    def _node(
        self, node: Node, scope: _Scope, depth: int, begin: int, last: int, *, first_child: bool
    ) -> None:
        grammar = self._grammar
        if found := self._definition(node):
            kind, name, defining = found
            if kind == "class":
                self._class(defining, scope, depth, begin, last, name=name)
            else:
                kind = "method" if scope.methods or "." in name else "function"
                self._add(
                    Item(kind, begin, last, scope.qualified(name), "", defining),
                    documented=True,
                )
        elif node.type in grammar.imports or self._imports(node):
            self._add(Item("imports", begin, last))
        elif docstring := self._leading_docstring(node, depth, begin, first_child):
            self._add(Item("docstring", begin, last, docstring=docstring))
        elif node.type in grammar.scopes:
            named = node.child_by_field_name(grammar.scopes[node.type])
            name = scope.qualified(_bare(_text(named)))
            self._own(begin, last, name)
            body = node.child_by_field_name("body")
            if body is not None and depth < _DEEPEST:
                self._visit(body, _Scope(name, node.type in grammar.methods), depth + 1)
        elif depth < _DEEPEST and (
            node.type in grammar.containers
            or node.type in grammar.blocks
            or self._lines.tokens(begin, last) > self._tokens
            or any(child.type in grammar.scopes for child in node.named_children)
        ):
            self._visit(node, scope, depth + 1)

    def _class(
        self, node: Node, scope: _Scope, depth: int, begin: int, last: int, *, name: str
    ) -> None:
        """A small class is one item; of another one, what comes before its first member."""
        name = scope.qualified(name)
        self._own(begin, last, name)
        item = Item("class", begin, last, name, "", node)
        place = len(self.items)
        self._add(item, documented=True)
        body = node.child_by_field_name("body")
        whole = self._lines.tokens(begin, last) <= self._tokens
        if whole or body is None or depth >= _DEEPEST or len(self.items) == place:
            return
        members = len(self.items)
        item.last = max(rows(body)[0] - 1, begin)
        self._visit(body, _Scope(name, methods=True), depth + 1)
        if len(self.items) == members:
            item.last = last
        else:
            item.last = max(item.last, self.items[members].first - 1)

    def _definition(self, node: Node, depth: int = 0) -> tuple[ChunkKind, str, Node] | None:
        """Whether ``node`` defines a function or class: which, its name, and the node that does."""
        grammar = self._grammar
        if node.type in grammar.functions:
            return "function", _name(node), node
        if node.type in grammar.classes:
            kind = node.child_by_field_name("type")
            if node.child_by_field_name("body") or (kind and kind.type in grammar.bodies):
                return "class", _name(node), node
        if node.type in grammar.wrappers and depth < 4:
            for child in node.named_children:
                if found := self._definition(child, depth + 1):
                    kind_of, name, defining = found
                    return kind_of, name or _text(node.child_by_field_name("declarator")), defining
        if node.type in grammar.holders:
            value = node.child_by_field_name("value") or node.child_by_field_name("right")
            if value is not None and value.type in grammar.values:
                fields = ("name", "property", "left")
                named = next(filter(None, map(node.child_by_field_name, fields)), None)
                name = _text(named).removeprefix("module.").removeprefix("exports.")
                return ("class" if value.type == "class" else "function"), name, value
        return None

    def _imports(self, node: Node) -> bool:
        call = self._grammar.import_call
        return (
            bool(call) and node.type in self._grammar.wrappers and call in (node.text or b"")[:200]
        )

    def _is_overview(self, comment: Item, node: Node) -> bool:
        """Whether the comment above ``node`` says something about the whole file instead."""
        first = self._lines.lines[comment.first].lstrip()
        return not self.items and first.startswith(_FILE) and self._definition(node) is None

    def _overview(self, comment: Item) -> None:
        """Adds a comment that documents the file, if it is one."""
        lines = self._lines.lines[comment.first : comment.last + 1]
        if not self.items and lines[0].lstrip().startswith((*_FILE, *_ABOVE)):
            self._add(Item("docstring", comment.first, comment.last, "", comment_docstring(lines)))

    def _leading_docstring(self, node: Node, depth: int, begin: int, first_child: bool) -> str:
        """What documents the whole file, if ``node`` is that or stands right under it."""
        if depth > 0 or self.items:
            return ""
        if self._grammar.docstrings:
            return string_docstring(node) if first_child or begin == rows(node)[0] else ""
        if node.type == "package_clause":
            return comment_docstring(self._lines.lines[begin : rows(node)[0]])
        return ""

    def _add(self, item: Item, *, documented: bool = False) -> None:
        if documented and item.node is not None:
            item.docstring = self._docstring(item)
        if self.items and item.first <= self.items[-1].last:
            before = self.items[-1]
            if item.first > before.first and item.last > before.last and _comments(before, item):
                before.last = item.first - 1
            else:  # two on one row are one item
                before.last = max(before.last, item.last)
                return
        self.items.append(item)

    def _docstring(self, item: Item) -> str:
        node = item.node
        if node is None:
            return ""
        if self._grammar.docstrings:
            body = node.child_by_field_name("body")
            for child in body.named_children if body is not None else ():
                if child.type not in self._grammar.comments:
                    return string_docstring(child)
            return ""
        return comment_docstring(self._lines.lines[item.first : rows(node)[0]])

    def _own(self, first: int, last: int, name: str) -> None:
        for row in range(first, min(last + 1, len(self.owners))):
            self.owners[row] = name


def statement_ranks(node: Node, first: int, last: int, grammar: Grammar) -> list[int]:
    """For every row from ``first`` to ``last`` how deep the statement lies that begins there; a
    large number where none does.
    """
    ranks = [10_000] * (last - first + 1)
    todo: list[tuple[Node, int]] = [(node, 0)]
    while todo:
        parent, depth = todo.pop()
        holds = parent.type in grammar.blocks
        comment = -2
        for child in parent.named_children:
            begin, end = rows(child)
            if holds and comment != begin - 1 and first <= begin <= last:
                ranks[begin - first] = min(ranks[begin - first], depth)
            comment = end if child.type in grammar.comments else -2
            if end > begin and depth < 1000:
                todo.append((child, depth + holds))
    return ranks


def rows(node: Node) -> tuple[int, int]:
    """First and last row of ``node``. Some comments end where the next row begins."""
    first, last = node.start_point.row, node.end_point.row
    if last > first and node.end_point.column == 0:
        last -= 1
    return first, last


def signature(node: Node) -> str:
    """What stands before the body of a function or class, in one line."""
    body = node.child_by_field_name("body")
    text = (node.text or b"")[: None if body is None else body.start_byte - node.start_byte]
    return " ".join(text.decode("utf-8", "replace").split())[:200].rstrip(" {")


def _comments(before: Item, item: Item) -> bool:
    """Whether the rows they share are comments that both would take."""
    return item.node is not None and rows(item.node)[0] > before.last


def _name(node: Node) -> str:
    """The name of a definition; of a method of Go with its type in front."""
    receiver = node.child_by_field_name("receiver")
    named = node.child_by_field_name("name")
    if named is None:  # C: inside of pointers and parameter lists
        named = node.child_by_field_name("declarator")
        while named is not None and named.type != "identifier":
            inner = named.child_by_field_name("declarator")
            named = inner or next(iter(named.named_children), None)
    name = _text(named)
    if receiver is not None:
        owner = next((_text(n) for n in _below(receiver) if n.type == "type_identifier"), "")
        return f"{owner}.{name}" if owner else name
    return name


def _below(node: Node) -> Iterator[Node]:
    todo = [node]
    while todo:
        following = todo.pop()
        yield following
        todo.extend(reversed(following.named_children))


def _bare(name: str) -> str:
    """A type without its parameters, a module without quotes."""
    return name.partition("<")[0].strip("\"' ")


def _text(node: Node | None) -> str:
    if node is None or not node.text:
        return ""
    return " ".join(node.text.decode("utf-8", "replace").split())[:200]
