"""What a file of code is called by those who import it, as far as the file itself tells."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from reverie.knowledge.extract.code.imports import path_name

_PACKAGE = re.compile(r"^\s*package\s+([\w.]+)", re.MULTILINE)


def module_name(path: str, language: str, text: str, imported: Sequence[str] = ()) -> str:
    """The module's qualified name. ``imported`` are the modules that it imports, of Python with the
    leading dots of relative ones: they tell where its package begins.
    """
    if language == "python":
        return _python(path, imported)
    if language in {"go", "java"} and (named := _PACKAGE.search(text[:100_000])):
        return named[1]
    if language == "rust":
        return _rust(path)
    if language == "c":
        return ""  # names are global
    return path_name(path)


def _python(path: str, imported: Sequence[str]) -> str:
    """``json.decoder`` of .../json/decoder.py: packages are the folders that the file imports from
    by name or by dots.
    """
    folders = [part for part in posixpath.dirname(path).split("/") if part]
    stem = posixpath.splitext(posixpath.basename(path))[0]
    inits = stem == "__init__"
    roots = {name.split(".")[0] for name in imported if not name.startswith(".")}
    up = max((len(n) - len(n.lstrip(".")) for n in imported), default=0)
    begins = max(0, len(folders) - max(up, 1 if inits else 0))
    for root in sorted(roots.intersection(folders)):
        # The innermost: a checkout may be called as its package is.
        at = len(folders) - 1 - folders[::-1].index(root)
        if all(map(str.isidentifier, folders[at:])):
            begins = min(begins, at)
    parts = [*folders[begins:], *([] if inits else [stem])]
    return ".".join(parts) or stem


def _rust(path: str) -> str:
    parts = [part for part in posixpath.splitext(path)[0].split("/") if part]
    if "src" in parts:
        parts = parts[len(parts) - parts[::-1].index("src") - 1 :]
        parts[0] = "crate"
    else:
        parts = parts[-1:]
    if len(parts) > 1 and parts[-1] in {"mod", "lib", "main"}:
        parts.pop()
    return ".".join(parts)
