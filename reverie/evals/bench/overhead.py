"""What the reason graph costs beside the model: the same calls through it and in plain asyncio.

The model replies at once, in this process; the stores are real files. A run's overhead is its time
less that of the same calls in plain asyncio, divided by the nodes that ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.memory import InMemorySaver

from reverie.evals.bench import Cell, Goal, Progress, Report, Table
from reverie.evals.bench.instant import InstantModel, InstantResources
from reverie.evals.bench.machine import load_average, processor
from reverie.graphs.context import Context
from reverie.graphs.reason import NAME, RECURSION_LIMIT, build
from reverie.graphs.recall import new_run_id
from reverie.settings import Settings

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_LANGGRAPH = version("langgraph")  # here, not in an event loop: it reads files
_SEED = 0
_QUESTION = "What happens when you drop a ball?"
_RUNS = 40
"""Per repeat and arm."""
_FINISHED = 1000
_EVERY = 100
_SETTLED = 200
"""Finished runs after which memory is compared: until then caches fill."""
_MOST_SECONDS = 0.005
_GROWTH_KIB = 2.0
"""Of memory per finished run: less than the noise of an allocator over so many runs."""

_ARMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("direct, 1 call", {"strategy": "direct"}),
    ("chain_of_thought, 2 calls", {"strategy": "chain_of_thought"}),
    ("dream, 4 branches", {"strategy": "dream", "branches": 4}),
    ("dream, 64 branches", {"strategy": "dream", "branches": 64}),
)
_CHECKPOINTERS = ("none", "memory", "sqlite")


@dataclass(frozen=True, slots=True)
class _Timed:
    """Seconds of every run, and how many nodes one has."""

    seconds: list[float]
    processor: list[float]
    """Seconds that the process computed, in all its threads."""
    nodes: int


def run(repeats: int, progress: Progress) -> Report:
    """Every arm with every checkpointer, and 1,000 runs for the memory that they leave."""
    return asyncio.run(_run(repeats, progress))


async def _run(repeats: int, progress: Progress) -> Report:
    rows: list[tuple[Cell, ...]] = []
    goals: list[Goal] = []
    for label, fields in _ARMS:
        for checkpointer in _CHECKPOINTERS:
            progress(f"{label}, checkpointer {checkpointer}")
            timed, plain = await _measured(fields, checkpointer, repeats)
            each = [
                1000 * max(0.0, taken - statistics.median(plain)) / timed.nodes
                for taken in timed.seconds
            ]
            low, median, high = _quartiles(each)
            rows.append(
                (
                    label,
                    checkpointer,
                    timed.nodes,
                    1000 * statistics.median(plain),
                    1000 * statistics.median(timed.seconds),
                    statistics.median(timed.seconds) / statistics.median(plain),
                    median,
                    low,
                    high,
                    1000 * statistics.median(timed.processor) / timed.nodes,
                )
            )
            goals.append(Goal(f"ms a node: {label}, {checkpointer}", 1000 * _MOST_SECONDS, median))
    progress(f"memory over {_FINISHED} finished runs")
    memory, growth = await _memory()
    goals.append(Goal("KiB of memory that a finished run leaves", _GROWTH_KIB, growth))
    overhead = Table(
        "The reason graph against the same calls in plain asyncio, medians",
        (
            "run",
            "checkpointer",
            "nodes",
            "asyncio ms",
            "graph ms",
            "ratio",
            "overhead a node, ms",
            "first quartile",
            "third quartile",
            "CPU a node, ms",
        ),
        tuple(rows),
    )
    return Report(
        (overhead, memory),
        tuple(goals),
        {
            "seed": _SEED,
            "runs each": repeats * _RUNS,
            "langgraph": _LANGGRAPH,
            "processor": await asyncio.to_thread(processor),
            "load": load_average(),
        },
    )


async def _measured(
    fields: dict[str, Any], checkpointer: str, repeats: int
) -> tuple[_Timed, list[float]]:
    """The graph's runs and the same calls without it, in turn: both see the same machine."""
    async with _graph(checkpointer, fields) as (ask, resources):
        nodes, prompts = await _looked_at(fields, resources)
        for _ in range(5):  # warm
            await ask()
        taken: list[float] = []
        computed: list[float] = []
        plain: list[float] = []
        for _ in range(repeats * _RUNS):
            before = time.process_time()
            taken.append(await _seconds(ask))
            computed.append(time.process_time() - before)
            plain.append(await _seconds(lambda: _calls(resources.instant, prompts)))
    return _Timed(taken, computed, nodes), plain


async def _calls(model: InstantModel, prompts: Sequence[Sequence[list[BaseMessage]]]) -> None:
    """The model calls of a run in plain asyncio: those of a fan-out at the same time."""

    async def call(messages: list[BaseMessage]) -> str:
        return "".join([chunk.text async for chunk in model.astream(messages, max_tokens=96)])

    for together in prompts:
        await asyncio.gather(*(call(messages) for messages in together))


async def _looked_at(
    fields: dict[str, Any], resources: InstantResources
) -> tuple[int, list[list[list[BaseMessage]]]]:
    """How many nodes a run has, and the prompts of its calls, those of parallel ones together."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    nodes = 0
    prompts: list[list[BaseMessage]] = []
    graph: Any = build().compile(name=NAME)
    stream = graph.astream(
        {"question": _QUESTION},
        {"recursion_limit": RECURSION_LIMIT},
        context=_context(fields, resources),
        stream_mode=["updates", "custom"],
        subgraphs=True,
        version="v2",
    )
    async for part in stream:
        if part["type"] == "updates":
            nodes += len(part["data"])
        elif part["data"]["type"] == "called":
            turns = part["data"]["call"]["messages"]
            prompts.append([kinds[turn["role"]](turn["content"]) for turn in turns])
    together = fields["strategy"] == "dream"
    return nodes, [prompts] if together else [[one] for one in prompts]


@asynccontextmanager
async def _graph(
    checkpointer: str, fields: dict[str, Any]
) -> AsyncIterator[tuple[Callable[[], Awaitable[None]], InstantResources]]:
    """What runs the reason graph once, compiled once, with stores in a folder of their own."""
    from reverie.agents.checkpoints import open_checkpoints

    folder = await asyncio.to_thread(TemporaryDirectory, prefix="reverie-bench-")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, folder.cleanup)
        settings = Settings(home=Path(folder.name))
        resources = InstantResources(settings)
        saver: Any = None
        if checkpointer == "memory":
            saver = InMemorySaver()
        elif checkpointer == "sqlite":
            opened = await asyncio.to_thread(open_checkpoints, settings)
            stack.push_async_callback(asyncio.to_thread, opened.close)
            saver = opened.saver
        graph = build().compile(checkpointer=saver, name=NAME)
        context = _context(fields, resources)

        async def ask() -> None:
            run_id = new_run_id()
            config: Any = {
                "configurable": {"thread_id": run_id},
                "recursion_limit": RECURSION_LIMIT,
            }
            given: Any = {"question": _QUESTION, "run_id": run_id}
            durability: Any = {"durability": "sync"} if saver else {}
            stream = graph.astream(
                given,
                config,
                context=context,
                stream_mode=["custom", "values"],
                subgraphs=True,
                version="v2",
                **durability,
            )
            async for _ in stream:
                pass
            if checkpointer == "memory":  # it would keep every run for ever
                await saver.adelete_thread(run_id)

        try:
            yield ask, resources
        finally:
            await resources.close()


def _context(fields: dict[str, Any], resources: InstantResources) -> Context:
    return Context(
        resources=resources.key,
        seed=_SEED,
        tokens=1_000_000,
        calls=1000,
        min_similarity=-1.0,
        abstain_below=0.0,
        **fields,
    )


async def _seconds(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _memory() -> tuple[Table, float]:
    """Resident memory while 1,000 runs finish, and its growth per run in KiB when settled."""
    marks: list[tuple[int, float]] = []
    async with _graph("sqlite", {"strategy": "direct"}) as (ask, _):
        for finished in range(1, _FINISHED + 1):
            await ask()
            if finished % _EVERY == 0:
                gc.collect()
                marks.append((finished, await asyncio.to_thread(_resident_kib)))
    settled = [mark for mark in marks if mark[0] >= _SETTLED]
    growth = statistics.linear_regression(
        [float(finished) for finished, _ in settled], [kib for _, kib in settled]
    ).slope
    rows = tuple((str(finished), kib / 1024) for finished, kib in marks)
    return Table("Resident memory, checkpointer sqlite", ("finished runs", "MiB"), rows), growth


def _resident_kib() -> float:
    """What this process holds now; where the system does not say, the most that it has held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import os

        pages = int(statm.read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024
    from reverie.graphs.analytics import peak_memory

    return (peak_memory() or 0) / 1024


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = statistics.quantiles(values, n=4)
    return low, median, high
