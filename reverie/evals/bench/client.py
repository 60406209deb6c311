"""The client of served models beside the raw openai SDK and langchain-openai's ChatOpenAI.

All of them ask the same questions of the same quirk server, which has a process of its own, in the
same run and in turns. Memory is measured in a process for each client (``python -m
reverie.evals.bench.client SIDE ADDRESS LOAD``). Needs the ``dev`` extra.
"""

from __future__ import annotations

import asyncio
import json
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from reverie.errors import ConfigError
from reverie.evals.bench import Cell, Goal, Progress, Report, Table
from reverie.evals.bench.client_load import (
    STREAMED,
    WHOLE,
    Load,
    Rate,
    Taken,
    alternate,
    crowd,
    memory,
)
from reverie.evals.bench.client_sides import (
    CAUTIOUS,
    CHAT_OPENAI,
    NAMES,
    PROFILE,
    RAW,
    open_sides,
)
from reverie.evals.bench.machine import load_average, processor

_SEED = 0
_KINDS = (WHOLE, STREAMED)
_OURS = (PROFILE, CAUTIOUS)
_WORDS = 40
"""Of a reply; each is a token, and an event of a stream."""
_TOKEN_SECONDS = 0.002
_WARM = 10
"""Calls of each client that are not counted."""


@dataclass(slots=True)
class Measured:
    """What every repeat gave."""

    alone: dict[str, list[Mapping[str, Taken]]] = field(
        default_factory=lambda: {kind: [] for kind in _KINDS}
    )
    first: list[Mapping[str, Taken]] = field(default_factory=list)
    crowds: dict[str, list[Mapping[str, Rate]]] = field(
        default_factory=lambda: {kind: [] for kind in _KINDS}
    )
    memory: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By client and kind: megabytes."""


def run(repeats: int, progress: Progress) -> Report:
    """Measure everything, and put the clients side by side."""
    load = Load()
    before = load_average()
    return report(measure(load, repeats, progress), load, before)


def measure(load: Load, repeats: int, progress: Progress) -> Measured:
    """Everything, ``repeats`` times; memory once."""
    for name in ("langchain_openai", "h11", "psutil"):
        if find_spec(name) is None:
            raise ConfigError(
                f"the benchmark of the client needs {name}, which is not installed",
                hint="pip install 'reverie[dev]' (in a checkout: pip install -e '.[dev]')",
            )
    from reverie.evals.quirks import QuirkProcess, Quirks

    measured = Measured()
    with (
        TemporaryDirectory(prefix="reverie-bench-") as home,
        QuirkProcess(Quirks(words=_WORDS)) as fast,
        QuirkProcess(Quirks(words=_WORDS)) as crowded,
        QuirkProcess(Quirks(words=_WORDS // 4, token_seconds=_TOKEN_SECONDS)) as slow,
    ):
        addresses = (fast.address, slow.address, crowded.address)
        # In one event loop: ChatOpenAI has one connection pool for an address, whatever the loop.
        asyncio.run(_times(measured, addresses, Path(home), load, repeats=repeats, say=progress))
        for side in NAMES:
            progress(f"memory over {load.memory[1]:,} whole replies and as many streams: {side}")
            for kind, read in _in_process(side, fast.address, load).items():
                measured.memory[side, kind] = read
    return measured


async def _times(
    measured: Measured,
    addresses: tuple[str, str, str],
    home: Path,
    load: Load,
    *,
    repeats: int,
    say: Progress,
) -> None:
    fast, slow, crowded = addresses
    rng = random.Random(_SEED)  # noqa: S311  # a fixed order, not a secret
    async with (
        open_sides(fast, home / "fast") as alone,
        open_sides(slow, home / "slow") as waiting,
        # Clients of their own: the SDK's pool is slower for as long as it holds many connections.
        open_sides(crowded, home / "crowded") as crowds,
    ):
        for kind in _KINDS:
            for sides in (alone, waiting, crowds):
                await alternate(sides, kind, _WARM, _SEED)
        for repeat in range(repeats):
            seed = _SEED + repeat
            say(f"repeat {repeat + 1}: one call at a time, {load.calls} of each client")
            for kind in _KINDS:
                measured.alone[kind].append(await alternate(alone, kind, load.calls, seed))
            say(f"repeat {repeat + 1}: time to first token, {load.first_tokens} of each client")
            measured.first.append(await alternate(waiting, STREAMED, load.first_tokens, seed))
            say(f"repeat {repeat + 1}: {load.at_once} calls at once")
            for kind in _KINDS * load.crowds:
                rng.shuffle(crowds)
                rates = {side.name: await crowd(side, kind, load, seed) for side in crowds}
                measured.crowds[kind].append(rates)


def _in_process(side: str, address: str, load: Load) -> dict[str, list[float]]:
    child = subprocess.run(
        [
            sys.executable,
            "-m",
            "reverie.evals.bench.client",
            side,
            address,
            json.dumps(asdict(load)),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    read: dict[str, list[float]] = json.loads(child.stdout)
    return read


async def _memory(side: str, address: str, load: Load) -> dict[str, list[float]]:
    with TemporaryDirectory(prefix="reverie-bench-") as home:
        async with open_sides(address, Path(home), [side]) as (only,):
            return {kind: await memory(only, kind, load, _SEED) for kind in _KINDS}


# -- the report --------------------------------------------------------------------------------


def report(measured: Measured, load: Load, before: float | str) -> Report:
    """The tables and goals. ``before``: the machine's load average before all."""
    repeats = len(measured.first)
    over = {kind: _over(measured.alone[kind], lambda t: t.wall) for kind in _KINDS}
    first = _over(measured.first, lambda t: t.first)
    return Report(
        tables=(
            Table(
                f"One call at a time: milliseconds, {repeats} times {load.calls} calls of each",
                ("", "reply", "median", "middle half", "over the SDK", "spread", "CPU"),
                tuple(
                    (side, kind, *row)
                    for kind in _KINDS
                    for side, row in _alone_rows(measured.alone[kind], over[kind])
                ),
            ),
            Table(
                f"First token: milliseconds, {repeats} times {load.first_tokens} streams of each, "
                f"a token every {_TOKEN_SECONDS * 1e3:.0f} ms",
                ("", "median", "middle half", "over the SDK", "spread"),
                tuple(
                    (side, *_quartiles(_all(measured.first, side, lambda t: t.first)), *first[side])
                    for side in NAMES
                ),
            ),
            Table(
                f"{load.at_once} calls at once, median of {len(measured.crowds[WHOLE])} rounds",
                ("", "reply", "calls/s", "to ChatOpenAI's", "spread", "CPU ms a call"),
                tuple(
                    (side, kind, *_crowd_row(measured.crowds[kind], side))
                    for kind in _KINDS
                    for side in NAMES
                ),
            ),
            Table(
                "Memory: megabytes after so many calls",
                ("", "reply", *(f"{calls:,}" for calls in load.memory), "growth"),
                tuple(
                    (side, kind, *read, read[-1] - read[0])
                    for (side, kind), read in measured.memory.items()
                ),
            ),
        ),
        goals=tuple(_goals(measured, load, over, first)),
        facts=_facts(before),
    )


def _goals(
    measured: Measured,
    load: Load,
    over: Mapping[str, Mapping[str, tuple[float, str]]],
    first: Mapping[str, tuple[float, str]],
) -> Iterator[Goal]:
    """The slower of the two profiles counts."""
    for kind in _KINDS:
        slower = max(over[kind][side][0] for side in _OURS)
        yield Goal(f"ms over the SDK, one call, {kind}", 3.0, slower)
    yield Goal("ms over the SDK, first token", 5.0, max(first[side][0] for side in _OURS))
    for kind in _KINDS:
        slower = min(_crowd_row(measured.crowds[kind], side)[1] for side in _OURS)
        yield Goal(f"time of {load.at_once} calls at once to ChatOpenAI's, {kind}", 1.0, 1 / slower)
    for kind in _KINDS:
        reads = [measured.memory[side, kind] for side in _OURS]
        calls = load.memory[1] - load.memory[0]
        more = max(read[-1] - read[0] for read in reads)
        yield Goal(f"MB more after {calls:,} more calls, {kind}", 5.0, more)


def _over(
    repeats: Sequence[Mapping[str, Taken]], which: Callable[[Taken], Sequence[float]]
) -> dict[str, tuple[float, str]]:
    """How much longer each client takes than the raw SDK with the same question: the median of the
    repeats' medians, and their spread.
    """
    found = {}
    for side in NAMES:
        medians = [
            statistics.median(
                mine - raw for mine, raw in zip(which(t[side]), which(t[RAW]), strict=True)
            )
            for t in repeats
        ]
        found[side] = (statistics.median(medians), _spread(medians))
    return found


def _alone_rows(
    repeats: Sequence[Mapping[str, Taken]], over: Mapping[str, tuple[float, str]]
) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    for side in NAMES:
        wall = _all(repeats, side, lambda t: t.wall)
        cpu = statistics.median(_all(repeats, side, lambda t: t.cpu))
        yield side, (*_quartiles(wall), *over[side], cpu)


def _crowd_row(rounds: Sequence[Mapping[str, Rate]], side: str) -> tuple[float, float, str, float]:
    ratios = [rates[side].per_second / rates[CHAT_OPENAI].per_second for rates in rounds]
    return (
        statistics.median(rates[side].per_second for rates in rounds),
        statistics.median(ratios),
        _spread(ratios),
        statistics.median(rates[side].cpu for rates in rounds),
    )


def _all(
    repeats: Iterable[Mapping[str, Taken]], side: str, which: Callable[[Taken], Sequence[float]]
) -> list[float]:
    return [value for taken in repeats for value in which(taken[side])]


def _quartiles(values: Sequence[float]) -> tuple[float, str]:
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, f"{low:.2f} to {high:.2f}"


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _facts(before: float | str) -> dict[str, Cell]:
    return {
        "processor": processor(),
        "load before": before,
        "seed": _SEED,
        "words a reply": _WORDS,
        "Python": platform.python_version(),
        **{
            name: version(name)
            for name in ("openai", "langchain-openai", "langchain-core", "httpx2", "pydantic")
        },
    }


if __name__ == "__main__":
    _side, _address, _load = sys.argv[1:]
    json.dump(asyncio.run(_memory(_side, _address, Load(**json.loads(_load)))), sys.stdout)
