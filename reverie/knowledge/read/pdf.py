"""PDF to text, page by page."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging

from reverie.errors import ConfigError, DocumentUnreadable
from reverie.knowledge.read.document import SourceDocument

_NOTICES = 5


def read_pdf(data: bytes, path: str) -> list[SourceDocument]:
    """One document with the text of all pages. Raises DocumentUnreadable for a PDF that is
    encrypted, damaged, or holds no text; ConfigError when pypdf is not installed.
    """
    if importlib.util.find_spec("pypdf") is None:
        raise ConfigError("reading PDF needs pypdf", hint="pip install 'reverie[knowledge]'")
    log = logging.getLogger("pypdf")
    if log.level == logging.NOTSET:  # its messages about damage name no file; ours do
        log.setLevel(logging.CRITICAL)
    title, texts, notices = _read(data, path)
    lines: list[str] = []
    pages: list[int] = []
    for page, text in enumerate(texts, 1):
        if text.strip():
            said = text.strip("\n").split("\n")
            lines += [*said, ""]
            pages += [page] * (len(said) + 1)
    if not lines:
        raise DocumentUnreadable(
            f"{path} holds no text: its {len(texts)} pages are probably pictures",
            hint="Recognise the text first, for example with ocrmypdf",
        )
    empty = sum(not text.strip() for text in texts)
    if empty:
        notices.append(f"{empty} of {len(texts)} pages hold no text")
    return [
        SourceDocument(
            path, "text", "\n".join(lines), title=title, pages=tuple(pages), notices=notices
        )
    ]


def _read(data: bytes, path: str) -> tuple[str, list[str], list[str]]:
    """Title, the text of every page, and notices."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    texts: list[str] = []
    notices: list[str] = []
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        # Many are encrypted with no password, only to forbid printing.
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileNotDecryptedError("a password is needed")
        count = len(reader.pages)
    except (DependencyError, FileNotDecryptedError) as error:
        raise DocumentUnreadable(
            f"{path} is encrypted: {error}",
            hint="Save it without a password, for example with qpdf --decrypt",
        ) from error
    except Exception as error:  # damaged files raise anything, RecursionError too
        raise DocumentUnreadable(
            f"{path} is damaged or no PDF: {type(error).__name__}: {error}",
            hint="Save it anew, for example with qpdf INPUT OUTPUT",
        ) from error
    for number in range(count):
        try:
            text = reader.pages[number].extract_text()
        except Exception as error:  # noqa: BLE001 as above; the other pages can still be read
            text = ""
            notices.append(f"page {number + 1} cannot be read: {type(error).__name__}: {error}")
        text = text.encode("utf-8", "replace").decode("utf-8")
        texts.append(text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))
    if notices and not any(map(str.strip, texts)):
        raise DocumentUnreadable(
            f"{path} is damaged: {notices[0]}", hint="Save it anew, for example with qpdf"
        )
    if len(notices) > _NOTICES:
        notices = [*notices[:_NOTICES], f"{len(notices) - _NOTICES} more pages cannot be read"]
    title = ""
    with contextlib.suppress(Exception):  # what a damaged file says about itself may be anything
        title = " ".join(str((reader.metadata and reader.metadata.title) or "").split())
    return title, texts, notices
