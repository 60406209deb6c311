"""One model call inside a budget: prompt counted, output clamped, tokens streamed, usage kept.

A stream that breaks in the middle is tried once more, if the budget allows, and both are charged.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reverie.errors import BudgetExceeded, ModelUnavailable, ReverieError
from reverie.graphs.budget import NO_USAGE, add_usage, add_uses, total_tokens
from reverie.graphs.call_events import CallEvents, passed_over
from reverie.graphs.records import BackendUse, Limits, Usage
from reverie.models.prices import FREE, PER, Prices

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage, ToolCall, ToolCallChunk

    from reverie.models.backend import Told
    from reverie.models.chat_model import ChatModel

SMALLEST_ANSWER = 16
"""Tokens below which a call is not worth making: hardly a sentence."""

_COUNTING_SECONDS = 2.0
"""How long to wait for a count of what was written; it is estimated otherwise."""
_SECONDS_TO_COUNT = 1.0
"""A server that takes longer to count a prompt is to blame; with less than that, the budget is."""
_CHARACTERS_PER_TOKEN = 2
"""At least, so that what cannot be counted is estimated too high rather than too low."""

_ROUNDING = 1e-6
"""A part of an amount of money, which is a float."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote: its tokens with their log-probabilities, and what it cost."""

    text: str
    tokens: tuple[tuple[str, float], ...]
    complete: bool
    """False when ``max_tokens`` cut it off."""
    usage: Usage
    notices: tuple[str, ...] = ()
    """What the model wants a person to know."""
    alternatives: tuple[Mapping[str, float], ...] = ()
    """For every token the likeliest ones in its place, with theirs, where they were asked for."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tools that the model wants called."""
    broken_calls: int = 0
    """How many calls it wrote that cannot be read."""


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
    events: CallEvents,
    prefill: str = "",
    json_schema: Mapping[str, Any] | None = None,
    stop: Sequence[str] = (),
    temperature: float = 0.0,
    seed: int | None = None,
    alternatives: int = 0,
    prices: Prices = FREE,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: str = "",
    begun: Callable[[Usage], Awaitable[None]] | None = None,
) -> Reply:
    """Ask ``model`` within what is ``left``; ``events`` hears every piece as it is written, and
    ``prices`` say what it costs. ``begun`` is told, before each attempt, what all may cost at most.

    Raises CallFailed. Its error is BudgetExceeded when the tokens or calls left do not allow a
    useful call (the message names the fewest tokens that would) or the time runs out meanwhile;
    a server that has sent nothing by then is ModelUnavailable.
    """
    began = time.monotonic()
    call = _Call(model, messages, prefill, events, prices, begun)
    deadline = asyncio.timeout(left["seconds"])
    options = {
        "prefill": prefill,
        "temperature": temperature,
        "seed": seed,
        "stop": list(stop) or None,
        "logprobs": True,
        **({"top_logprobs": alternatives} if alternatives else {}),
        **_response_format(json_schema),
        **({"tools": list(tools), "tool_choice": tool_choice or None} if tools else {}),
    }
    try:
        async with deadline:
            counted = _with_tools(messages, tools)
            needed = await _affordable(model, counted, prefill, left, prices)
            written = await call.ask(left, needed, max_tokens, options)
    except Exception as raised:
        usage = await call.cost()
        usage["seconds"] = time.monotonic() - began
        if isinstance(raised, TimeoutError) and deadline.expired():
            error = _out_of_time(left) if usage["calls"] else _uncounted(model, left)
            raise CallFailed(error, usage) from raised
        raise CallFailed(raised, usage) from raised
    usage = await call.cost()
    usage["seconds"] = time.monotonic() - began
    return Reply(
        "".join(written.text),
        tuple(written.tokens),
        written.finish != "length",
        usage,
        tuple(written.notices),
        tuple(written.alternatives),
        *_read_calls(written.calls),
    )


async def prompt_tokens(
    model: ChatModel, messages: Sequence[BaseMessage], prefill: str = ""
) -> int:
    """How many prompt tokens a call costs, counted outside the event loop."""
    return await asyncio.to_thread(model.count_tokens, messages, prefill)


async def _affordable(
    model: ChatModel,
    messages: Sequence[BaseMessage],
    prefill: str,
    left: Limits,
    prices: Prices,
) -> int:
    if left["seconds"] <= 0:
        raise _no_time()
    if left["calls"] < 1:
        raise BudgetExceeded("no model call is left in the budget", hint="raise budget.calls")
    needed = await prompt_tokens(model, messages, prefill)
    dearest = prices.dearest * (needed + SMALLEST_ANSWER) / PER
    if left["money"] is not None and left["money"] < dearest * (1 - _ROUNDING):
        smallest = f"{dearest * (1 + _ROUNDING):.8g}"
        raise BudgetExceeded(
            f"{left['money']:.6g} money is too little for a single call: the smallest budget.money "
            f"that would do is {smallest} ({needed} tokens for the prompt and {SMALLEST_ANSWER} "
            "for an answer, at the dearest price)",
            hint=f"give budget.money {smallest} or more",
        )
    if left["tokens"] < needed + SMALLEST_ANSWER:
        raise BudgetExceeded(
            f"{left['tokens']} tokens are too few for a single call: the smallest budget that "
            f"would do is {needed + SMALLEST_ANSWER} tokens ({needed} for the prompt and "
            f"{SMALLEST_ANSWER} for an answer)",
            hint=f"give --budget {needed + SMALLEST_ANSWER} or more",
        )
    return needed


class _Call:
    """One call, and the attempts it takes."""

    def __init__(  # noqa: PLR0917  # the parts of one call, in the order of call_model
        self,
        model: ChatModel,
        messages: Sequence[BaseMessage],
        prefill: str,
        events: CallEvents,
        prices: Prices,
        begun: Callable[[Usage], Awaitable[None]] | None,
    ) -> None:
        self._begun = begun
        self._model = model
        self._messages = messages
        self._prefill = prefill
        self._events = events
        self._prices = prices
        self._attempts: list[_Written] = []

    async def ask(
        self, left: Limits, needed: int, max_tokens: int, options: Mapping[str, Any]
    ) -> _Written:
        """Ask, and once more when a stream breaks in the middle and there is enough left for it."""
        until = time.monotonic() + _patience(left["seconds"])
        tokens = left["tokens"]
        while True:
            written = _Written(prefill=self._prefill)
            most = min(max_tokens, tokens - needed)
            if self._begun is not None:
                await self._begun(await self._at_most(needed, most))
            # From here on the attempt is charged, with what is known of it when it is cut short.
            written.usage |= {"calls": 1, "tokens_in": needed, "estimated": True}
            self._attempts.append(written)
            seconds = max(0.0, until - time.monotonic())
            try:
                await self._stream(written, {**options, "max_tokens": most, "timeout": seconds})
            except ModelUnavailable as error:
                if written.begun and time.monotonic() >= until:
                    raise _out_of_time(left) from error
                spent = await self.cost()
                tokens = left["tokens"] - total_tokens(spent)
                again = written.begun and error.transient and len(self._attempts) == 1
                if not again or spent["calls"] >= left["calls"]:
                    raise
                if tokens < needed + SMALLEST_ANSWER:
                    raise
                self._events.begin_again(error.message)
            else:
                return written

    async def cost(self) -> Usage:
        """What all attempts have cost."""
        for written in self._attempts:
            await self._estimate(written)
            written.usage["money"] = self._prices.cost(
                written.usage["tokens_in"],
                written.usage["tokens_out"],
                written.backend["name"] if written.backend else "",
            )
        return add_usage(written.usage for written in self._attempts)

    async def _at_most(self, needed: int, most: int) -> Usage:
        """What the call costs if the attempt that begins writes as much as it may."""
        usage = add_usage((await self.cost(), NO_USAGE))
        usage["tokens_in"] += needed
        usage["tokens_out"] += most
        usage["money"] += self._prices.dearest * (needed + most) / PER
        usage["calls"] += 1
        usage["estimated"] = True
        return usage

    async def _stream(self, written: _Written, options: Mapping[str, Any]) -> None:
        """Run one attempt, keeping ``written`` up to date, so that one cut short is charged too."""
        usage = written.usage
        async for chunk in self._model.astream(list(self._messages), **options):
            told = chunk.response_metadata
            entries = (told.get("logprobs") or {}).get("content") or ()
            written.tokens.extend((entry["token"], entry["logprob"]) for entry in entries)
            written.alternatives.extend(_alternatives(entry) for entry in entries)
            if chunk.usage_metadata:
                usage["tokens_in"] = chunk.usage_metadata["input_tokens"]
                usage["tokens_out"] = chunk.usage_metadata["output_tokens"]
                usage["estimated"] = bool(told.get("usage_estimated"))
                written.reported = True
            elif not written.reported:
                usage["tokens_out"] = len(written.tokens)
            written.finish = told.get("finish_reason", written.finish)
            written.backend = told.get("backend", written.backend)
            for notice in told.get("notices") or ():
                if notice not in written.notices:
                    written.notices.append(notice)
                    self._events.notice(notice)
            if chunk.tool_call_chunks:
                written.hear_calls(chunk.tool_call_chunks)
            if chunk.text:
                written.text.append(chunk.text)
                self._events.text(chunk.text)
        await self._estimate(written)
        self._sign(written)

    def _sign(self, written: _Written) -> None:
        """Note who answered, and who was passed over."""
        over = written.backend["passed_over"] if written.backend else []
        usage = written.usage
        answered: BackendUse = {
            "name": written.backend["name"] if written.backend else self._model.place,
            "calls": usage["calls"],
            "tokens_in": usage["tokens_in"],
            "tokens_out": usage["tokens_out"],
            "passed_over": [],
        }
        for one in over:
            self._events.notice(passed_over(one["name"], one["why"]))
        others = (
            BackendUse(
                name=one["name"], calls=0, tokens_in=0, tokens_out=0, passed_over=[one["why"]]
            )
            for one in over
        )
        usage["backends"] = add_uses((*others, answered))

    async def _estimate(self, written: _Written) -> None:
        """Count what was written when the server told neither its usage nor single tokens."""
        if written.reported or written.tokens or not written.text or written.counted:
            return
        text = "".join(written.text)
        begun = self._prefill if text.startswith(self._prefill) else ""
        try:
            async with asyncio.timeout(_COUNTING_SECONDS):
                whole = await prompt_tokens(self._model, self._messages, text)
                tokens = whole - await prompt_tokens(self._model, self._messages, begun)
        except (ReverieError, TimeoutError):  # a server that broke off may not count either
            tokens = -(-(len(text) - len(begun)) // _CHARACTERS_PER_TOKEN)
        written.usage["tokens_out"] = max(0, tokens)
        written.counted = True


@dataclass(slots=True)
class _Written:
    """What one attempt has written and cost so far."""

    prefill: str
    text: list[str] = field(default_factory=list)
    tokens: list[tuple[str, float]] = field(default_factory=list)
    alternatives: list[Mapping[str, float]] = field(default_factory=list)
    usage: Usage = field(default_factory=NO_USAGE.copy)
    notices: list[str] = field(default_factory=list)
    backend: Told | None = None
    finish: str = ""
    calls: AIMessageChunk | None = None
    """The tool calls so far, in one message."""
    reported: bool = False
    """Whether the server said what it cost."""
    counted: bool = False
    """Whether that was estimated."""

    @property
    def begun(self) -> bool:
        """Whether anything has come that the model wrote itself."""
        return bool(self.calls) or len("".join(self.text).removeprefix(self.prefill)) > 0

    def hear_calls(self, chunks: list[ToolCallChunk]) -> None:
        """Take in the next pieces of tool calls."""
        from langchain_core.messages import AIMessageChunk

        heard = AIMessageChunk(content="", tool_call_chunks=chunks)
        self.calls = heard if self.calls is None else self.calls + heard


def _patience(seconds: float) -> float:
    """How long the model itself may take. A little less than is left: its error names the server
    that is silent, which is worth more than a timer's.
    """
    return max(seconds - 0.25, 0.9 * seconds)


def _uncounted(model: ChatModel, left: Limits) -> ReverieError:
    if left["seconds"] < _SECONDS_TO_COUNT:
        return _no_time()
    return ModelUnavailable(
        f"the server of the model {model.reverie_profile.name} did not count the prompt within "
        f"{left['seconds']:.1f} s",
        hint="see whether it answers at all: reverie doctor ADDRESS",
        transient=True,
    )


def _no_time() -> BudgetExceeded:
    return BudgetExceeded("no time is left for a model call", hint="raise --seconds")


def _out_of_time(left: Limits) -> BudgetExceeded:
    return BudgetExceeded(
        f"the time ran out after {left['seconds']:.1f} s, in the middle of a model call",
        hint="raise --seconds",
    )


def _read_calls(message: AIMessageChunk | None) -> tuple[tuple[ToolCall, ...], int]:
    """The calls, and how many cannot be read. Strictly: LangChain would complete arguments that
    were cut off.
    """
    calls: list[ToolCall] = []
    chunks = message.tool_call_chunks if message else []
    for chunk in chunks:
        try:
            arguments = json.loads(chunk["args"] or "{}")
        except (ValueError, RecursionError):
            continue
        if isinstance(arguments, dict) and chunk["name"]:
            calls.append(
                {"name": chunk["name"], "args": arguments, "id": chunk["id"], "type": "tool_call"}
            )
    return tuple(calls), len(chunks) - len(calls)


def _with_tools(
    messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]
) -> Sequence[BaseMessage]:
    """What to count: servers write descriptions of tools into the prompt."""
    if not tools:
        return messages
    from langchain_core.messages import SystemMessage

    return [SystemMessage(json.dumps(list(tools))), *messages]


def _response_format(json_schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if json_schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": json_schema}}}


def _alternatives(entry: Mapping[str, Any]) -> Mapping[str, float]:
    return {one["token"]: one["logprob"] for one in entry.get("top_logprobs") or ()}
