"""From a file of code to what it defines, imports and calls."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reverie.knowledge.extract.code.grammars import parsed
from reverie.knowledge.extract.code.imports import READERS, Importer
from reverie.knowledge.extract.code.languages import QUERIES
from reverie.knowledge.extract.code.modules import module_name
from reverie.knowledge.extract.code.records import Call, CodeFacts, Definition, Import

if TYPE_CHECKING:
    from tree_sitter import Node

LANGUAGES: Final = tuple(QUERIES)

_MOST_EXPRESSION = 200
"""Bytes of what is called; longer is a chain of calls, whose parts are captured too."""
_DEEPEST: Final = 24
"""Classes and namespaces within each other; the names of what lies deeper are too long for any."""


@dataclass(slots=True)
class _Scope:
    """Something with a name that other things stand in."""

    kind: str
    name: str
    begin: int
    end: int
    line: int
    owner: str = ""
    qualified: str = ""


def code_facts(path: str, language: str, text: str) -> CodeFacts:
    """What a file says; nothing for a language that is not known. Blocks: about 0.2 s a megabyte.

    Functions within functions are no definitions: nobody else can name them. Raises ConfigError
    when the grammars are not installed.
    """
    if language == "typescript" and posixpath.splitext(path)[1].lower() in {".tsx", ".jsx"}:
        language = "tsx"
    if language not in QUERIES:
        return CodeFacts("")
    matches = parsed(language, QUERIES[language], text)
    scopes: list[_Scope] = []
    imports: list[Node] = []
    calls: list[Node] = []
    for captures in matches:
        if "import" in captures:
            imports += captures["import"]
        elif "call" in captures:
            calls += captures["call"]
        else:
            scopes += _scope(captures)
    module, read = _imports(path, language, text, imports)
    definitions, around = _nested(scopes)
    ordered = sorted(calls, key=lambda node: node.start_byte)
    return CodeFacts(
        module=module,
        definitions=definitions,
        imports=read,
        calls=[call for node in ordered if (call := _call(node, around)) is not None],
    )


def _scope(captures: dict[str, list[Any]]) -> list[_Scope]:
    for kind in ("function", "class", "scope"):
        if kind in captures:
            node, name = captures[kind][0], _text(captures["name"][0])
            owner = _text(captures["owner"][0]) if "owner" in captures else ""
            line = node.start_point[0] + 1
            return [_Scope(kind, name, node.start_byte, node.end_byte, line, owner)]
    return []


def _imports(
    path: str, language: str, text: str, nodes: Sequence[Node]
) -> tuple[str, list[Import]]:
    ordered = sorted(nodes, key=lambda node: node.start_byte)
    read = READERS[language]
    # Of Python first as it is written, which tells what the module is called.
    written = [name for node in ordered for name in _written(node)] if language == "python" else []
    module = module_name(path, language, text, written)
    importer = Importer(module, path)
    return module, [read(node, importer) for node in ordered]


def _written(node: Node) -> list[str]:
    """The modules that a Python import names, with their leading dots."""
    origin = node.child_by_field_name("module_name")
    if origin is not None:
        return [_text(origin)]
    return [_text(name).split(" ")[0] for name in node.children_by_field_name("name")]


class _Around:
    """Which function, and which class, a byte of the file is in."""

    def __init__(self, scopes: Sequence[_Scope]) -> None:
        self._scopes = scopes  # none partly in another, by where they begin
        self._next = 0
        self._open: list[_Scope] = []

    def at(self, byte: int) -> tuple[str, str]:
        """Qualified names of function and class. Ask in ascending order."""
        while self._next < len(self._scopes) and self._scopes[self._next].begin <= byte:
            scope = self._scopes[self._next]
            self._close(scope.begin)  # first what it does not stand in
            self._open.append(scope)
            self._next += 1
        self._close(byte)
        # Nothing has a name that stands within a function.
        function = next((s for s in self._open[-1:] if s.kind == "function"), None)
        holder = next((s.qualified for s in reversed(self._open) if s.kind != "function"), "")
        if function is not None and function.owner:
            holder = function.owner
        return (function.qualified if function else ""), holder

    def _close(self, byte: int) -> None:
        while self._open and self._open[-1].end <= byte:
            self._open.pop()


def _nested(scopes: list[_Scope]) -> tuple[list[Definition], _Around]:
    """Definitions by their qualified names, in order, and what lies within what."""
    scopes.sort(key=lambda s: (s.begin, -s.end))
    stack: list[_Scope] = []
    named: list[_Scope] = []
    definitions: dict[str, Definition] = {}
    for scope in scopes:
        while stack and stack[-1].end <= scope.begin:
            stack.pop()
        if any(outer.kind == "function" for outer in stack[-1:]) or len(stack) == _DEEPEST:
            continue  # within a function: nobody else can name it
        holder = scope.owner or (stack[-1].qualified if stack else "")
        scope.qualified = f"{holder}.{scope.name}" if holder else scope.name
        stack.append(scope)
        named.append(scope)
        if scope.kind != "scope":
            made = Definition(scope.qualified, scope.line, holder)
            definitions.setdefault(scope.qualified, made)
    return list(definitions.values()), _Around(named)


def _call(node: Node, around: _Around) -> Call | None:
    caller, holder = around.at(node.start_byte)
    if node.type == "method_invocation":  # of Java: object and name are fields of the call itself
        parts = [node.child_by_field_name(field) for field in ("object", "name")]
        if any(p is not None and p.end_byte - p.start_byte > _MOST_EXPRESSION for p in parts):
            return None
        text = ".".join(_text(part) for part in parts if part is not None)
    elif node.end_byte - node.start_byte > _MOST_EXPRESSION:
        return None
    else:
        text = _text(node)
    text = text.replace("::", ".").replace("?.", ".").replace("->", ".")
    if not all(map(_is_name, text.split("."))):
        return None
    return Call(text, node.start_point[0] + 1, caller, holder)


def _is_name(part: str) -> bool:
    return part.replace("$", "_").isidentifier()


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
