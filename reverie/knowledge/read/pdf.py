"""PDF to text, page by page."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import time
from typing import TYPE_CHECKING

from reverie.errors import ConfigError, DocumentUnreadable
from reverie.knowledge.read.document import SourceDocument
from reverie.knowledge.read.markdown import LONGEST_HEADING

if TYPE_CHECKING:
    from pypdf import PdfReader

_MOST_SECONDS = 300.0
"""Of one file. A small one can have pages by the thousand that draw the same long text."""
_NOTICES = 5


def read_pdf(data: bytes, path: str, *, most_characters: int) -> list[SourceDocument]:
    """One document with the text of all pages; those behind ``most_characters`` of text or five
    minutes are left out with a notice. Raises DocumentUnreadable for a PDF that is encrypted,
    damaged, or holds no text; ConfigError when pypdf is not installed.
    """
    if importlib.util.find_spec("pypdf") is None:
        raise ConfigError("reading PDF needs pypdf", hint="pip install 'reverie[knowledge]'")
    log = logging.getLogger("pypdf")
    if log.level == logging.NOTSET:  # its messages about damage name no file; ours do
        log.setLevel(logging.CRITICAL)
    title, texts, notices = _read(data, path, most_characters)
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


class _TooLong(Exception):
    """Reading has taken all the time that there is."""


def _read(data: bytes, path: str, most_characters: int) -> tuple[str, list[str], list[str]]:
    """Title, the text of every page, and notices."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        # Many are encrypted with no password, only to forbid printing.
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileNotDecryptedError("a password is needed")
        len(reader.pages)  # follows the tree of the pages
    except (DependencyError, FileNotDecryptedError) as error:
        raise DocumentUnreadable(
            f"{path} is encrypted: {error}",
            hint="Save it without a password, for example with qpdf --decrypt",
        ) from error
    except Exception as error:  # damaged files raise anything, RecursionError too
        if b"%PDF-" not in data[:1024]:
            raise DocumentUnreadable(
                f"{path} is no PDF, though it is called one",
                hint="Give it the suffix of what it is",
            ) from error
        raise DocumentUnreadable(
            f"{path} is damaged or no PDF: {type(error).__name__}: {error}",
            hint="Save it anew, for example with qpdf INPUT OUTPUT",
        ) from error
    texts, notices, rest = _texts(reader, most_characters)
    if not any(map(str.strip, texts)):
        if notices:
            raise DocumentUnreadable(
                f"{path} is damaged: {notices[0]}", hint="Save it anew, for example with qpdf"
            )
        if rest:
            raise DocumentUnreadable(
                f"{path} takes too much: {rest}", hint="Convert it to text, or leave it out"
            )
    if len(notices) > _NOTICES:
        notices = [*notices[:_NOTICES], f"{len(notices) - _NOTICES} more pages cannot be read"]
    title = ""
    with contextlib.suppress(Exception):  # what a damaged file says about itself may be anything
        title = " ".join(str((reader.metadata and reader.metadata.title) or "").split())
    return title[:LONGEST_HEADING], texts, [*notices, *filter(None, [rest])]


def _texts(reader: PdfReader, most_characters: int) -> tuple[list[str], list[str], str]:
    """The text of the pages, which of them cannot be read, and which were left out, if any."""
    until = time.monotonic() + _MOST_SECONDS

    def check(*_: object) -> None:
        """Is called before every operation of a page."""
        if time.monotonic() > until:
            raise _TooLong

    texts: list[str] = []
    notices: list[str] = []
    count, left = len(reader.pages), most_characters
    for number in range(count):
        rest = f"the pages from {number + 1} to {count} were left out: "
        try:
            check()
            text = reader.pages[number].extract_text(visitor_operand_before=check)
            check()  # inside of a form pypdf goes on without what is left of it
        except _TooLong:
            return texts, notices, f"{rest}reading takes more than {_MOST_SECONDS:.0f} s"
        except Exception as error:  # noqa: BLE001 as above; the other pages can still be read
            text = ""
            notices.append(f"page {number + 1} cannot be read: {type(error).__name__}: {error}")
        left -= len(text)
        if left < 0:
            return texts, notices, f"{rest}more text than {most_characters / 1e6:g} MB"
        text = text.encode("utf-8", "replace").decode("utf-8")
        texts.append(text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))
    return texts, notices, ""
