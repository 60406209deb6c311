"""What an import in each language imports, and under which names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reverie.knowledge.extract.code.records import Import

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class Importer:
    """The file that imports: its module's name and its path."""

    module: str
    path: str


Reader = Callable[["Node", Importer], Import]

MOST_NAMES: Final = 200
"""Of one import."""


def path_name(path: str, parts: int = 2) -> str:
    """The name of a module that is known by its file: the last folder and the file, without its
    ending; of an index the folder.
    """
    stem = posixpath.splitext(path)[0].removesuffix(".d")
    if posixpath.basename(stem) == "index":
        stem = posixpath.dirname(stem)
    return "/".join([part for part in stem.split("/") if part][-parts:])


def _text(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace")[:2000] if node is not None else ""


def _python(node: Node, by: Importer) -> Import:
    line = node.start_point[0] + 1
    names = node.children_by_field_name("name")[:MOST_NAMES]
    pairs = [
        (_text(n.child_by_field_name("name")), _text(n.child_by_field_name("alias")))
        if n.type == "aliased_import"
        else (_text(n), "")
        for n in names
    ]
    if node.type == "import_statement":
        bound = {
            alias or name.split(".")[0]: name if alias else name.split(".")[0]
            for name, alias in pairs
        }
        return Import([name for name, _ in pairs], line, bound)
    origin = _text(node.child_by_field_name("module_name"))
    dots = len(origin) - len(origin.lstrip("."))
    if dots:
        inits = posixpath.basename(by.path) == "__init__.py"
        package = by.module.split(".")
        package = package[: len(package) - dots + (1 if inits else 0)]
        origin = ".".join([*package, *filter(None, [origin[dots:]])])
    if not origin:
        return Import([name for name, _ in pairs], line, {a or n: n for n, a in pairs})
    members = {alias or name: f"{origin}.{name}" for name, alias in pairs}
    return Import([origin, *members.values()], line, members)


def _javascript(node: Node, by: Importer) -> Import:
    line = node.start_point[0] + 1
    text = _text(node)
    strings = re.findall(r"[\"'`]([^\"'`\n]{1,300})[\"'`]", text)
    if not strings:
        return Import((), line)
    origin = strings[-1]
    if origin.startswith("."):
        resolved = posixpath.normpath(posixpath.join(posixpath.dirname(by.path), origin))
        known = re.search(r"\.(?:[cm]?[jt]sx?|json)$", resolved)
        origin = path_name(resolved if known else f"{resolved}.js")
    bound: dict[str, str] = {}
    clause = text.partition("{")[2].partition("}")[0]
    for item in clause.split(",")[:MOST_NAMES] if clause else ():
        names = re.findall(r"[\w$]+", re.sub(r"^\s*type\s+(?=\w)", "", item))
        if names:
            bound[names[-1]] = f"{origin}.{names[0]}"
    outside = re.sub(r"\{[^}]*\}", "", text)
    if star := re.search(r"\*\s*as\s+([\w$]+)", outside):
        bound[star[1]] = origin
    elif node.type == "variable_declarator":
        if name := re.match(r"\s*([\w$]+)\s*=", text):
            bound[name[1]] = origin
    elif default := re.match(
        r"import\s+(?!type\s+from\b)(?:type\s+)?([\w$]+)\s*(?:,|from)", outside
    ):
        bound[default[1]] = f"{origin}.default"
    members = [name for name in bound.values() if name != origin]
    return Import([origin, *members], line, bound)


def _go(node: Node, _by: Importer) -> Import:
    origin = _text(node.child_by_field_name("path")).strip('"`')
    alias = _text(node.child_by_field_name("name"))
    # The package is mostly called as the last part that is no version.
    parts = [part for part in origin.split("/") if not re.fullmatch(r"v\d+", part)]
    name = parts[-1] if parts else ""
    bound = {alias or name: name} if name and alias not in {"_", "."} else {}
    return Import([origin] if origin else (), node.start_point[0] + 1, bound)


def _rust(node: Node, by: Importer) -> Import:
    text = " ".join(_text(node.child_by_field_name("argument")).split())
    bound = {alias: name.replace("::", ".") for alias, name in _rust_paths(text, "", 0) if name}
    crate = by.module.partition(".")[0] or "crate"
    plain = {
        alias: re.sub(r"^(?:crate|self|super)(?=\.|$)", crate, name)
        for alias, name in bound.items()
    }
    return Import(list(plain.values())[:MOST_NAMES], node.start_point[0] + 1, plain)


def _rust_paths(text: str, prefix: str, depth: int) -> list[tuple[str, str]]:
    """The names and paths in ``a::{b, c::{d as e}}``."""
    found: list[tuple[str, str]] = []
    for part in _split_outside_braces(text):
        head, brace, rest = part.partition("{")
        if brace and depth < 8:
            found += _rust_paths(rest.rpartition("}")[0], prefix + head.strip(), depth + 1)
            continue
        path, _, alias = part.partition(" as ")
        path = (prefix + path.strip()).removesuffix("::*").removesuffix("::self")
        found.append((alias.strip() or path.rpartition("::")[2], path))
    return found


def _split_outside_braces(text: str) -> list[str]:
    parts, depth, begun = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(text[begun:position])
            begun = position + 1
    return [part.strip() for part in [*parts, text[begun:]] if part.strip()]


def _java(node: Node, _by: Importer) -> Import:
    line = node.start_point[0] + 1
    name = re.sub(r"^\s*import\s+(?:static\s+)?|[;\s]", "", _text(node)).removesuffix(".*")
    if node.type == "package_declaration" or not name:
        return Import((), line)
    return Import([name], line, {name.rpartition(".")[2]: name})


def _c(node: Node, _by: Importer) -> Import:
    name = _text(node.child_by_field_name("path")).strip('<>"')
    return Import([name] if name else (), node.start_point[0] + 1)


READERS: Final[Mapping[str, Reader]] = {
    "python": _python,
    "javascript": _javascript,
    "typescript": _javascript,
    "tsx": _javascript,
    "go": _go,
    "rust": _rust,
    "java": _java,
    "c": _c,
}
"""By language."""
