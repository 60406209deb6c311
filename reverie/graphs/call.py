"""One model call inside a budget: prompt counted, output clamped, tokens streamed, usage kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reverie.errors import BudgetExceeded
from reverie.graphs.budget import NO_USAGE
from reverie.graphs.records import Limits, Usage

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage

    from reverie.models.chat_model import ChatModel

SMALLEST_ANSWER = 16
"""Tokens below which a call is not worth making: hardly a sentence."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote: its tokens with their log-probabilities, and what it cost."""

    text: str
    tokens: tuple[tuple[str, float], ...]
    complete: bool
    """False when ``max_tokens`` cut it off."""
    usage: Usage


@dataclass(slots=True)
class _Writing:
    """What a call has written and cost so far."""

    text: list[str] = field(default_factory=list)
    tokens: list[tuple[str, float]] = field(default_factory=list)
    usage: Usage = field(default_factory=NO_USAGE.copy)
    finish: str = ""
    reported: bool = False
    """Whether the server said what it cost."""


class CallFailed(Exception):
    """A call that failed, with what it had cost by then."""

    def __init__(self, error: Exception, usage: Usage) -> None:
        super().__init__(str(error))
        self.error = error
        self.usage = usage


async def call_model(
    model: ChatModel,
    messages: Sequence[BaseMessage],
    *,
    left: Limits,
    max_tokens: int,
    on_text: Callable[[str], None],
    prefill: str = "",
    json_schema: Mapping[str, Any] | None = None,
    stop: Sequence[str] = (),
    temperature: float = 0.0,
    seed: int | None = None,
) -> Reply:
    """Ask ``model`` within what is ``left``; ``on_text`` hears every piece as it is written.

    Raises CallFailed. Its error is BudgetExceeded when the tokens or calls left do not allow a
    useful call (the message names the fewest tokens that would) or the time runs out meanwhile.
    """
    began = time.monotonic()
    writing = _Writing()
    usage = writing.usage
    deadline = asyncio.timeout(left["seconds"])
    try:
        needed = await _affordable(model, messages, prefill, left)
        # From here on the call is charged, with what is known of it when it is cut short.
        usage["calls"], usage["tokens_in"], usage["estimated"] = 1, needed, True
        async with deadline:
            await _stream(
                model,
                messages,
                writing,
                on_text,
                max_tokens=min(max_tokens, left["tokens"] - needed),
                prefill=prefill,
                temperature=temperature,
                seed=seed,
                stop=list(stop) or None,
                logprobs=True,
                **_response_format(json_schema),
            )
        await _estimate(writing, model, messages, prefill)
    except Exception as raised:
        await _estimate(writing, model, messages, prefill)
        usage["seconds"] = time.monotonic() - began
        if isinstance(raised, TimeoutError) and deadline.expired():
            error = BudgetExceeded(
                f"the time ran out after {left['seconds']:.1f} s, in the middle of a model call",
                hint="raise --seconds",
            )
            raise CallFailed(error, usage) from raised
        raise CallFailed(raised, usage) from raised
    usage["seconds"] = time.monotonic() - began
    return Reply("".join(writing.text), tuple(writing.tokens), writing.finish != "length", usage)


async def prompt_tokens(
    model: ChatModel, messages: Sequence[BaseMessage], prefill: str = ""
) -> int:
    """How many prompt tokens a call costs, counted outside the event loop."""
    return await asyncio.to_thread(model.count_tokens, messages, prefill)


async def _affordable(
    model: ChatModel, messages: Sequence[BaseMessage], prefill: str, left: Limits
) -> int:
    if left["seconds"] <= 0:
        raise BudgetExceeded("no time is left for a model call", hint="raise --seconds")
    if left["calls"] < 1:
        raise BudgetExceeded("no model call is left in the budget", hint="raise budget.calls")
    needed = await prompt_tokens(model, messages, prefill)
    if left["tokens"] < needed + SMALLEST_ANSWER:
        raise BudgetExceeded(
            f"{left['tokens']} tokens are too few for a single call: the smallest budget that "
            f"would do is {needed + SMALLEST_ANSWER} tokens ({needed} for the prompt and "
            f"{SMALLEST_ANSWER} for an answer)",
            hint=f"give --budget {needed + SMALLEST_ANSWER} or more",
        )
    return needed


async def _stream(
    model: ChatModel,
    messages: Sequence[BaseMessage],
    writing: _Writing,
    on_text: Callable[[str], None],
    **options: Any,
) -> None:
    """Run the call, keeping ``writing`` up to date, so that a call cut short is charged too."""
    usage = writing.usage
    async for chunk in model.astream(list(messages), **options):
        _read(chunk, writing.tokens)
        if chunk.usage_metadata:
            usage["tokens_in"] = chunk.usage_metadata["input_tokens"]
            usage["tokens_out"] = chunk.usage_metadata["output_tokens"]
            usage["estimated"] = bool(chunk.response_metadata.get("usage_estimated"))
            writing.reported = True
        elif not writing.reported:
            usage["tokens_out"] = len(writing.tokens)
        writing.finish = chunk.response_metadata.get("finish_reason", writing.finish)
        if chunk.text:
            writing.text.append(chunk.text)
            on_text(chunk.text)


async def _estimate(
    writing: _Writing, model: ChatModel, messages: Sequence[BaseMessage], prefill: str
) -> None:
    """Count what was written when the server told neither its usage nor single tokens."""
    if writing.reported or writing.tokens or not writing.text:
        return
    written = "".join(writing.text)
    whole = await prompt_tokens(model, messages, written)
    begun = await prompt_tokens(model, messages, prefill if written.startswith(prefill) else "")
    writing.usage["tokens_out"] = max(0, whole - begun)


def _read(chunk: AIMessageChunk, tokens: list[tuple[str, float]]) -> None:
    entries = (chunk.response_metadata.get("logprobs") or {}).get("content") or ()
    tokens.extend((entry["token"], entry["logprob"]) for entry in entries)


def _response_format(json_schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if json_schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": json_schema}}}
