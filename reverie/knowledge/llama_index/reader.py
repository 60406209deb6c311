"""Documents that LlamaIndex's readers loaded, as documents to ingest."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Any, Final

from reverie.knowledge.read.document import Media, SourceDocument

_LANGUAGES: Final = {
    ".py": "python",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".go": "go",
    ".rs": "rust",
    ".java": "java",
    ".c": "c",
    ".h": "c",
}
_MARKDOWN: Final = frozenset({".md", ".markdown", ".mdx"})
_PATH_KEYS: Final = ("file_path", "source", "url", "URL", "filename", "file_name")
"""What readers call the place that a document is from."""


def source_documents(documents: Iterable[Any]) -> list[SourceDocument]:
    """LlamaIndex documents, or nodes, with text; those without any are left out.

    The path is what the metadata says (``file_path``, ``source``, ``url``, ``file_name``), else
    ``llama_index:ID``. The pages of one file (``page_label``) become one document whose lines know
    their pages, as far as the labels are numbers; other documents of one path are records of it.
    """
    grouped: dict[str, list[Any]] = {}
    for document in documents:
        if str(document.get_content()).strip():
            grouped.setdefault(_path(document), []).append(document)
    found: list[SourceDocument] = []
    for path, group in grouped.items():
        pages = [_page(document) for document in group]
        if len(group) > 1 and all(page is not None for page in pages):
            found.append(_paged(path, group, [page or 1 for page in pages]))
        else:
            found += [_document(path, one, several=len(group) > 1) for one in group]
    return found


def _paged(path: str, group: list[Any], pages: list[int]) -> SourceDocument:
    texts = [_text(document) for document in group]
    return SourceDocument(
        path,
        "text",
        "\n".join(texts),
        title=_title(group[0]),
        pages=[
            page
            for text, page in zip(texts, pages, strict=True)
            for _ in range(text.count("\n") + 1)
        ],
    )


def _document(path: str, document: Any, *, several: bool) -> SourceDocument:
    ending = posixpath.splitext(path)[1].lower()
    language = _LANGUAGES.get(ending, "")
    media: Media = "code" if language else "markdown" if ending in _MARKDOWN else "text"
    return SourceDocument(
        path,
        media,
        _text(document),
        language=language,
        title=_title(document),
        record=str(document.id_) if several else "",
    )


def _path(document: Any) -> str:
    for key in _PATH_KEYS:
        value = document.metadata.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip().replace("\\", "/")
    return f"llama_index:{document.id_}"


def _page(document: Any) -> int | None:
    label = str(document.metadata.get("page_label", ""))
    return int(label) if label.isascii() and label.isdigit() and 0 < len(label) < 7 else None


def _title(document: Any) -> str:
    title = document.metadata.get("title")
    return " ".join(title.split()) if isinstance(title, str) else ""


def _text(document: Any) -> str:
    return str(document.get_content()).replace("\r\n", "\n").replace("\r", "\n")
