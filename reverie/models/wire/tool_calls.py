"""The tool calls of one reply, put in order."""

from __future__ import annotations

import json
import uuid
from typing import Any

from reverie.models.wire.error_body import excerpt
from reverie.models.wire.piece import ToolDelta
from reverie.models.wire.text import word


class ToolCalls:
    """Gives each call of a reply its own index and id, whatever the server sends.

    Gemini's endpoint sends every call of a stream under index 0; other servers send no index, no
    id, the same id for all, or id and name in every chunk.
    """

    __slots__ = ("_ids", "_names", "_places")

    def __init__(self) -> None:
        # By our index: what the server said.
        self._ids: list[str] = []
        self._names: list[str] = []
        # Our index of the latest call that the server had under an index.
        self._places: dict[int | str, int] = {}

    def read(self, calls: Any, *, whole: bool) -> list[ToolDelta]:
        """The ``tool_calls`` of a message, where each is ``whole``, or of a delta.

        Raises ValueError.
        """
        return [self._read(call, whole) for call in (calls if isinstance(calls, list) else [calls])]

    def _read(self, call: Any, whole: bool) -> ToolDelta:
        function = call.get("function") or {} if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise _no_call(call)
        index = call.get("index")
        index = index if isinstance(index, int | str) else None
        said, name = word(call.get("id")), word(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        place = None if whole else self._going_on(index, said, name)
        if place is not None:
            late = "" if self._names[place] else name
            self._names[place] = self._names[place] or name
            return ToolDelta(place, name=late, arguments=arguments)
        place = len(self._ids)
        given = said if said and said not in self._ids else f"call_{uuid.uuid4().hex}"
        self._ids.append(said)
        self._names.append(name)
        if index is not None:
            self._places[index] = place
        return ToolDelta(place, given, name, arguments)

    def _going_on(self, index: int | str | None, said: str, name: str) -> int | None:
        """Our index of the call that is gone on with; None when a new one begins."""
        if index is not None:
            place = self._places.get(index, -1)
        else:
            place = len(self._ids) - 1
            if (said or name) and not (said and said in self._ids[-1:]):
                return None
        if place < 0:
            return None
        if name and (
            name != (self._names[place] or name) or (said or self._ids[place]) != self._ids[place]
        ):
            return None
        return place


def _no_call(call: Any) -> ValueError:
    return ValueError(f"this is no tool call: {excerpt(call)}")


def _arguments(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    if arguments is None:
        return ""
    try:
        return json.dumps(arguments)  # some servers have decoded them already
    except RecursionError as error:
        raise ValueError("the arguments of a tool call are nested too deeply") from error
