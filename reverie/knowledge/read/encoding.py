"""Bytes to text: Unicode in its encodings, and what older programs wrote."""

from __future__ import annotations

import codecs
import importlib.util
from typing import Final

from reverie.errors import ConfigError, DocumentUnreadable

_MARKS: Final = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE: Final = 1 << 16
"""Bytes that tell an older encoding: guessing from more takes seconds and no better guess."""
_MOST_CONTROL: Final = 0.02
"""Share of control characters above which bytes are no text."""
_NO_CHARSETS: Final = frozenset({
    "utf-8", "utf-8-sig", "utf-7", "unicode-escape", "raw-unicode-escape", "punycode", "idna",
})  # fmt: skip
"""Names in Python of what a page may declare and is not believed: UTF-8 was tried before."""
_CONTROL: Final = bytes(set(range(32)) - set(b"\t\n\r\f\v\x1b\x08")) + b"\x7f"


def decode(data: bytes, name: str, *, declared: str = "") -> tuple[str, list[str]]:
    """``data`` as text whose lines end in a line feed, and what was odd about it.

    ``declared`` is the encoding that the file itself names, as HTML does. Raises
    DocumentUnreadable, which calls the file ``name``, for what is no text.
    """
    text, notices = _decoded(data, name, declared)
    return text.replace("\r\n", "\n").replace("\r", "\n"), notices


def _decoded(data: bytes, name: str, declared: str) -> tuple[str, list[str]]:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _replacing(data, encoding)
    if wide := _wide(data[:_SAMPLE]):
        return _replacing(data, wide)
    _check(data[:_SAMPLE], name)
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError:
        pass
    if _known(declared):
        return _replacing(data, declared)
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    right = sum(character > "\x7f" for character in text) - wrong
    if right > 4 * wrong:  # UTF-8 in which little is damaged
        return text, [_notice("utf-8", wrong)]
    return _guessed(data, name)


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: every other byte of mostly Latin text is zero."""
    pairs = len(sample) // 2
    even, odd = sample[: 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
    if odd > 0.4 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    if even > 0.4 * pairs and odd < 0.05 * pairs:
        return "utf-16-be"
    return ""


def _check(sample: bytes, name: str) -> None:
    strange = len(sample) - len(sample.translate(None, _CONTROL))
    if b"\0" in sample or strange > _MOST_CONTROL * len(sample):
        raise DocumentUnreadable(
            f"{name} holds no text, as an image or a program does",
            hint="Leave it out with ingest.exclude, or convert it to text",
        )


def _guessed(data: bytes, name: str) -> tuple[str, list[str]]:
    if importlib.util.find_spec("charset_normalizer") is None:
        raise ConfigError(
            f"{name} is not in UTF-8, and guessing its encoding needs charset-normalizer",
            hint="pip install 'reverie[knowledge]'",
        )
    from charset_normalizer import from_bytes

    guess = from_bytes(data[:_SAMPLE]).best()
    if guess is None:
        raise DocumentUnreadable(
            f"{name} is in no encoding that is known", hint="Convert it to UTF-8"
        )
    text, notices = _replacing(data, guess.encoding)
    return text, [f"not in UTF-8: read as {guess.encoding}, which is a guess", *notices]


def _replacing(data: bytes, encoding: str) -> tuple[str, list[str]]:
    text = data.decode(encoding, "replace")
    wrong = text.count("\ufffd")
    try:
        data.decode(encoding)
    except UnicodeError:
        return text, [_notice(encoding, wrong)]
    return text, []


def _notice(encoding: str, wrong: int) -> str:
    return f"{wrong} characters that are damaged or not {encoding} were replaced by \ufffd"


def _known(encoding: str) -> bool:
    """Whether it is an encoding of text that a page could be in which names it in ASCII and is no
    UTF-8. Some of Python's only turn bytes into other bytes, or are no encodings of files.
    """
    try:
        name = codecs.lookup(encoding).name if encoding else ""
        text = b"<x>".decode(name, "replace") if name and name not in _NO_CHARSETS else ""
    except (LookupError, ValueError):
        return False
    return text == "<x>"
