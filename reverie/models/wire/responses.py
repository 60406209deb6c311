"""OpenAI's Responses API: the only one that some of its models speak."""

from __future__ import annotations

from typing import Any, Final

from reverie.models.profile import ModelProfile
from reverie.models.wire.allowed import format_allowed, tools_allowed
from reverie.models.wire.format import Documents
from reverie.models.wire.piece import Piece, Pieces, Request
from reverie.models.wire.responses_events import ResponseReader, no_response
from reverie.models.wire.responses_input import (
    read_instructions,
    to_items,
    to_text_format,
    to_tool,
    to_tool_choice,
)

_LOGPROBS: Final = "message.output_text.logprobs"


class Responses:
    """The wire format of ``/responses``. It has no stop strings, no seed, no n and no prefill."""

    path: str = "/responses"

    def body(self, request: Request, profile: ModelProfile, *, stream: bool) -> dict[str, Any]:
        """The JSON body. Nothing is kept by the server (``store``).

        ``extra_body`` is added last; its ``text`` and ``include`` are merged with what is there.
        """
        instructions, messages = read_instructions(request.messages)
        body: dict[str, Any] = {"model": profile.name, "input": to_items(messages), "store": False}
        if instructions:
            body["instructions"] = instructions
        if request.max_tokens is not None:
            body["max_output_tokens"] = request.max_tokens
        body |= _sampling(request, profile) | _tools(request, profile)
        if request.response_format and format_allowed(request, profile):
            body["text"] = {"format": to_text_format(request.response_format)}
        if stream:
            body["stream"] = True
        for name in profile.refuses:
            body.pop("text" if name == "response_format" else name, None)
        extra = dict(request.extra_body)
        if isinstance(extra.get("text"), dict):
            extra["text"] = body.get("text", {}) | extra["text"]
        if isinstance(extra.get("include"), list):
            extra["include"] = list(dict.fromkeys([*body.get("include", ()), *extra["include"]]))
        return body | extra

    def replies(self, document: dict[str, Any]) -> list[Piece]:
        """The reply, if there is one. Raises the typed error that the document reports, if any."""
        received: Any = document
        if not isinstance(received, dict) or not isinstance(received.get("output"), list):
            raise no_response(received)
        piece = ResponseReader().whole(received)
        return [piece] if received["output"] or piece.usage else []

    async def pieces(self, documents: Documents) -> Pieces:
        """The reply, as its events come. Raises the typed error that an event reports."""
        reader = ResponseReader()
        try:
            async for document in documents:
                piece = reader.read(document)
                if piece is not None:
                    yield piece
        finally:
            await documents.aclose()
        reader.end()


# -- requests ----------------------------------------------------------------------------------


def _sampling(request: Request, profile: ModelProfile) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if profile.sampling and request.temperature is not None:
        body["temperature"] = request.temperature
    if profile.sampling and request.top_p is not None:
        body["top_p"] = request.top_p
    if request.logprobs and profile.logprobs:
        body["include"] = [_LOGPROBS]
        if top := min(request.top_logprobs, profile.top_logprobs):
            body["top_logprobs"] = top
    return body


def _tools(request: Request, profile: ModelProfile) -> dict[str, Any]:
    if not tools_allowed(request, profile):
        return {}
    body: dict[str, Any] = {"tools": [to_tool(tool) for tool in request.tools]}
    if request.tool_choice is not None:
        body["tool_choice"] = to_tool_choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return body
