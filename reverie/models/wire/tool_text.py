"""Tool calls that a model wrote into its answer, taken out of the text."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from reverie.models.wire.held import HeldText
from reverie.models.wire.piece import Piece, Pieces, TokenLogprob, ToolDelta
from reverie.models.wire.written_call import Opener, Openers, WrittenCall

_SIGNS: Final = re.compile(r"[<\[{`]")
"""Characters that a call may begin with."""
_SPACE: Final = re.compile(r"\s*")
_BETWEEN: Final = re.compile(r"[\s;,]*")
"""What may stand between two calls."""


def read_tool_text(pieces: Pieces, names: Collection[str]) -> Pieces:
    """The reply with the tool calls in its text as ``Piece.tools``, and ``finish`` tool_calls.

    ``names`` are the tools that were offered: calls of others stay text, as everything does that is
    no call. Text around calls is kept, white space between them is not. A piece with such a call
    has ``extra["tools_as_text"]``. The calls have no ids, and arguments as the model wrote them.
    From a server that puts calls where they belong, the rest of the reply is left alone.
    """
    openers = Openers(names)
    return _read(pieces, openers) if openers.names else pieces


async def _read(pieces: Pieces, openers: Openers) -> Pieces:
    async with aclosing(pieces):
        reader = _Reader(openers)
        async for piece in pieces:
            read = reader.read(piece, final=bool(piece.finish))
            if not read.empty:
                yield read
        rest = reader.read(Piece(), final=True)
        if not rest.empty:
            yield rest


class _Reader:
    """What of a reply is held back because it may be a call."""

    def __init__(self, openers: Openers) -> None:
        self._openers = openers
        self._held = HeldText("first")
        self._candidate: WrittenCall | None = None
        self._calls = 0
        self._native = False
        self._gap = True  # only white space so far, since the beginning or since a call
        self._line_start = True

    def read(self, piece: Piece, *, final: bool) -> Piece:
        """What is certain, now that ``piece`` has come."""
        self._native = self._native or bool(piece.tools)
        if not self._held.text and (self._native or self._is_plain(piece)):
            plain = _Out(piece.text, piece.logprobs)
            return self._completed(piece, plain) if self._calls else piece
        self._held.add(piece.text, piece.logprobs)
        out = _Out()
        if not self._native:
            while self._advance(out, final=final):
                pass
        if final or self._native:
            self._give(out, len(self._held.text))
        if not self._held.text:
            out.tokens += self._held.rest()[1]
        return self._completed(piece, out)

    def _is_plain(self, piece: Piece) -> bool:
        """Whether no call can begin in ``piece``."""
        if self._gap and not self._calls:
            return not piece.text
        if self._gap or _SIGNS.search(piece.text):
            return False
        if piece.text:
            self._line_start = piece.text.endswith("\n")
        return True

    def _advance(self, out: _Out, *, final: bool) -> bool:
        """Read on in what is held; whether there is more to read."""
        if self._candidate is not None:
            return self._read_candidate(self._candidate, out, final=final)
        text = self._held.text
        if self._gap:
            return self._read_gap(text, out, final=final)
        for sign in _SIGNS.finditer(text):
            place = sign.start()
            line_start = text[place - 1] == "\n" if place else self._line_start
            opener = self._openers.begin(text[place:], line_start=line_start)
            if opener is False:
                continue
            self._give(out, place)
            return self._begin(opener, 0)
        self._give(out, len(text))
        return False

    def _read_gap(self, text: str, out: _Out, *, final: bool) -> bool:
        found = _BETWEEN.match(text) if self._calls else _SPACE.match(text)
        begin = found.end() if found else 0
        if begin == len(text):
            if final and self._calls:
                out.tokens += self._held.take(begin)[1]
            return False
        opener = self._openers.begin(text[begin:], line_start=True)
        if opener is False:
            self._gap = False
            self._give(out, begin)
            return True
        return self._begin(opener, begin)

    def _begin(self, opener: Opener | bool, begin: int) -> bool:
        if not isinstance(opener, Opener):
            return False  # more has to come
        self._candidate = WrittenCall(opener, self._openers.names, begin)
        return True

    def _read_candidate(self, candidate: WrittenCall, out: _Out, *, final: bool) -> bool:
        end = candidate.read(self._held.text, final=final)
        if end is None:
            return False
        self._candidate = None
        self._gap = bool(candidate.calls)
        if candidate.calls:
            out.tokens += self._held.take(end)[1]
            for call in candidate.calls:
                out.calls.append(replace(call, index=self._calls))
                self._calls += 1
        else:
            self._give(out, end)
        return True

    def _give(self, out: _Out, length: int) -> None:
        text, tokens = self._held.take(length)
        out.text += text
        out.tokens += tokens
        if text:
            self._line_start = text.endswith("\n")

    def _completed(self, piece: Piece, out: _Out) -> Piece:
        """``piece`` with what is certain in it."""
        if not self._calls:
            return replace(piece, text=out.text, logprobs=out.tokens)
        shifted = [replace(call, index=call.index + self._calls) for call in piece.tools]
        return replace(
            piece,
            text=out.text,
            logprobs=out.tokens,
            tools=out.calls + shifted,
            finish="tool_calls" if piece.finish == "stop" else piece.finish,
            extra={**piece.extra, "tools_as_text": True} if out.calls else piece.extra,
        )


@dataclass(slots=True)
class _Out:
    """What is certain of a piece."""

    text: str = ""
    tokens: list[TokenLogprob] = field(default_factory=list)
    calls: list[ToolDelta] = field(default_factory=list)
