"""One model call inside a budget: prompt counted, output clamped, tokens streamed, usage kept.

A stream that breaks in the middle is tried once more, if the budget allows, and both are charged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reverie.errors import BudgetExceeded, ModelUnavailable, ReverieError
from reverie.graphs.budget import NO_USAGE, add_usage, add_uses, total_tokens
from reverie.graphs.call_events import CallEvents, passed_over
from reverie.graphs.records import BackendUse, Limits, Usage

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.models.backend import Told
    from reverie.models.chat_model import ChatModel

SMALLEST_ANSWER = 16
"""Tokens below which a call is not worth making: hardly a sentence."""

_COUNTING_SECONDS = 2.0
"""How long to wait for a count of what was written; it is estimated otherwise."""
_CHARACTERS_PER_TOKEN = 2
"""At least, so that what cannot be counted is estimated too high rather than too low."""


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
) -> Reply:
    """Ask ``model`` within what is ``left``; ``events`` hears every piece as it is written.

    Raises CallFailed. Its error is BudgetExceeded when the tokens or calls left do not allow a
    useful call (the message names the fewest tokens that would) or the time runs out meanwhile;
    a server that has sent nothing by then is ModelUnavailable.
    """
    began = time.monotonic()
    call = _Call(model, messages, prefill, events)
    deadline = asyncio.timeout(left["seconds"])
    options = {
        "prefill": prefill,
        "temperature": temperature,
        "seed": seed,
        "stop": list(stop) or None,
        "logprobs": True,
        **_response_format(json_schema),
    }
    try:
        async with deadline:
            needed = await _affordable(model, messages, prefill, left)
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
    )


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


class _Call:
    """One call, and the attempts it takes."""

    def __init__(
        self, model: ChatModel, messages: Sequence[BaseMessage], prefill: str, events: CallEvents
    ) -> None:
        self._model = model
        self._messages = messages
        self._prefill = prefill
        self._events = events
        self._attempts: list[_Written] = []

    async def ask(
        self, left: Limits, needed: int, max_tokens: int, options: Mapping[str, Any]
    ) -> _Written:
        """Ask, and once more when a stream breaks in the middle and there is enough left for it."""
        until = time.monotonic() + _patience(left["seconds"])
        tokens = left["tokens"]
        while True:
            written = _Written(prefill=self._prefill)
            # From here on the attempt is charged, with what is known of it when it is cut short.
            written.usage |= {"calls": 1, "tokens_in": needed, "estimated": True}
            self._attempts.append(written)
            most = min(max_tokens, tokens - needed)
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
        return add_usage(written.usage for written in self._attempts)

    async def _stream(self, written: _Written, options: Mapping[str, Any]) -> None:
        """Run one attempt, keeping ``written`` up to date, so that one cut short is charged too."""
        usage = written.usage
        async for chunk in self._model.astream(list(self._messages), **options):
            told = chunk.response_metadata
            entries = (told.get("logprobs") or {}).get("content") or ()
            written.tokens.extend((entry["token"], entry["logprob"]) for entry in entries)
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
    usage: Usage = field(default_factory=NO_USAGE.copy)
    notices: list[str] = field(default_factory=list)
    backend: Told | None = None
    finish: str = ""
    reported: bool = False
    """Whether the server said what it cost."""
    counted: bool = False
    """Whether that was estimated."""

    @property
    def begun(self) -> bool:
        """Whether anything has come that the model wrote itself."""
        return len("".join(self.text).removeprefix(self.prefill)) > 0


def _patience(seconds: float) -> float:
    """How long the model itself may take. A little less than is left: its error names the server
    that is silent, which is worth more than a timer's.
    """
    return max(seconds - 0.25, 0.9 * seconds)


def _uncounted(model: ChatModel, left: Limits) -> ModelUnavailable:
    return ModelUnavailable(
        f"the server of the model {model.reverie_profile.name} did not count the prompt within "
        f"{left['seconds']:.1f} s",
        hint="see whether it answers at all: reverie doctor ADDRESS",
        transient=True,
    )


def _out_of_time(left: Limits) -> BudgetExceeded:
    return BudgetExceeded(
        f"the time ran out after {left['seconds']:.1f} s, in the middle of a model call",
        hint="raise --seconds",
    )


def _response_format(json_schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if json_schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": json_schema}}}
