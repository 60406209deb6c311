"""What is done to the clients that are compared, and what is measured of it."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from reverie.evals.bench.client_sides import Side

WHOLE = "whole"
STREAMED = "streamed"


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked."""

    calls: int = 300
    """Of each client, one at a time."""
    first_tokens: int = 100
    """Of each client, one at a time, from a server that takes its time."""
    crowds: int = 2
    """In each repeat: rounds in which each client has ``at_once`` calls under way."""
    at_once: int = 200
    whole_each: int = 3
    """Replies one after the other, in each of ``at_once`` tasks."""
    streams_each: int = 1
    memory: Sequence[int] = (1000, 5000)
    """After how many calls of a kind memory is read."""
    memory_at_once: int = 16


@dataclass(slots=True)
class Taken:
    """Milliseconds of each call of one client."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """Until the first text of a stream."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast one client was with many calls at the same time."""

    per_second: float
    cpu: float
    """Milliseconds of this process a call."""


def questions(seed: int) -> Iterator[str]:
    """Every one another, so that no cache helps anybody."""
    rng = random.Random(seed)  # noqa: S311  # a fixed order, not a secret
    words = ("ball", "river", "stone", "window", "lamp", "bridge", "cloud", "engine", "garden")
    number = 0
    while True:
        number += 1
        yield f"Question {number}: what happens to a {rng.choice(words)} on a {rng.choice(words)}?"


async def alternate(sides: Sequence[Side], kind: str, calls: int, seed: int) -> dict[str, Taken]:
    """One call at a time: in every round each client once, in an order of its own."""
    rng = random.Random(seed)  # noqa: S311  # as above
    asked = questions(seed)
    taken: dict[str, Taken] = defaultdict(Taken)
    order = list(sides)
    for _ in range(calls):
        question = next(asked)
        rng.shuffle(order)
        for side in order:
            first = None
            cpu, began = time.process_time(), time.perf_counter()
            if kind == WHOLE:
                await side.whole(question)
            else:
                first = await side.stream(question)
            ended = time.perf_counter()
            of_side = taken[side.name]
            of_side.wall.append((ended - began) * 1e3)
            of_side.cpu.append((time.process_time() - cpu) * 1e3)
            if first is not None:
                of_side.first.append((first - began) * 1e3)
    return dict(taken)


async def crowd(side: Side, kind: str, load: Load, seed: int) -> Rate:
    """``load.at_once`` tasks that all ask at the same time."""
    asked = questions(seed)
    call = side.whole if kind == WHOLE else side.stream
    each = load.whole_each if kind == WHOLE else load.streams_each
    await _together(side.whole, asked, load.at_once, 1)  # opens the connections
    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    await _together(call, asked, load.at_once, each)
    seconds = time.perf_counter() - began
    calls = load.at_once * each
    return Rate(calls / seconds, (time.process_time() - cpu) * 1e3 / calls)


async def memory(side: Side, kind: str, load: Load, seed: int) -> list[float]:
    """Megabytes of this process after as many calls as ``load.memory`` says."""
    import psutil

    this = psutil.Process()
    call = side.whole if kind == WHOLE else side.stream
    asked = questions(seed)
    read = []
    done = 0
    for calls in load.memory:
        await _together(call, asked, load.memory_at_once, (calls - done) // load.memory_at_once)
        done = calls
        gc.collect()
        read.append(this.memory_info().rss / 2**20)
    return read


async def _together(
    call: Callable[[str], Awaitable[object]], asked: Iterator[str], tasks: int, each: int
) -> None:
    async def one() -> None:
        for _ in range(each):
            await call(next(asked))

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(one())
