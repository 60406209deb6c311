"""Tool calls as every caller expects them: an id each, places in order, arguments an object."""

from __future__ import annotations

import json
import secrets
import string
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from reverie.models.wire.piece import Piece, Pieces, ToolDelta

_ALPHABET: Final = string.ascii_letters + string.digits
_ID_LENGTH = 9
"""The chat templates of Mistral's models refuse ids of any other length."""
_MOST_DECODINGS = 3
"""Times that a string is read as JSON until an object comes out."""


def decode_arguments(pieces: Pieces) -> Pieces:
    """The reply with its tool calls made regular.

    Arguments that are a JSON string holding an object are decoded, those that are empty become
    ``{}``; both come when the call is complete, all others as they are and when they are. What is
    no JSON stays what it is: repairing it would be guessing what to call. Calls without an id, or
    with that of another call, get one, and indices count from 0.
    """
    return _tidy(pieces)


async def _tidy(pieces: Pieces) -> Pieces:
    async with aclosing(pieces):
        calls: dict[int, _Call] = {}
        ids: set[str] = set()
        async for piece in pieces:
            if not piece.tools and not (calls and piece.finish):
                yield piece
                continue
            tools = []
            for delta in piece.tools:
                call = calls.get(delta.index)
                if call is None:
                    call = calls[delta.index] = _Call(len(calls), _own_id(delta.id, ids))
                    ids.add(call.id)
                tools += call.read(delta)
            if piece.finish:
                tools += [delta for call in calls.values() for delta in call.end()]
            read = replace(piece, tools=tools)
            if not read.empty:
                yield read
        tools = [delta for call in calls.values() for delta in call.end()]
        if tools:
            yield Piece(tools=tools)


class _Call:
    """One tool call, and what of its arguments is held back."""

    def __init__(self, index: int, own_id: str) -> None:
        self.index = index
        self.id = own_id
        self._opened = False
        self._held: str | None = ""  # None: its arguments are passed on as they come

    def read(self, delta: ToolDelta) -> list[ToolDelta]:
        """What is certain, now that ``delta`` has come."""
        first, self._opened = not self._opened, True
        arguments = delta.arguments
        if self._held is not None:
            self._held += arguments
            arguments = ""
            begun = self._held.lstrip()
            # A string may hold an object, and null means no arguments.
            if begun and begun[0] not in '"n':
                arguments, self._held = self._held, None
        if not (first or arguments or delta.name):
            return []
        return [ToolDelta(self.index, self.id if first else "", delta.name, arguments)]

    def end(self) -> list[ToolDelta]:
        """What was held back, when no more of the call comes."""
        held, self._held = self._held, None
        return [] if held is None else [ToolDelta(self.index, arguments=_object(held))]


def _own_id(said: str, taken: set[str]) -> str:
    if said and said not in taken:
        return said
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


def _object(arguments: str) -> str:
    """The object in ``arguments``, which may be a string around it; else as they are."""
    inner = arguments
    for _ in range(_MOST_DECODINGS):
        if inner.strip() in ("", "null"):
            return "{}"
        try:
            value = json.loads(inner)
        except (ValueError, RecursionError):
            return arguments
        if isinstance(value, dict):
            return inner
        if not isinstance(value, str):
            return arguments
        inner = value
    return arguments
