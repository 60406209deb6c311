"""The Responses API: from a request's body to what is asked, and from a reply to documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reverie.evals.quirks.asked import Asked
from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.fields import constraint, offered_tools
from reverie.evals.quirks.prompt import text_of
from reverie.evals.quirks.refused import refused
from reverie.evals.quirks.response_items import ItemStream, items
from reverie.evals.quirks.sse import Event
from reverie.evals.quirks.toy import Said

_CREATED = 1_700_000_000
_NOT_HERE = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "response_format",
    "stop",
    "seed",
    "n",
    "logprobs",
    "prompt_logprobs",
    "return_token_ids",
)
"""Fields of Chat Completions that OpenAI's Responses API refuses."""


def read(body: Mapping[str, Any], quirks: Quirks) -> Asked:
    """What the body asks. Raises ``Refused``."""
    for name in _NOT_HERE:
        if name in body:
            raise refused(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    limit = body.get("max_output_tokens")
    if limit is not None and limit < quirks.least_output_tokens:
        raise refused(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
            f"{quirks.least_output_tokens}, but got {limit} instead.",
            param="max_output_tokens",
            code="integer_below_min_value",
        )
    tools, choice = offered_tools(list(body.get("tools") or ()), body, quirks)
    temperature = body.get("temperature")
    return Asked(
        messages=_messages(body),
        max_tokens=limit,
        temperature=1.0 if temperature is None else temperature,
        tools=tools,
        tool_choice=choice,
        parallel_tools=body.get("parallel_tool_calls") is not False,
        logprobs="message.output_text.logprobs" in (body.get("include") or ()),
        top_logprobs=body.get("top_logprobs") or 0,
        stream=bool(body.get("stream")),
        **constraint(body, (body.get("text") or {}).get("format"), tools, quirks),
    )


def document(
    asked: Asked, said: Said, model: str, ident: str, quirks: Quirks, *, failed: str = ""
) -> dict[str, Any]:
    """The response without streaming, and what ``response.completed`` holds.

    ``failed``: the message of an error in place of output.
    """
    status, details = "completed", None
    if said.finish == "length":
        status, details = "incomplete", {"reason": "max_output_tokens"}
    output = [] if quirks.empty_choices else items(asked, said, ident, quirks)
    whole: dict[str, Any] = {
        **_shell(model, ident, status),
        "incomplete_details": details,
        "output": output,
    }
    if failed:
        error = {"code": "server_error", "message": failed}
        whole |= {"status": "failed", "error": error, "incomplete_details": None, "output": []}
    elif quirks.usage != "never":
        whole["usage"] = _usage(asked, said, quirks)
    return whole


def events(asked: Asked, said: Said, model: str, ident: str, quirks: Quirks) -> Iterator[Event]:
    """The response as a stream of named events, numbered."""
    whole = document(asked, said, model, ident, quirks)
    begun = _shell(model, ident, "in_progress")
    steps = (
        ("response.created", {"response": begun}, 0),
        ("response.in_progress", {"response": begun}, 0),
        *ItemStream(asked, said, quirks).events(whole["output"]),
        (f"response.{whole['status']}", {"response": whole}, 0),
    )
    for number, (kind, fields, count) in enumerate(steps):
        data = {"type": kind, "sequence_number": number, **fields}
        yield Event(json.dumps(data, ensure_ascii=False), kind, count)


def failure(model: str, ident: str, message: str, *, failed: bool) -> Event:
    """The event that ends a stream with an error: ``response.failed`` or ``error``."""
    if failed:
        error = {"code": "server_error", "message": message}
        response = {**_shell(model, ident, "failed"), "error": error}
        data: dict[str, Any] = {"type": "response.failed", "response": response}
    else:
        data = {"type": "error", "code": "server_error", "message": message, "param": None}
    return Event(json.dumps({**data, "sequence_number": 99}, ensure_ascii=False), data["type"])


def _shell(model: str, ident: str, status: str) -> dict[str, Any]:
    return {
        "id": f"resp_{ident}",
        "object": "response",
        "created_at": _CREATED,
        "model": model,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Instructions and input in the form of Chat Completions."""
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    given = body["input"]
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    for item in given:
        match item.get("type", "message"):
            case "message":
                messages.append({"role": item["role"], "content": text_of(item["content"])})
            case "function_call":
                call = {"name": item["name"], "arguments": item["arguments"]}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "function_call_output":
                messages.append({"role": "tool", "content": text_of(item["output"])})
            case "reasoning":
                pass  # it was the model's own; the toy model does not look at it again
            case other:
                raise refused(f"Invalid value: '{other}'.", param="input", code="invalid_value")
    return messages


def _usage(asked: Asked, said: Said, quirks: Quirks) -> dict[str, Any]:
    return {
        "input_tokens": asked.prompt_tokens,
        "input_tokens_details": {"cached_tokens": quirks.cached_tokens},
        "output_tokens": said.count,
        "output_tokens_details": {"reasoning_tokens": len(said.thought)},
        "total_tokens": asked.prompt_tokens + said.count,
    }
