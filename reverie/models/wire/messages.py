"""LangChain's messages as those of Chat Completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_data_block,
    convert_to_openai_messages,
    is_data_content_block,
)

from reverie.errors import ModelRejected
from reverie.models.wire.text import encodable

_PLAIN: Final = {"human": "user", "system": "system", "ai": "assistant"}

_OWN_THOUGHTS: Final = frozenset({"reasoning", "thinking", "redacted_thinking"})
_CALLS: Final = frozenset(
    {"tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "function_call"}
)
_SERVER_SIDE: Final = frozenset(
    {"server_tool_call", "server_tool_call_chunk", "server_tool_result", "non_standard"}
)
"""Blocks of a reply that are of no use to another model, or are said elsewhere in the message."""

_AS_THEY_ARE: Final = frozenset({"image_url", "input_audio", "file", "video_url", "audio_url"})
"""Blocks in the form of Chat Completions, and vLLM's two more."""


def to_wire(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """``messages`` in the form of Chat Completions.

    Reasoning in earlier replies is left out, and so is what only another server could read. Raises
    ModelRejected for content that no server takes.
    """
    wire: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        content, role = message.content, _PLAIN.get(message.type)
        if (
            role
            and isinstance(content, str)
            and not (message.name or message.additional_kwargs)
            and not (role == "assistant" and _has_calls(message))
        ):
            wire.append({"role": role, "content": encodable(content)})
        else:
            wire += _convert(message, place)
    return wire


def _has_calls(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and bool(message.tool_calls or message.invalid_tool_calls)


def _convert(message: BaseMessage, place: int) -> list[dict[str, Any]]:
    """A message, and behind it what tool results it holds among other things."""
    said: dict[str, Any] = {"role": _role(message, place)}
    if message.name:
        said["name"] = encodable(message.name)
    results: list[dict[str, Any]] = []
    said["content"] = _content(message, place, results)
    if isinstance(message, AIMessage):
        _add_calls(said, message, place)
        if not said["content"] and (refusal := message.additional_kwargs.get("refusal")):
            said["content"] = encodable(str(refusal))
    elif isinstance(message, ToolMessage):
        said["tool_call_id"] = encodable(message.tool_call_id)
    return results if results and not said["content"] else [said, *results]


def _role(message: BaseMessage, place: int) -> str:
    if isinstance(message, AIMessage):
        return "assistant"
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, ToolMessage):
        return "tool"
    if isinstance(message, SystemMessage):  # OpenAI's developer, in LangChain's words
        return str(message.additional_kwargs.get("__openai_role__", "system"))
    if isinstance(message, FunctionMessage):
        return "function"
    if isinstance(message, ChatMessage):
        return encodable(message.role)
    raise ModelRejected(
        f"message {place} is of the type {message.type!r}, which cannot be sent to a model",
        hint="use system, human, AI and tool messages",
    )


# -- tool calls --------------------------------------------------------------------------------


def _add_calls(said: dict[str, Any], message: AIMessage, place: int) -> None:
    calls = [(call["id"], call["name"], _json(call["args"], place)) for call in message.tool_calls]
    # The messages behind answer these too, and servers parse the arguments.
    calls += [
        (call.get("id"), call.get("name") or "unknown", _mended(call.get("args")))
        for call in message.invalid_tool_calls
    ]
    known = {id_ for id_, _, _ in calls}
    for block in message.content if isinstance(message.content, list) else ():
        if isinstance(block, dict) and block.get("type") in ("tool_use", "function_call"):
            id_ = block.get("call_id") or block.get("id")
            if id_ not in known:
                arguments = block.get("arguments", block.get("input"))
                written = arguments if isinstance(arguments, str) else _json(arguments or {}, place)
                calls.append((id_, block.get("name") or "unknown", written))
    if calls:
        said["tool_calls"] = [
            {
                "type": "function",
                "id": encodable(str(id_ or f"call_{place}_{number}")),
                "function": {"name": encodable(str(name)), "arguments": encodable(arguments)},
            }
            for number, (id_, name, arguments) in enumerate(calls)
        ]
        # Some templates tell calls from text by there being no content.
        said["content"] = said["content"] or None
    elif legacy := message.additional_kwargs.get("function_call"):
        said["function_call"] = legacy
        said["content"] = said["content"] or None


def _mended(arguments: str | None) -> str:
    try:
        if isinstance(json.loads(arguments or "{}"), dict):
            return arguments or "{}"
    except (ValueError, RecursionError):
        pass
    return json.dumps({"invalid_arguments": arguments}, ensure_ascii=False)


def _json(value: Any, place: int) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelRejected(
            f"message {place} has a tool call with arguments that are no JSON: {error}"
        ) from error


# -- content -----------------------------------------------------------------------------------


def _content(message: BaseMessage, place: int, results: list[dict[str, Any]]) -> Any:
    """The content: text where all of it is text, otherwise blocks."""
    if isinstance(message.content, str):
        return encodable(message.content)
    of_model = isinstance(message, AIMessage)
    blocks: list[dict[str, Any]] = []
    for block in message.content:
        if isinstance(block, str):
            blocks.append({"type": "text", "text": encodable(block)})
            continue
        kind = block.get("type")
        if kind in _OWN_THOUGHTS or (of_model and (kind in _CALLS or kind in _SERVER_SIDE)):
            continue
        blocks += _block(block, place, results)
    if all(block["type"] == "text" for block in blocks):
        # A reply's parts follow each other directly; other texts are separate ones.
        return ("" if of_model else "\n").join(block["text"] for block in blocks)
    return blocks


def _block(
    block: dict[str, Any], place: int, results: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    kind = block.get("type")
    if kind in ("text", "text-plain") and isinstance(block.get("text"), str):
        return [{"type": "text", "text": encodable(block["text"])}]
    if media := _media(kind, block):
        return [_sendable(media)]
    if kind == "file" and not block.get("filename"):  # OpenAI insists on one
        named = block.get("extras") or block.get("metadata") or {}
        block = {**block, "filename": named.get("filename") or "file"}
    try:
        if is_data_content_block(block):
            return [_sendable(convert_to_openai_data_block(block))]
        converted = convert_to_openai_messages(
            [HumanMessage(content=[block])], text_format="block", pass_through_unknown_blocks=False
        )
        results += [_clean(one) for one in converted if one["role"] == "tool"]
        parts = [part for one in converted if one["role"] == "user" for part in one["content"]]
        return [_sendable(part) for part in parts]
    except (ValueError, KeyError, TypeError, AttributeError):
        # The library's own message would hold the block, images and all.
        raise ModelRejected(
            f"message {place} holds content of the type {str(kind)[:60]!r} that cannot be sent",
            hint="use text, images (url or base64 with mime_type), audio or files",
        ) from None


def _media(kind: Any, block: dict[str, Any]) -> dict[str, Any] | None:
    """Media that the library does not convert; None when the block is something else."""
    if kind in _AS_THEY_ARE and kind in block:
        inner = block[kind]
        if kind == "file" and isinstance(inner, dict) and "file_data" in inner:
            inner = {"filename": "file"} | inner
        return {"type": kind, kind: inner}
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "url":  # Anthropic's
        return {"type": "image_url", "image_url": {"url": source.get("url")}}
    url = block.get("url")
    if kind == "video" and (data := block.get("base64") or block.get("data")):
        url = f"data:{block.get('mime_type') or 'video/mp4'};base64,{data}"
    if kind in ("audio", "video") and url:
        return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
    return None


def _sendable(value: Any) -> Any:
    """``value``, in which every text can be written in UTF-8."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {key: _sendable(one) for key, one in value.items()}
    return [_sendable(one) for one in value] if isinstance(value, list) else value


def _clean(message: dict[str, Any]) -> dict[str, Any]:
    """A tool's message from the library, with text instead of blocks of text."""
    content = message["content"]
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        content = "\n".join(part["text"] for part in content)
    return {name: _sendable(value) for name, value in (message | {"content": content}).items()}
