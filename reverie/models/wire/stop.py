"""Stop strings, obeyed by the client where the server does not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from reverie.errors import ReverieError
from reverie.models.wire.held import HeldText
from reverie.models.wire.markers import Markers
from reverie.models.wire.piece import Piece, Pieces

_PATIENCE = 1.0
"""Seconds that a server has, behind a stop string, to end the reply by itself."""


def cut_at_stop(pieces: Pieces, stop: Sequence[str]) -> Pieces:
    """The reply up to the first of the stop strings, which is left out. Reasoning is not searched.

    A server that goes on behind it is closed, so that it stops generating; the last piece then has
    ``finish`` stop and ``extra["stop_ignored"]``. One that only sent the stop string along and then
    ended is heard to its end, for its usage.
    """
    markers = Markers(stop)
    return _cut(pieces, markers) if markers else pieces


async def _cut(pieces: Pieces, markers: Markers) -> Pieces:
    async with aclosing(pieces):
        cutter = _Cutter(markers)
        while (piece := await cutter.next(pieces)) is not None:
            read = cutter.read(piece)
            if not read.empty:
                yield read
            if cutter.ignored:
                return
        rest = cutter.end()
        if not rest.empty:
            yield rest


class _Cutter:
    """How far a reply is: before a stop string, behind one, or ended."""

    def __init__(self, markers: Markers) -> None:
        self._markers = markers
        self._held = HeldText("first")  # a token that holds text and a stop string is the text's
        self._called = False
        self._cut = False
        self._finished = False
        self.ignored = False
        """Whether the server goes on although a stop string has come."""

    async def next(self, pieces: Pieces) -> Piece | None:
        """The next piece; None when there is none, or when the reply is whole without it."""
        if not self._cut or self._finished:
            return await anext(pieces, None)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await anext(pieces, None)
        except (TimeoutError, ReverieError):
            return None

    def read(self, piece: Piece) -> Piece:
        """What is certain, now that ``piece`` has come."""
        self._called = self._called or bool(piece.tools)
        if self._cut:
            return self._behind(piece)
        if not self._held.text and self._is_plain(piece.text):
            return piece
        self._held.add(piece.text, piece.logprobs)
        found = self._markers.find(self._held.text)
        if found is None:
            keep = len(self._held.text)
            certain = keep if piece.finish else self._markers.begun(self._held.text)
            text, tokens = self._held.rest() if certain == keep else self._held.take(certain)
            return replace(piece, text=text, logprobs=tokens)
        begin, end = found
        more = len(self._held.text) > end
        text, tokens = self._held.take(begin)
        self._cut = True
        read = replace(piece, text=text, logprobs=tokens)
        if piece.finish:
            self._finished = True
            return self._ended(read, ignored=more)
        self.ignored = more
        return self._ended(read, ignored=True) if more else read

    def end(self) -> Piece:
        """What is left when no more pieces come."""
        if not self._cut:
            text, tokens = self._held.rest()
            return Piece(text=text, logprobs=tokens)
        return Piece() if self._finished else self._ended(Piece(), ignored=False)

    def _is_plain(self, text: str) -> bool:
        """Whether no stop string is or begins in ``text``."""
        return self._markers.find(text) is None and self._markers.begun(text) == len(text)

    def _behind(self, piece: Piece) -> Piece:
        if not self._finished and (piece.text or piece.tools):
            self.ignored = True
            return self._ended(Piece(), ignored=True)
        read = replace(piece, text="", logprobs=[])
        if not piece.finish:
            return read
        self._finished = True
        return self._ended(read, ignored=False)

    def _ended(self, piece: Piece, *, ignored: bool) -> Piece:
        extra = {**piece.extra, "stop_ignored": True} if ignored else piece.extra
        return replace(piece, finish="tool_calls" if self._called else "stop", extra=extra)
