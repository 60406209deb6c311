"""The events of the Responses API, and the responses that they end in."""

from __future__ import annotations

from typing import Any, Final

from reverie.errors import ModelUnavailable
from reverie.models.wire.error_body import excerpt
from reverie.models.wire.logprobs import read_logprobs
from reverie.models.wire.piece import Piece, ToolDelta
from reverie.models.wire.refusal import error_in
from reverie.models.wire.text import word
from reverie.models.wire.usage import read_usage

_FIELDS: Final = {
    "output_text": "text",
    "reasoning_text": "reasoning",
    "reasoning_summary_text": "reasoning",
    "refusal": "refusal",
}
"""The field of a piece that a kind of text belongs to."""


class ResponseReader:
    """Reads the events of one response, or a whole one.

    Everything is said up to three times: in deltas, when its part is done, and when the response
    is. Servers leave some of these out, so each is read, as far as it says something new.
    """

    def __init__(self) -> None:
        self._calls: dict[int | None, int] = {}
        """Our index of the function call at an output index."""
        self._named: set[int] = set()
        self._argued: set[int] = set()
        """Calls whose name, and whose arguments, have been said."""
        self._told: set[tuple[str, int | None, int | None]] = set()
        """Texts that have been said: the piece's field, output index, and index within."""
        self._known = False
        self._other: Any = None

    def read(self, event: Any) -> Piece | None:
        """What an event adds; None when that is nothing."""
        if not isinstance(event, dict):
            raise no_response(event)
        kind = event.get("type")
        if not isinstance(kind, str) or not kind.startswith("response."):
            return self._foreign(event)
        self._known = True
        name = kind.removeprefix("response.")
        if name.endswith(".delta"):
            return self._delta(name.removesuffix(".delta"), event)
        if name.endswith((".done", ".added")):
            piece = Piece()
            self._done(piece, name, event)
            return piece if piece != Piece() else None
        if name in ("completed", "incomplete", "failed", "created"):
            response = event.get("response")
            if not isinstance(response, dict):
                raise no_response(event)
            if name != "created":
                return self.whole({**response, "status": name})
            return Piece(extra=_extra(response))
        return None

    def end(self) -> None:
        """Raise ValueError if what came was something, but no event of a response."""
        if not self._known and self._other is not None:
            raise no_response(self._other)

    def whole(self, response: dict[str, Any]) -> Piece:
        """What has not been said yet of a response that has ended."""
        status = response.get("status") or "completed"
        if status == "failed":
            raise _failure(response)
        piece = Piece(usage=read_usage(response.get("usage")), extra=_extra(response))
        # Not by their places: in some servers' streams these differ from those in the end.
        before = {field for field, _, _ in self._told}
        calls_before = bool(self._calls)
        for place, item in enumerate(_dicts(response.get("output"))):
            if item.get("type") != "function_call":
                self._texts(piece, place, item, before)
            elif not calls_before:
                self._call(piece, place, item)
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            piece.finish = (
                "length" if reason == "max_output_tokens" else word(reason) or "incomplete"
            )
        elif status == "completed":
            piece.finish = "tool_calls" if self._calls else "stop"
        else:
            piece.finish = word(status)
        return piece

    def _foreign(self, event: dict[str, Any]) -> Piece | None:
        if error := error_in(event):
            raise error
        if isinstance(event.get("output"), list):  # from a server that does not stream
            self._known = True
            return self.whole(event)
        self._other = self._other or event
        return None

    def _delta(self, kind: str, event: dict[str, Any]) -> Piece | None:
        delta = event.get("delta")
        if not delta or not isinstance(delta, str):
            return None
        if kind == "function_call_arguments":
            index = self._index(event.get("output_index"))
            self._argued.add(index)
            return Piece(tools=[ToolDelta(index, arguments=delta)])
        field = _FIELDS.get(kind)
        if field is None:
            return None
        self._told.add(_key(field, event))
        piece = Piece()
        setattr(piece, field, delta)
        if logprobs := event.get("logprobs"):
            piece.logprobs = read_logprobs(logprobs)
        return piece

    def _done(self, piece: Piece, name: str, event: dict[str, Any]) -> None:
        """Add what has been completed or begun, and has not been said."""
        kind, _, _ = name.rpartition(".")
        place, item = event.get("output_index"), event.get("item")
        if kind == "reasoning_summary_part" and name.endswith(".added"):
            piece.reasoning = "\n\n" if event.get("summary_index") else ""
        elif kind == "output_item" and isinstance(item, dict):
            if item.get("type") == "function_call":
                # When it is added, its arguments are still to come.
                self._call(piece, place, item, arguments=name.endswith(".done"))
            elif name.endswith(".done"):
                at = place if isinstance(place, int) else None
                before = {field for field, told_at, _ in self._told if told_at == at}
                self._texts(piece, at, item, before)
        elif kind == "function_call_arguments":
            self._call(piece, place, {"arguments": event.get("arguments")})
        elif kind in _FIELDS:
            text = event.get("refusal" if kind == "refusal" else "text")
            self._once(piece, _key(_FIELDS[kind], event), text, event.get("logprobs"))

    def _texts(
        self, piece: Piece, place: int | None, item: dict[str, Any], before: set[str]
    ) -> None:
        """Add the texts of a message or of reasoning, but for those of the fields in ``before``."""
        kind = item.get("type")
        if kind == "message":
            for number, part in enumerate(_dicts(item.get("content"))):
                field = "refusal" if part.get("type") == "refusal" else "text"
                if field not in before:
                    text, logprobs = part.get(field), part.get("logprobs")
                    self._once(piece, (field, place, number), text, logprobs)
        elif kind == "reasoning" and "reasoning" not in before:
            # The summary is for where the reasoning itself is not shown.
            parts = _dicts(item.get("content")) or _dicts(item.get("summary"))
            texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
            self._once(piece, ("reasoning", place, 0), "\n\n".join(texts), None)

    def _once(
        self, piece: Piece, key: tuple[str, int | None, int | None], text: Any, logprobs: Any
    ) -> None:
        if key not in self._told and text and isinstance(text, str):
            self._told.add(key)
            setattr(piece, key[0], getattr(piece, key[0]) + text)
            piece.logprobs += read_logprobs(logprobs)

    def _call(
        self, piece: Piece, place: Any, item: dict[str, Any], *, arguments: bool = True
    ) -> None:
        index = self._index(place)
        id_, name, said = "", "", ""
        if index not in self._named and item.get("name"):
            self._named.add(index)
            id_ = word(item.get("call_id")) or word(item.get("id")) or f"call_{index}"
            name = word(item["name"])
        if arguments and index not in self._argued and item.get("arguments"):
            self._argued.add(index)
            said = word(item["arguments"])
        if id_ or said:
            piece.tools.append(ToolDelta(index, id_, name, said))

    def _index(self, place: Any) -> int:
        return self._calls.setdefault(place if isinstance(place, int) else None, len(self._calls))


def no_response(document: Any) -> Exception:
    """The error for a document that is no part of a response."""
    return error_in(document) or ValueError(
        f"this is nothing of the Responses API: {excerpt(document)}"
    )


def _key(field: str, event: dict[str, Any]) -> tuple[str, int | None, int | None]:
    place = event.get("output_index")
    part = event.get("summary_index", event.get("content_index"))
    return field, place if isinstance(place, int) else None, part if isinstance(part, int) else 0


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _extra(response: dict[str, Any]) -> dict[str, Any]:
    return {name: response[name] for name in ("model", "id") if response.get(name)}


def _failure(response: dict[str, Any]) -> Exception:
    return error_in({"error": response.get("error")}) or ModelUnavailable(
        "the server broke off without a word", hint="the server's own log says why", transient=True
    )
