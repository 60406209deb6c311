"""Files to documents: text, Markdown, HTML, PDF, source code and records of JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reverie.knowledge.read.content import read_bytes
from reverie.knowledge.read.document import Media, SourceDocument
from reverie.knowledge.read.encoding import decode
from reverie.knowledge.read.html import declared_encoding, read_html
from reverie.knowledge.read.language import format_of, language_of_program
from reverie.knowledge.read.markdown import title_of
from reverie.knowledge.read.notebook import read_notebook
from reverie.knowledge.read.pdf import read_pdf
from reverie.knowledge.read.records import read_json, read_lines
from reverie.knowledge.read.walk import find_files

__all__ = ["SourceDocument", "find_files", "path_name", "read_file"]

_READERS: Final[dict[str, Callable[[str, str, list[str]], list[SourceDocument]]]] = {
    "html": read_html,
    "json": read_json,
    "jsonl": read_lines,
    "notebook": read_notebook,
}


def read_file(path: Path, *, most_bytes: int) -> list[SourceDocument]:
    """The documents that a file holds: one, or one for every record of JSON Lines; none for a file
    that is empty or holds only white space. Blocks.

    Nothing that the file holds is executed, and nothing that it names is fetched. Raises
    DocumentUnreadable for what is no text, damaged, encrypted, gone, not an ordinary file, or
    larger than ``most_bytes``; ConfigError where reading it needs a package that is not installed.
    """
    name = path_name(path)
    data = read_bytes(path, name, most_bytes)
    if not data.strip():
        return []
    form, language = format_of(path)
    if form == "pdf" or data.startswith(b"%PDF-"):
        return read_pdf(data, name, most_characters=most_bytes)
    declared = declared_encoding(data) if form == "html" else ""
    text, notices = decode(data, name, declared=declared)
    if not text.strip():
        return []
    if form in _READERS:
        return _READERS[form](text, name, notices)
    if form == "markdown":
        return [SourceDocument(name, "markdown", text, title=title_of(text), notices=notices)]
    language = language or language_of_program(text)
    media: Media = "code" if language else "text"
    return [SourceDocument(name, media, text, language, notices=notices)]


def path_name(path: Path) -> str:
    r"""What a file is called in every document, chunk and edge: absolute, with / between its parts.

    Bytes of a name that are no UTF-8 are written as ``\xff``: names are text everywhere.
    """
    absolute = Path(os.path.abspath(path)).as_posix()  # noqa: PTH100 links stay as they are named
    return os.fsencode(absolute).decode("utf-8", "backslashreplace")
