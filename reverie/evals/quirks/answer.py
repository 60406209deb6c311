"""A response before it is written to a connection, and how it is written."""

from __future__ import annotations

import enum
import gzip
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from reverie.evals.quirks.behaviour import Quirks


class Ending(enum.Enum):
    """How a connection ends before its response is complete."""

    RESET = "reset"
    CLOSE = "close"
    HANG = "hang"


Part = bytes | float | Ending
"""Bytes to write, seconds to wait, or the end."""

_SETTLE = 0.02
"""Seconds between the last bytes and a reset, which would overtake them."""
_WRITE = 1 << 16
"""Most bytes of one write, as far as the server is concerned."""


@dataclass(slots=True)
class Answer:
    """Either ``body``, or ``parts`` that are streamed."""

    body: bytes = b""
    parts: Iterable[Part] | None = None
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    wait: float = 0.0
    """Seconds before the first byte."""
    ending: Ending | None = None
    """Comes after half of ``body``, or instead of everything when there is no body."""


def deliver(answer: Answer, quirks: Quirks) -> Iterator[Part]:
    """What is done to the connection, step by step. Bytes that belong together are one step."""
    if answer.wait:
        yield answer.wait
    if answer.ending is not None and not answer.body:
        yield answer.ending
        return
    parts = _framed(answer, quirks)
    if quirks.write_bytes or quirks.split_characters:
        parts = _in_pieces(parts, quirks)
    for part in parts:
        if isinstance(part, bytes) and len(part) > _WRITE:
            # Piece by piece: a client that does not want all of it is noticed in the middle.
            yield from (part[at : at + _WRITE] for at in range(0, len(part), _WRITE))
        else:
            yield part


def closes(answer: Answer, quirks: Quirks) -> bool:
    """Whether the connection ends with this response."""
    unframed = not quirks.tells_length if answer.parts is None else not quirks.chunked
    return unframed or quirks.keep_alive != "yes"


def _framed(answer: Answer, quirks: Quirks) -> Iterator[Part]:
    """Head and body in HTTP/1.1."""
    if answer.parts is None:
        return _whole(answer, quirks)
    return _merged(_streamed(answer, answer.parts, quirks))


def _whole(answer: Answer, quirks: Quirks) -> Iterator[Part]:
    body, framing = answer.body, b""
    if quirks.gzip:
        body = gzip.compress(body)
        framing = b"content-encoding: gzip\r\n"
    if quirks.tells_length:
        framing += b"content-length: %d\r\n" % len(body)
    head = _head(answer, quirks, framing)
    if answer.ending is None:
        yield head + body
        return
    yield head + body[: len(body) // 2]
    yield _SETTLE
    yield answer.ending


def _streamed(answer: Answer, parts: Iterable[Part], quirks: Quirks) -> Iterator[Part]:
    framing = b"transfer-encoding: chunked\r\n" if quirks.chunked else b""
    # The head goes out with the first bytes: before them there is silence.
    head = _head(answer, quirks, framing + b"cache-control: no-cache\r\n")
    for part in parts:
        if isinstance(part, bytes):
            frame = b"%x\r\n%b\r\n" % (len(part), part) if quirks.chunked else part
            yield head + frame
            head = b""
        elif isinstance(part, Ending):
            if head:
                yield head
            yield _SETTLE
            yield part
            return
        else:
            yield part
    if quirks.chunked:
        yield head + b"0\r\n\r\n"


def _merged(parts: Iterator[Part]) -> Iterator[Part]:
    """Bytes with nothing between them as one write: a system call costs more than their making."""
    for kind, group in itertools.groupby(parts, type):
        if kind is bytes:
            yield b"".join(part for part in group if isinstance(part, bytes))
        else:
            yield from group


def _in_pieces(parts: Iterator[Part], quirks: Quirks) -> Iterator[Part]:
    """Small writes with time between them. Cuts at ``write_bytes`` and within characters."""
    for part in parts:
        if not isinstance(part, bytes):
            yield part
            continue
        cuts = set(range(0, len(part), quirks.write_bytes or len(part)))
        if quirks.split_characters:
            # Continuation bytes of UTF-8 are 10xxxxxx: each is cut off from the byte before it.
            cuts |= {at for at, byte in enumerate(part) if byte & 0xC0 == 0x80}
        bounds = [*sorted(cuts | {0}), len(part)]
        for start, end in itertools.pairwise(bounds):
            yield part[start:end]
            yield quirks.write_seconds


def _head(answer: Answer, quirks: Quirks, framing: bytes) -> bytes:
    kind = quirks.content_type or answer.content_type
    more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    if closes(answer, quirks) and quirks.keep_alive != "dropped":
        more += "connection: close\r\n"
    line = _STATUS_LINES.get(answer.status) or f"HTTP/1.1 {answer.status} Unknown\r\n".encode()
    # latin-1 with replacement: what a client sent is repeated, whatever it is.
    return b"%bserver: quirks\r\ncontent-type: %b\r\n%b%b\r\n" % (
        line,
        kind.encode("latin-1", "replace"),
        more.encode("latin-1", "replace"),
        framing,
    )


_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
