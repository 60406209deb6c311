"""How fast a server is, with one request and with several at the same time."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from statistics import median

from reverie.errors import ModelRejected, ReverieError
from reverie.models.doctor.probing import Probing
from reverie.models.doctor.question import Question, delta_of, usage_of
from reverie.models.profiles import Speed

CONCURRENT = (1, 4, 8)

_TOKENS = 32
_FEWEST_TOKENS = 8
_ROUNDS = 3
_PROMPT = "Number {number}. Tell a story about a river, and do not stop."


@dataclass(frozen=True, slots=True)
class _Run:
    """One request: seconds to its first token and to its end, and how many tokens came."""

    first: float
    whole: float
    tokens: int


async def measure(probing: Probing, seconds: float) -> list[Speed]:
    """Time to first token and tokens per second, within about ``seconds``.

    The first request warms the server up and is not counted; it also tells how slow the server is,
    and so how much can be measured.
    """
    until = time.monotonic() + seconds
    extra: dict[str, object] = {"ignore_eos": True} if probing.wire == "chat" else {}
    meter = _Meter(probing, extra, seconds)
    try:
        warm = await meter.run(_FEWEST_TOKENS)
    except ModelRejected:
        meter.extra = {}
        warm = await meter.run(_FEWEST_TOKENS)
    each = max(warm.whole - warm.first, 1e-3) / max(warm.tokens - 1, 1)
    speeds: list[Speed] = []
    for index, concurrent in enumerate(CONCURRENT):
        left = until - time.monotonic()
        share = left / (len(CONCURRENT) - index)
        fitting = int((share - warm.first) / each)
        if fitting < _FEWEST_TOKENS and (speeds or left <= warm.whole):
            break  # a slow server: what was measured has to do
        tokens = max(_FEWEST_TOKENS, min(_TOKENS, fitting))
        try:
            async with asyncio.timeout(max(left, 0) + warm.whole):
                speeds.append(await _several(meter, concurrent, tokens, share))
        except (ReverieError, TimeoutError) as error:
            what = "it took too long" if isinstance(error, TimeoutError) else error.message
            probing.notices.append(f"the speed of {concurrent} at a time is not known: {what}")
            break
    if not speeds:
        probing.notices.append(
            f"so slow that its speed is that of one reply of {warm.tokens} tokens"
        )
        speeds.append(_speed(1, [(warm.tokens / warm.whole, warm.first, warm.tokens)]))
    return speeds


async def _several(meter: _Meter, concurrent: int, tokens: int, seconds: float) -> Speed:
    """The median round, of as many as there is time for."""
    until = time.monotonic() + seconds
    rounds: list[tuple[float, float, int]] = []
    while len(rounds) < _ROUNDS:
        began = time.monotonic()
        runs = await asyncio.gather(*(meter.run(tokens) for _ in range(concurrent)))
        took = time.monotonic() - began
        total = sum(run.tokens for run in runs)
        rounds.append((total / took, median(run.first for run in runs), total))
        if time.monotonic() + took > until:
            break
    return _speed(concurrent, rounds)


def _speed(concurrent: int, rounds: list[tuple[float, float, int]]) -> Speed:
    """Of rounds, each with tokens per second, seconds to the first token, and tokens."""
    return Speed(
        concurrent=concurrent,
        first_token_seconds=median(first for _, first, _ in rounds),
        tokens_per_second=median(rate for rate, _, _ in rounds),
        tokens=max(1, sum(total for _, _, total in rounds)),
    )


class _Meter:
    """Sends requests that differ from each other, so that no cache answers them."""

    def __init__(self, probing: Probing, extra: dict[str, object], seconds: float) -> None:
        self.extra = extra
        self._probing = probing
        self._seconds = seconds
        self._sent = 0

    async def run(self, tokens: int) -> _Run:
        self._sent += 1
        extra = dict(self.extra)
        if self._probing.field("usage") == "asked":
            extra["stream_options"] = {"include_usage": True}
        question = Question(
            _PROMPT.format(number=self._sent),
            tokens=tokens,
            temperature=1.0 if self._probing.sampling else None,
            extra=extra,
        )
        began = time.monotonic()
        first, events, usage = None, 0, None
        limit = max(self._seconds, self._probing.patience.probe)
        async with aclosing(self._probing.stream(question, seconds=limit)) as stream:
            async for event in stream:
                if delta_of(event, self._probing.wire):
                    events += 1
                    first = first or time.monotonic()
                usage = usage_of(event) or usage
        ended = time.monotonic()
        return _Run(
            first=(first or ended) - began,
            whole=ended - began,
            tokens=usage[1] if usage and usage[1] > 0 else events,
        )
