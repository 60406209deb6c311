"""Keeps keys out of what is said and logged, even when a server says them."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import traceback
from collections.abc import Iterator, Sequence
from urllib.parse import quote, quote_plus, unquote

from reverie.errors import ModelRejected, ReverieError

STRUCK = "[hidden]"

_SHORTEST = 4
"""Shorter values are no secrets and would strike out half of every message."""
_SHORTEST_PART = 8
"""Of a header's words, those that are as long may be secrets by themselves."""
_SHORTEST_CUT = 6
"""Of a value that is cut off, less does not help anybody to guess it."""
_CUT = ("", "…", "'", '"', "\\")
"""What stands where a text was cut off: nothing, or what closes it."""

_LOGGERS = (
    "openai",
    "openai._base_client",
    "openai._legacy_response",
    "openai._response",
    "httpx2",
    "httpcore2",
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.socks",
)


class Secrets:
    """The values of one endpoint that nobody must see."""

    def __init__(self, values: Sequence[str]) -> None:
        kept = [value for value in values if len(value) >= _SHORTEST]
        spelt = [one for value in kept for one in _spellings(value) if len(one) >= _SHORTEST]
        # The longest first: a key may begin with another one.
        self._values = sorted(dict.fromkeys(spelt), key=len, reverse=True)

    def strike(self, text: str) -> str:
        """``text`` without any of the values, also where the end of a text cuts one off."""
        for value in self._values:
            text = text.replace(value, STRUCK)
        for value in self._values:
            text = _without_beginning(text, value)
        return text

    def kept(self, failure: ReverieError, cause: BaseException | None = None) -> ReverieError:
        """``failure`` without any of the values, to be raised outside of the handler of ``cause``,
        which it is chained to where that shows nothing.
        """
        failure.message = self.strike(failure.message)
        failure.hint = self.strike(failure.hint)
        if isinstance(failure, ModelRejected):
            failure.field = self.strike(failure.field)
        failure.args = (failure.message,)
        if cause is not failure:
            failure.__cause__ = None if cause is None else self.safe_cause(cause)
            failure.__suppress_context__ = True
        return failure

    def safe_cause(self, error: BaseException) -> BaseException | None:
        """``error``, to be chained to another; None where there is anything to hide: the SDK's
        errors hold the request with its headers, and the response with whatever it repeats.
        """
        return None if self._values else error

    def guard_logs(self) -> LogGuard | None:
        """Strike the values out of the log records of the SDK and what lies below it."""
        return LogGuard(self) if self._values else None


class LogGuard(logging.Filter):
    """A filter on the loggers of the SDK and its HTTP client, until ``lift``."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        struck = self._secrets.strike(said)
        if struck != said:
            record.msg, record.args = struck, ()
        if record.exc_info and record.exc_info[1] is not None:
            shown = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
            struck = self._secrets.strike(shown)
            if struck != shown:  # what handlers show of it, and no object that knows more
                record.exc_info, record.exc_text = None, struck
        return True

    def lift(self) -> None:
        """Stop watching."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)


def _spellings(value: str) -> Iterator[str]:
    """The value and its parts, as servers, Python, JSON, HTML, URLs and Base64 spell them."""
    for one in dict.fromkeys((value, *_parts(value))):
        yield one
        yield repr(one)[1:-1]
        yield repr(one.encode("utf-8", "replace"))[2:-1]
        yield json.dumps(one)[1:-1]
        yield json.dumps(one, ensure_ascii=False)[1:-1]
        yield html.escape(one)
        yield quote(one, safe="", errors="replace")
        yield quote(one, errors="replace")
        yield quote_plus(one, errors="replace")
        yield unquote(one)
        yield "".join(f"\\u{ord(character):04x}" for character in one)
        yield from _encoded(one)


def _parts(value: str) -> list[str]:
    """What of a header's value may be a secret by itself: the token behind ``Bearer``, what is
    encoded behind ``Basic``, the values of cookies.
    """
    words = re.split(r"[\s;,=]+", value)
    found = [word for word in words if len(word) >= _SHORTEST_PART]
    scheme, _, encoded = value.strip().partition(" ")
    if scheme.lower() == "basic":
        try:
            plain = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        except ValueError:
            return found
        found += [plain, plain.partition(":")[2]]
    return [part for part in found if len(part) >= _SHORTEST]


def _encoded(value: str) -> Iterator[str]:
    """What is the same in every Base64 text that the value is in, wherever in it."""
    raw = value.encode("utf-8", "replace")
    if len(raw) < _SHORTEST_PART:
        return
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(b"\0" * before + raw).decode().rstrip("=")
            # The characters at both ends share bits with what stands before and behind.
            begin = (0, 2, 3)[before]
            end = len(text) - ((before + len(raw)) % 3 > 0)
            yield text[begin:end]


def _without_beginning(text: str, value: str) -> str:
    """``text`` without the beginnings of ``value`` that it ends in or was cut off within."""
    begun = value[:_SHORTEST_CUT]
    place = text.rfind(begun)
    while place >= 0:
        end = place + _same(text[place : place + len(value)], value)
        if text[end : end + 1] in _CUT:
            text = text[:place] + STRUCK + text[end:]
        place = text.rfind(begun, 0, place)
    return text


def _same(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
