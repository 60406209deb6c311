"""Chat Completions, as OpenAI documents it and as other servers speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reverie.models.profile import ModelProfile
from reverie.models.wire.allowed import format_allowed, tools_allowed
from reverie.models.wire.error_body import excerpt
from reverie.models.wire.format import Documents
from reverie.models.wire.logprobs import read_logprobs
from reverie.models.wire.piece import Piece, Pieces, Request
from reverie.models.wire.refusal import error_in
from reverie.models.wire.text import encodable, word
from reverie.models.wire.tool_calls import ToolCalls
from reverie.models.wire.usage import read_count, read_usage

_FINISH: Final[Mapping[str, str]] = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
}
"""Names that servers have for OpenAI's finish reasons; others are kept."""

_OF_DOCUMENT: Final = ("model", "id", "system_fingerprint", "prompt_token_ids", "prompt_logprobs")


class ChatCompletions:
    """The wire format of ``/chat/completions``."""

    path: str = "/chat/completions"

    def body(self, request: Request, profile: ModelProfile, *, stream: bool) -> dict[str, Any]:
        """The JSON body: what was asked for, as far as the profile says that the server takes it.

        ``extra_body`` is added last, whatever the profile says.
        """
        body: dict[str, Any] = {"model": profile.name, "messages": request.messages}
        body |= _sampling(request, profile)
        body |= _tools(request, profile)
        if request.response_format and format_allowed(request, profile):
            body["response_format"] = _named(request.response_format)
        if request.prefill and profile.prefill:
            begun = {"role": "assistant", "content": encodable(request.prefill)}
            body["messages"] = [*request.messages, begun]
            body["add_generation_prompt"] = False
            body["continue_final_message"] = True
        if stream:
            body["stream"] = True
            if profile.usage == "asked":
                body["stream_options"] = {"include_usage": True}
        elif request.n > 1 and profile.n:
            body["n"] = request.n
        for name in profile.refuses:
            body.pop(name, None)
        body.update(request.extra_body)
        return body

    def replies(self, document: dict[str, Any]) -> list[Piece]:
        """All replies, in the order of their index. The usage is that of all of them together, and
        is on the first.
        """
        choices = _choices(document)
        if not choices:
            return []
        extra = {name: document[name] for name in _OF_DOCUMENT if document.get(name) is not None}
        replies = []
        for choice in sorted(choices, key=_index):
            message = choice.get("message") or choice.get("delta") or {}
            if not isinstance(message, dict):
                raise _other(document)
            piece = Piece(extra=dict(extra))
            _fill(piece, choice, message, ToolCalls(), whole=True)
            replies.append(piece)
        replies[0].usage = read_usage(document.get("usage"))
        return replies

    async def pieces(self, documents: Documents) -> Pieces:
        """One reply, as its chunks come. The document of a server that does not stream is one too.

        A usage that is sent with every chunk is on every piece; the last one counts.
        """
        reader = _StreamReader()
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
    if request.max_tokens is not None:
        asked = profile.max_tokens_field != "max_tokens"  # max_output_tokens is Responses' name
        body["max_completion_tokens" if asked else "max_tokens"] = request.max_tokens
    if profile.sampling and request.temperature is not None:
        body["temperature"] = request.temperature
    if profile.sampling and request.top_p is not None:
        body["top_p"] = request.top_p
    if request.seed is not None and profile.seed:
        body["seed"] = request.seed
    if request.stop and profile.stop:
        body["stop"] = [encodable(text) for text in request.stop]
    if request.logprobs and profile.logprobs:
        body["logprobs"] = True
        if top := min(request.top_logprobs, profile.top_logprobs):
            body["top_logprobs"] = top
    return body


def _strict(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tool with its arguments held to their schema, unless the caller decided otherwise."""
    function = tool.get("function")
    if not isinstance(function, Mapping) or "strict" in function:
        return tool
    return {**tool, "function": {**function, "strict": True}}


def _tools(request: Request, profile: ModelProfile) -> dict[str, Any]:
    if not tools_allowed(request, profile):
        return {}
    offered = [_strict(tool) for tool in request.tools] if profile.strict_tools else request.tools
    body: dict[str, Any] = {"tools": list(offered)}
    if request.tool_choice is not None:
        body["tool_choice"] = request.tool_choice
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return body


def _named(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """``form`` with the name that servers insist on, and which means nothing to most of them."""
    schema = form.get("json_schema")
    if schema is None or schema.get("name"):
        return form
    return {**form, "json_schema": {"name": "reply", **schema}}


# -- replies -----------------------------------------------------------------------------------


def _choices(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict) or "choices" not in document:
        raise _other(document)
    choices = document["choices"] or []
    if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
        raise _other(document)
    return choices


class _StreamReader:
    """Reads the chunks of one stream."""

    __slots__ = ("_calls", "_choice", "_deltas", "_first", "_opened", "_other")

    def __init__(self) -> None:
        self._calls = ToolCalls()
        self._choice: Any = None  # the index of the reply that is read; there should be one only
        self._deltas = False  # whether any delta has come
        self._opened = False  # whether a piece has come, with what is known of the document
        self._first = True  # whether no choice has come yet
        self._other: Any = None  # the first document that was not understood

    def read(self, document: Any) -> Piece | None:
        """What is in a chunk; None when nothing is."""
        if not isinstance(document, dict):
            raise _other(document)
        choices = document.get("choices")
        usage = document.get("usage")
        tokens = read_usage(usage) if usage else None
        choice = self._chosen(choices, document) if choices else None
        if choice is None:
            if choices is None and tokens is None:
                self._not_understood(document)
            return Piece(usage=tokens) if tokens else None
        piece = Piece(usage=tokens)
        delta = choice.get("delta")
        whole = not isinstance(delta, dict)
        if not whole:
            self._deltas = self._deltas or bool(delta)
        else:
            # Servers that only pretend to stream send the whole message; after deltas it would
            # be said twice.
            message = choice.get("message")
            delta = message if isinstance(message, dict) and not self._deltas else {}
        _fill(piece, choice, delta, self._calls, whole=whole)
        if not self._opened:
            self._opened = True
            for name in _OF_DOCUMENT:
                if (value := document.get(name)) is not None:
                    piece.extra[name] = value
        elif not (
            piece.text
            or piece.reasoning
            or piece.finish
            or piece.tools
            or tokens
            or piece.logprobs
            or piece.refusal
            or piece.extra
        ):
            return None
        return piece

    def end(self) -> None:
        """Raise ValueError if what came was something, but no part of a reply."""
        if self._first and self._other is not None:
            raise _other(self._other)

    def _chosen(self, choices: Any, document: dict[str, Any]) -> Any:
        """The part of the one reply that is read, which is the first to come."""
        if not isinstance(choices, list):
            raise _other(document)
        for choice in choices:
            if not isinstance(choice, dict):
                raise _other(document)
            if self._first:
                self._first = False
                self._choice = choice.get("index")
            if choice.get("index") == self._choice:
                return choice
        return None

    def _not_understood(self, document: dict[str, Any]) -> None:
        if error := error_in(document):
            raise error
        if self._other is None:
            self._other = document


def _fill(
    piece: Piece, choice: dict[str, Any], message: dict[str, Any], calls: ToolCalls, *, whole: bool
) -> None:
    """Add what ``message`` (or a delta of it) and the ``choice`` around it hold."""
    get = message.get
    content = get("content")
    if content:
        if isinstance(content, str):
            piece.text = content
        else:
            piece.text, piece.reasoning = _parts(content)
    # Some versions of vLLM send both fields, with the same text.
    reasoning = get("reasoning") or get("reasoning_content")
    if reasoning and isinstance(reasoning, str):
        piece.reasoning = reasoning
    if called := get("tool_calls"):
        piece.tools = calls.read(called, whole=whole)
    elif legacy := get("function_call"):
        piece.tools = calls.read({"index": 0, "function": legacy}, whole=whole)
    if refusal := get("refusal"):
        piece.refusal = word(refusal)
    if finish := choice.get("finish_reason"):
        piece.finish = _FINISH.get(word(finish), word(finish))
    if logprobs := choice.get("logprobs"):
        piece.logprobs = read_logprobs(logprobs)
    if token_ids := choice.get("token_ids"):
        piece.extra["token_ids"] = token_ids


def _parts(content: Any) -> tuple[str, str]:
    """Text and reasoning of content that is more than a string, as Mistral's."""
    text, reasoning = [], []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            text.append(part)
        elif not isinstance(part, dict):
            raise _other(content)
        elif isinstance(part.get("text"), str):
            text.append(part["text"])
        elif isinstance(thought := part.get("thinking") or part.get("reasoning"), str):
            reasoning.append(thought)
        elif isinstance(thought, list):
            reasoning += [word(one.get("text")) for one in thought if isinstance(one, dict)]
    return "".join(text), "".join(reasoning)


def _index(choice: dict[str, Any]) -> int:
    return read_count(choice.get("index"))


def _other(document: Any) -> Exception:
    """The error for a document that is no part of a chat completion."""
    if error := error_in(document):
        return error
    return ValueError(f"this is not a chat completion: {excerpt(document)}")
