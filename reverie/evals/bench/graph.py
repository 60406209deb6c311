"""Graph stores: loading, and every way of finding, in the SQLite core, through the asynchronous
Protocol, and in Neo4j where the settings name one that is empty.

Nodes and edges are random: every node has as many neighbours as any other, on average.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from reverie.errors import ConfigError
from reverie.evals.bench import Cell, Goal, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.graphs.analytics import peak_memory
from reverie.knowledge.graph import GraphStore, SqliteGraph
from reverie.knowledge.graph.records import Batch, Edge, Node, Span
from reverie.knowledge.graph.sqlite import SqliteGraphCore
from reverie.settings import load_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SEED = 0
_EMBEDDER = "random directions"
_DIMENSION = 384
_VECTORS = 10_000
_BATCH = 50_000
"""Edges per transaction."""
_SOURCE = "reverie-bench"
_NEO4J_NODES = 10_000
"""Neo4j is asked up to this size."""


@dataclass(frozen=True, slots=True)
class _Size:
    nodes: int
    edges: int
    most_seconds: float
    most_mebibytes: float | None = None

    def __str__(self) -> str:
        return f"{self.nodes:,} nodes, {self.edges:,} edges"


_SIZES = (_Size(10_000, 50_000, 1.0), _Size(100_000, 1_000_000, 60.0, 1024.0))
_HOPS = ((1, 300, 0.1), (2, 150, 1.0), (3, 60, 5.0))
"""Hops, questions per repeat, and the most milliseconds of the median for the smaller size."""
_MOST_ASYNC_MS = 0.2


@dataclass(frozen=True, slots=True)
class _Question:
    """One kind of question, asked of every store in turn."""

    name: str
    number: int
    core: Callable[[SqliteGraphCore, int], object]
    store: Callable[[GraphStore, int], Awaitable[object]] | None


@dataclass(slots=True)
class _Taken:
    """Milliseconds of every asking, by side."""

    core: list[float] = field(default_factory=list)
    store: list[float] = field(default_factory=list)
    neo4j: list[float] = field(default_factory=list)


def run(repeats: int, progress: Progress) -> Report:
    """Both sizes; Neo4j beside the smaller one."""
    return asyncio.run(_run(repeats, progress))


async def _run(repeats: int, progress: Progress) -> Report:
    tables: list[Table] = []
    goals: list[Goal] = []
    loads: list[tuple[Cell, ...]] = []
    folder = await asyncio.to_thread(TemporaryDirectory, prefix="reverie-bench-")
    neo4j = await _empty_neo4j()
    try:
        # First of all: a process begins with the most memory that the one before it had.
        for size in _SIZES:
            path = Path(folder.name) / f"{size.nodes}.sqlite"
            progress(f"loading {size}")
            seconds, mebibytes = await asyncio.to_thread(_load_apart, path, size)
            megabytes = (await asyncio.to_thread(path.stat)).st_size / 1e6
            loads.append((f"SQLite, {size}", seconds, mebibytes, megabytes))
            goals.append(Goal(f"seconds to load {size}", size.most_seconds, seconds))
            if size.most_mebibytes is not None:
                goals.append(Goal(f"MiB to load {size}", size.most_mebibytes, mebibytes))
        for size in _SIZES:
            path = Path(folder.name) / f"{size.nodes}.sqlite"
            other = neo4j if size.nodes <= _NEO4J_NODES else None
            if other is not None:
                progress(f"loading {size} into Neo4j")
                loads.append((f"Neo4j, {size}", await _load_async(other, size), "", ""))
            store = await SqliteGraph.open(path, embedder=_EMBEDDER, dimension=_DIMENSION)
            try:
                say = functools.partial(_say, progress, size)
                sides = (store, other)
                taken = await _ask(sides, _questions(size), repeats, say)
                for side in filter(None, sides):
                    await _write_vectors(side, size)
                taken |= await _ask(sides, _questions_of_meaning(), repeats, say)
            finally:
                await store.close()
            tables.append(_table(size, taken))
            if size is _SIZES[0]:
                goals += _hop_goals(taken)
    finally:
        if neo4j is not None:
            await neo4j.delete_source(_SOURCE)
            await neo4j.close()
        await asyncio.to_thread(folder.cleanup)
    columns = ("store", "seconds", "peak MiB", "file MB")
    return Report(
        (Table("Loading", columns, tuple(loads)), *tables),
        tuple(goals),
        {
            "seed": _SEED,
            "repeats": repeats,
            "processor": await asyncio.to_thread(processor),
            "load": load_average(),
        },
    )


async def _empty_neo4j() -> GraphStore | None:
    """The Neo4j of the settings. Raises ConfigError when something is in it."""
    settings = (await asyncio.to_thread(load_settings)).settings
    if settings.neo4j.uri is None:
        return None
    from reverie.knowledge.graph.neo4j import Neo4jGraph

    store = await Neo4jGraph.open(settings.neo4j, embedder=_EMBEDDER, dimension=_DIMENSION)
    if (await store.size()).nodes:
        await store.close()
        raise ConfigError(
            f"{settings.neo4j.uri} holds a graph already, and the benchmark writes to it",
            hint="Name an empty one in REVERIE_NEO4J_URI, or none",
        )
    return store


def _load_apart(path: Path, size: _Size) -> tuple[float, float]:
    """In a process of its own, whose memory is the store's and one batch's."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_load, path, size).result()


def _load(path: Path, size: _Size) -> tuple[float, float]:
    """Seconds that ``write`` took, and the most MiB of memory of the process."""
    core = SqliteGraphCore(path, embedder=_EMBEDDER, dimension=_DIMENSION)
    seconds = 0.0
    for batch in _batches(size):
        began = time.perf_counter()
        core.write(batch)
        seconds += time.perf_counter() - began
    core.close()
    return seconds, (peak_memory() or 0) / 2**20


async def _load_async(store: GraphStore, size: _Size) -> float:
    seconds = 0.0
    for batch in _batches(size):
        began = time.perf_counter()
        await store.write(batch)
        seconds += time.perf_counter() - began
    return seconds


def _batches(size: _Size) -> Iterator[Batch]:
    """The smaller size is one transaction."""
    chance = random.Random(_SEED)  # noqa: S311  # an example graph, no secret
    nodes = [
        Node(_id(number), "chunk", f"part number {number}", _text(chance), _SOURCE)
        for number in range(size.nodes)
    ]
    for first in range(0, size.edges, _BATCH):
        edges = [
            Edge(
                _id(chance.randrange(size.nodes)),
                "links_to",
                _id(chance.randrange(size.nodes)),
                source=_SOURCE,
                span=Span(_SOURCE, number + 1, number + 2),
            )
            for number in range(first, min(first + _BATCH, size.edges))
        ]
        yield Batch(nodes if first == 0 else (), edges)


def _id(number: int) -> str:
    return f"chunk:{number}"


def _text(chance: random.Random) -> str:
    """Words of which each is in one node of a hundred."""
    return " ".join(f"word{chance.randrange(1000)}" for _ in range(10))


async def _write_vectors(store: GraphStore, size: _Size) -> None:
    vectors = _directions(_SEED, _VECTORS)
    for first in range(0, _VECTORS, 1000):
        edges = [
            Edge(_id(number % size.nodes), "causes", f"result {number}", "acts", source=_SOURCE)
            for number in range(first, first + 1000)
        ]
        rows = dict(enumerate(vectors[first : first + 1000]))
        await store.write(Batch(edges=edges, edge_vectors=rows))


def _directions(seed: int, number: int) -> NDArray[np.float32]:
    import numpy as np

    rows = np.random.default_rng(seed).standard_normal((number, _DIMENSION)).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _questions(size: _Size) -> list[_Question]:
    chance = random.Random(_SEED + 1)  # noqa: S311  # example questions, no secret
    ids = [_id(chance.randrange(size.nodes)) for _ in range(1000)]
    words = [_text(chance) for _ in range(1000)]

    def hops(number: int, count: int) -> list[_Question]:
        name = f"{number} hop{'s' if number > 1 else ''}"
        return [
            _Question(
                f"{name}, ids", count, lambda s, i: s.reach([ids[i % 1000]], hops=number), None
            ),
            _both(name, count, lambda s, i: s.neighbourhood([ids[i % 1000]], hops=number)),
        ]

    def seeds(i: int) -> dict[str, float]:
        return {ids[i % 1000]: 1.0, ids[(i + 1) % 1000]: 0.5}

    return [
        *(question for number, count, _ in _HOPS for question in hops(number, count)),
        _both("path", 60, lambda s, i: s.shortest_path(ids[i % 1000], ids[(i + 7) % 1000])),
        _both("walk, 3 hops", 10, lambda s, i: s.walk(seeds(i))),
        _both("sample, 500 tokens", 10, lambda s, i: s.sample(seeds(i), tokens=500, seed=i)),
        _both("find one word", 60, lambda s, i: s.find(words[i % 1000].split()[0])),
        _both("find ten words", 20, lambda s, i: s.find(words[i % 1000])),
    ]


def _questions_of_meaning() -> list[_Question]:
    vectors = _directions(_SEED + 1, 100)
    name = f"similar, of {_VECTORS:,}"
    return [_both(name, 30, lambda s, i: s.similar(vectors[i % 100], minimum=-1.0))]


def _both(name: str, number: int, ask: Callable[[Any, int], Any]) -> _Question:
    """A question that is asked in the same words with and without asyncio."""
    return _Question(name, number, ask, ask)


async def _ask(
    sides: tuple[SqliteGraph, GraphStore | None],
    questions: Sequence[_Question],
    repeats: int,
    say: Progress,
) -> dict[str, _Taken]:
    """Every question of every side in turn, so that all see the same machine."""
    store, neo4j = sides
    taken: dict[str, _Taken] = {}
    for question in questions:
        say(question.name)
        times = taken[question.name] = _Taken()
        for i in range(-5, repeats * question.number):
            core = await asyncio.to_thread(_timed, question, store.core, i)
            mine = await _awaited(question, store, i)
            other = None if neo4j is None else await _awaited(question, neo4j, i)
            if i < 0:  # warm
                continue
            times.core.append(core)
            for kept, spent in ((times.store, mine), (times.neo4j, other)):
                if spent is not None:
                    kept.append(spent)
    return taken


def _say(progress: Progress, size: _Size, name: str) -> None:
    progress(f"{size}: {name}")


def _timed(question: _Question, core: SqliteGraphCore, i: int) -> float:
    began = time.perf_counter()
    question.core(core, i)
    return 1000 * (time.perf_counter() - began)


async def _awaited(question: _Question, store: GraphStore, i: int) -> float | None:
    if question.store is None:
        return None
    began = time.perf_counter()
    await question.store(store, i)
    return 1000 * (time.perf_counter() - began)


def _table(size: _Size, taken: dict[str, _Taken]) -> Table:
    sides = ["core", "store"] + (["neo4j"] if any(t.neo4j for t in taken.values()) else [])
    titles = {"core": "SQLite core", "store": "SQLite", "neo4j": "Neo4j"}
    columns = [f"{titles[side]} {mark}" for side in sides for mark in ("p50", "p95")]
    rows = [
        (name, *(cell for side in sides for cell in _percentiles(getattr(times, side))))
        for name, times in taken.items()
    ]
    return Table(f"{size}, microseconds", ("question", *columns), tuple(rows))


def _percentiles(values: Sequence[float]) -> tuple[Cell, Cell]:
    if not values:
        return "", ""
    marks = statistics.quantiles(values, n=20, method="inclusive")
    return round(1000 * marks[9]), round(1000 * marks[18])


def _hop_goals(taken: dict[str, _Taken]) -> list[Goal]:
    goals = []
    for number, _, most in _HOPS:
        name = f"{number} hop{'s' if number > 1 else ''}"
        goals += [
            Goal(f"ms: {row}", most, statistics.median(taken[row].core))
            for row in (f"{name}, ids", name)
        ]
        more = statistics.median(taken[name].store) - statistics.median(taken[name].core)
        goals.append(Goal(f"ms more through asyncio: {name}", _MOST_ASYNC_MS, more))
    return goals
