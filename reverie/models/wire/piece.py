"""What a reply is made of, whichever wire format it came over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of the reply, its natural log-probability, and the likeliest alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolDelta:
    """A part of a tool call. Parts with the same ``index`` make one call: the first has ``id`` and
    ``name``, and the ``arguments`` of all, put together, are a JSON object.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the server says a call cost."""

    prompt: int
    completion: int
    cached: int = 0
    """Prompt tokens that were in the server's cache."""
    reasoning: int = 0
    """Completion tokens that were reasoning."""


@dataclass(slots=True)
class Piece:
    """A part of one reply: of a stream, or, from a call without streaming, all of it."""

    text: str = ""
    reasoning: str = ""
    tools: list[ToolDelta] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: str = ""
    """Why the reply ended: ``stop``, ``length``, ``tool_calls``, ...; empty while it goes on."""
    usage: Tokens | None = None
    refusal: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    """What else came and is worth keeping: ``model``, ``id``, ``token_ids``, ``prompt_token_ids``,
    ``prompt_logprobs``, ``system_fingerprint``."""

    @property
    def empty(self) -> bool:
        """Whether nothing is in it."""
        return not (
            self.text
            or self.reasoning
            or self.tools
            or self.logprobs
            or self.finish
            or self.usage
            or self.refusal
            or self.extra
        )


Pieces = AsyncGenerator[Piece, None]
"""A reply as it arrives. Closing it closes the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call, wire-neutral. None and empty values are left out of the body."""

    messages: list[dict[str, Any]]
    """In the form of Chat Completions."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    n: int = 1
    prefill: str = ""
    """The text that the reply begins with; the server goes on from there."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """In OpenAI's form: ``{"type": "function", "function": {...}}``."""
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    """``{"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}`` or json_object."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Added to the body as it is."""


async def one(piece: Piece) -> Pieces:
    """A whole reply as a stream of one piece."""
    yield piece


def joined(parts: Iterable[Piece]) -> Piece:
    """The pieces of one reply as one."""
    whole = Piece()
    for part in parts:
        whole.text += part.text
        whole.reasoning += part.reasoning
        whole.refusal += part.refusal
        whole.tools += part.tools
        whole.logprobs += part.logprobs
        whole.finish = part.finish or whole.finish
        whole.usage = part.usage or whole.usage
        for name, value in part.extra.items():
            before = whole.extra.get(name)
            both = isinstance(before, list) and isinstance(value, list)
            whole.extra[name] = before + value if both else value
    return whole
