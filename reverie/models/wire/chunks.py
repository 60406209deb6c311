"""Pieces as LangChain's messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from reverie.models.wire.piece import Piece, TokenLogprob, Tokens

_KEPT: dict[str, type] = {
    "id": str,
    "system_fingerprint": str,
    "token_ids": list,
    "prompt_token_ids": list,
    "prompt_logprobs": list,
}
"""What of a piece's ``extra`` a message's ``response_metadata`` keeps, if it is what it should be:
LangChain cannot put chunks together in which it is something else each time.
"""


def chunk_of(piece: Piece) -> ChatGenerationChunk:
    """A piece of a stream; what only the end can tell comes with ``last_chunk``."""
    message = AIMessageChunk(content=piece.text)
    if piece.reasoning:
        message.additional_kwargs["reasoning_content"] = piece.reasoning
    if piece.refusal:
        message.additional_kwargs["refusal"] = piece.refusal
    if piece.logprobs:
        message.response_metadata["logprobs"] = {"content": _logprobs(piece.logprobs)}
    if piece.extra:
        message.response_metadata.update(_kept(piece))
    if piece.tools:
        message = AIMessageChunk(
            content=piece.text,
            additional_kwargs=message.additional_kwargs,
            response_metadata=message.response_metadata,
            tool_call_chunks=[
                tool_call_chunk(
                    name=delta.name or None,
                    args=delta.arguments,
                    id=delta.id or None,
                    index=delta.index,
                )
                for delta in piece.tools
            ],
        )
    return ChatGenerationChunk(message=message)


def last_chunk(
    piece: Piece, finish: str, model: str, notices: Sequence[str]
) -> ChatGenerationChunk:
    """The end of a stream: ``piece`` has its usage."""
    message = AIMessageChunk(
        content="",
        response_metadata=_metadata(piece, finish, model, notices),
        usage_metadata=_usage(piece.usage),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def message_of(piece: Piece, model: str) -> AIMessage:
    """A whole reply."""
    calls, invalid = _tool_calls(piece)
    metadata = _metadata(piece, piece.finish, model, ())
    metadata.update(_kept(piece))
    if piece.logprobs:
        metadata["logprobs"] = {"content": _logprobs(piece.logprobs)}
    message = AIMessage(
        content=piece.text,
        tool_calls=calls,
        invalid_tool_calls=invalid,
        response_metadata=metadata,
        usage_metadata=_usage(piece.usage),
    )
    if piece.reasoning:
        message.additional_kwargs["reasoning_content"] = piece.reasoning
    if piece.refusal:
        message.additional_kwargs["refusal"] = piece.refusal
    return message


def _metadata(piece: Piece, finish: str, model: str, notices: Sequence[str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "model_name": model,
        "finish_reason": finish or "unknown",
        "usage_estimated": bool(piece.extra.get("usage_estimated")),
    }
    if notices:
        metadata["notices"] = list(notices)
    return metadata


def _kept(piece: Piece) -> dict[str, Any]:
    return {
        name: piece.extra[name]
        for name, kind in _KEPT.items()
        if isinstance(piece.extra.get(name), kind)
    }


def _usage(tokens: Tokens | None) -> Any:
    if tokens is None:
        return None
    usage: dict[str, Any] = {
        "input_tokens": tokens.prompt,
        "output_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
    }
    if tokens.cached:
        usage["input_token_details"] = {"cache_read": tokens.cached}
    if tokens.reasoning:
        usage["output_token_details"] = {"reasoning": tokens.reasoning}
    return usage


def _logprobs(entries: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    return [
        {
            "token": entry.token,
            "logprob": entry.logprob,
            "top_logprobs": [{"token": token, "logprob": value} for token, value in entry.top],
        }
        for entry in entries
    ]


def _tool_calls(piece: Piece) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """The calls whose arguments are a JSON object, and the others with what is wrong."""
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    merged: dict[int, list[str]] = {}
    for delta in piece.tools:
        held = merged.setdefault(delta.index, ["", "", ""])
        held[0] = held[0] or delta.id
        held[1] = held[1] or delta.name
        held[2] += delta.arguments
    for id_, name, arguments in merged.values():
        try:
            value = json.loads(arguments or "{}")
            if not isinstance(value, dict):
                raise TypeError(f"the arguments are no JSON object but {type(value).__name__}")
        except (TypeError, ValueError, RecursionError) as error:
            invalid.append(
                InvalidToolCall(
                    type="invalid_tool_call", name=name, args=arguments, id=id_, error=str(error)
                )
            )
        else:
            calls.append(ToolCall(type="tool_call", name=name, args=value, id=id_))
    return calls, invalid
