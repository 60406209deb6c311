"""Messages and tools of Chat Completions in the form of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def read_instructions(messages: Sequence[dict[str, Any]]) -> tuple[str, Sequence[dict[str, Any]]]:
    """The text of the system messages at the beginning, and the messages behind them."""
    texts: list[str] = []
    for place, message in enumerate(messages):
        content = message.get("content")
        if message.get("role") not in ("system", "developer") or not isinstance(content, str):
            return "\n\n".join(texts), messages[place:]
        texts.append(content)
    return "\n\n".join(texts), ()


def to_items(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of ``input``."""
    items: list[dict[str, Any]] = []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role in ("tool", "function"):
            call = message.get("tool_call_id") or _call_id(message.get("name"))
            output = [_part(part) for part in content] if isinstance(content, list) else content
            items.append({"type": "function_call_output", "call_id": call, "output": output or ""})
            continue
        calls = message.get("tool_calls") or []
        legacy = message.get("function_call")
        if content or not (calls or legacy):
            items.append({"type": "message", "role": role, "content": _content(role, content)})
        items += [_call(call.get("id"), call["function"]) for call in calls]
        if legacy and not calls:
            items.append(_call(_call_id(legacy.get("name")), legacy))
    return items


def to_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool, flattened. Chat Completions takes schemas as they are unless told to be strict; here
    that has to be said.
    """
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)
    flat = {"type": "function", "parameters": None, "strict": False}
    return flat | {name: value for name, value in function.items() if value is not None}


def to_tool_choice(choice: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A choice of tools, flattened."""
    if isinstance(choice, str):
        return choice
    kind = choice.get("type")
    inner = choice.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, Mapping):
        return dict(choice)
    flat = {"type": kind, **inner}
    if kind == "allowed_tools":
        flat["tools"] = [to_tool_choice(tool) for tool in inner.get("tools", ())]
    return flat


def to_text_format(form: Mapping[str, Any]) -> dict[str, Any]:
    """``response_format`` as ``text.format``."""
    schema = form.get("json_schema")
    if not isinstance(schema, Mapping):
        return dict(form)
    return {"type": "json_schema", "name": "reply", **schema}


def _call(id_: str | None, function: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "function_call",
        "call_id": id_ or _call_id(function.get("name")),
        "name": function.get("name") or "",
        "arguments": function.get("arguments") or "{}",
    }


def _call_id(name: str | None) -> str:
    """The id of a call of before there were ids: a function's result names only the function."""
    return f"call_{name or 'unknown'}"


def _content(role: Any, content: Any) -> Any:
    if not isinstance(content, list):
        return content or ""
    if role == "assistant":  # what a model said goes back as text
        return "".join(part.get("text", "") for part in content)
    return [_part(part) for part in content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text":
        return {"type": "input_text", "text": part["text"]}
    if kind == "image_url":
        image = part["image_url"]
        image = image if isinstance(image, dict) else {"url": image}
        detail = image.get("detail") or "auto"
        return {"type": "input_image", "image_url": image.get("url"), "detail": detail}
    if kind == "file":
        return {"type": "input_file", **part["file"]}
    return part
