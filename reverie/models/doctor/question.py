"""One request of the doctor's, and what came back, in either wire format.

The client's own formats leave out what a profile says the server refuses, and repair what comes
back. The doctor sends everything and looks at the reply as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reverie.models.profile import Wire

PATHS: Mapping[Wire, str] = {"chat": "/chat/completions", "responses": "/responses"}

_THOUGHT = re.compile(r"^\s*<think>.*?(</think>|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """A request. None and empty values are left out of the body."""

    prompt: str
    tokens: int
    """Most tokens of the reply."""
    temperature: float | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    n: int | None = None
    top_logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    tools: Sequence[Mapping[str, Any]] = ()
    """Functions: name, description, parameters."""
    tool_choice: str = ""
    prefill: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self, model: str, wire: Wire, limit: str) -> dict[str, Any]:
        """The JSON body; ``limit`` is the name of the field for ``tokens``."""
        shared = {
            "model": model,
            limit: self.tokens,
            "temperature": self.temperature,
            "tool_choice": self.tool_choice or None,
        }
        own = self._chat() if wire == "chat" else self._responses()
        return {k: v for k, v in {**shared, **own, **self.extra}.items() if v is not None}

    def _chat(self) -> dict[str, Any]:
        messages = [{"role": "user", "content": self.prompt}]
        if self.prefill:
            messages.append({"role": "assistant", "content": self.prefill})
        body: dict[str, Any] = {
            "messages": messages,
            "seed": self.seed,
            "stop": list(self.stop) or None,
            "n": self.n,
            "tools": [{"type": "function", "function": dict(t)} for t in self.tools] or None,
        }
        if self.prefill:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if self.top_logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        if self.schema is not None:
            named = {"name": "reply", "strict": True, "schema": dict(self.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif self.json_object:
            body["response_format"] = {"type": "json_object"}
        return body

    def _responses(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "input": [{"role": "user", "content": self.prompt}],
            "store": False,
            "tools": [{"type": "function", **t} for t in self.tools] or None,
        }
        if self.top_logprobs is not None:
            body |= {"include": ["message.output_text.logprobs"]}
            body["top_logprobs"] = self.top_logprobs
        if self.schema is not None:
            form = {"type": "json_schema", "name": "reply", "strict": True}
            body["text"] = {"format": {**form, "schema": dict(self.schema)}}
        elif self.json_object:
            body["text"] = {"format": {"type": "json_object"}}
        return body


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call: its arguments as they came, whatever their type."""

    name: str
    arguments: Any


@dataclass(slots=True)
class Reply:
    """What came back. Whatever the document lacks is empty here."""

    document: Any
    text: str = ""
    """The first reply, without reasoning."""
    replies: int = 0
    reasoning: str = ""
    """Where reasoning was: a value of ModelProfile.reasoning."""
    calls: list[Call] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish: str = ""
    usage: tuple[int, int] | None = None
    """Tokens of prompt and reply."""

    @property
    def empty(self) -> bool:
        """Whether nothing came that could be judged."""
        return not self.text.strip() and not self.calls

    @property
    def cut(self) -> bool:
        """Whether it ended at the limit."""
        return self.finish == "length"


def read(document: Any, wire: Wire) -> Reply:
    """The reply in ``document``. Never raises: what it cannot read is left empty."""
    reply = Reply(document)
    reply.usage = usage_of(document)
    if wire == "chat":
        _read_chat(reply, document)
    else:
        _read_responses(reply, document)
    reply.text, seen = without_thought(reply.text)
    reply.reasoning = reply.reasoning or seen
    return reply


def usage_of(document: Any) -> tuple[int, int] | None:
    """Tokens of prompt and reply, as the server counts them."""
    usage = _dict(
        _dict(document).get("usage") or _dict(_dict(document).get("response")).get("usage")
    )
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    completion = usage.get("completion_tokens", usage.get("output_tokens"))
    if isinstance(prompt, int) and isinstance(completion, int):
        return prompt, completion
    return None


def without_thought(text: str) -> tuple[str, str]:
    """The text without reasoning between tags, and how the reasoning was marked."""
    if text.lstrip().startswith("<think>"):
        return _THOUGHT.sub("", text, count=1).lstrip("\n"), "think"
    if "</think>" in text:
        return text.partition("</think>")[2].lstrip("\n"), "think_end"
    return text, ""


def delta_of(document: Any, wire: Wire) -> str:
    """The text, or reasoning, that one event of a stream adds."""
    if wire == "responses":
        event = _dict(document)
        added = str(event.get("type", "")).endswith(".delta")
        return _text(event.get("delta")) if added else ""
    choices = _list(_dict(document).get("choices"))
    delta = _dict(_dict(choices[0]).get("delta")) if choices else {}
    return next((t for k in ("content", *_REASONING) if (t := _text(delta.get(k)))), "")


_REASONING = ("reasoning", "reasoning_content")


def _read_chat(reply: Reply, document: Any) -> None:
    choices = [_dict(choice) for choice in _list(_dict(document).get("choices"))]
    reply.replies = len(choices)
    if not choices:
        return
    message = _dict(choices[0].get("message"))
    reply.text = _text(message.get("content"))
    reply.finish = _text(choices[0].get("finish_reason"))
    reply.reasoning = next((name for name in _REASONING if _text(message.get(name))), "")
    for call in _list(message.get("tool_calls")):
        function = _dict(_dict(call).get("function"))
        reply.calls.append(Call(_text(function.get("name")), function.get("arguments")))
    found = _list(_dict(choices[0].get("logprobs")).get("content"))
    reply.logprobs = [entry for entry in found if isinstance(entry, dict)]


def _read_responses(reply: Reply, document: Any) -> None:
    for item in map(_dict, _list(_dict(document).get("output"))):
        if item.get("type") == "message":
            reply.replies += 1
            for part in map(_dict, _list(item.get("content"))):
                reply.text += _text(part.get("text"))
                reply.logprobs += [e for e in _list(part.get("logprobs")) if isinstance(e, dict)]
        elif item.get("type") == "function_call":
            reply.replies = max(reply.replies, 1)
            reply.calls.append(Call(_text(item.get("name")), item.get("arguments")))
        elif item.get("type") == "reasoning":
            reply.reasoning = "reasoning"
    why = _dict(_dict(document).get("incomplete_details")).get("reason")
    status = _text(_dict(document).get("status"))
    reply.finish = "length" if why == "max_output_tokens" else "stop" if status else ""
    if reply.finish == "length":
        reply.replies = max(reply.replies, 1)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
