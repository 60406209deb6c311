"""Jupyter notebooks as Markdown: text cells, and code cells in fences; outputs are left out."""

from __future__ import annotations

import json
import re
from typing import Any

from reverie.errors import DocumentUnreadable
from reverie.knowledge.read.document import SourceDocument
from reverie.knowledge.read.markdown import title_of


def read_notebook(text: str, path: str, notices: list[str]) -> list[SourceDocument]:
    """One document; none for a notebook without a word in it. Raises DocumentUnreadable for what
    is no notebook. Lines are those of the Markdown: JSON has no lines that a reader would look for.
    """
    try:
        notebook: Any = json.loads(text)
        cells = notebook["cells"]
        language = notebook.get("metadata", {}).get("language_info", {}).get("name", "python")
        parts = [part for cell in cells if (part := _cell(cell, str(language)))]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise DocumentUnreadable(
            f"{path} is no Jupyter notebook", hint="Open it in Jupyter and save it anew"
        ) from error
    if not parts:
        return []
    body = "\n\n".join(parts)
    return [SourceDocument(path, "markdown", body, title=title_of(body), notices=notices)]


def _cell(cell: Any, language: str) -> str:
    source = cell.get("source", "")
    said = "".join(source) if isinstance(source, list) else str(source)
    said = said.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if not said.strip() or cell.get("cell_type") == "raw":
        return ""
    if cell.get("cell_type") != "code":
        return said
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", said)), default=0))
    return f"{fence}{language}\n{said}\n{fence}"
