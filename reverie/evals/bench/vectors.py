"""Vector stores side by side: adding 12,000 vectors, searching them, and what a search misses.

The vectors are drawn: of 32 dimensions turned into 384, with a tenth of noise, so that they have
neighbours as texts have (plain random ones have none). The limit is one matrix product in numpy.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from reverie.evals.bench import Cell, Progress, Report, Table
from reverie.evals.bench.chroma_run import chroma_run
from reverie.evals.bench.machine import load_average, processor
from reverie.knowledge.vectors import FaissVectors, VectorRecord, VectorStore, open_vectors
from reverie.settings import Settings
from reverie.settings.knowledge import ChromaSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COUNT: Final = 12_000
DIMENSION: Final = 384
_RANK: Final = 32
_NOISE: Final = 0.1
_QUERIES: Final = 200
NEAREST: Final = 10
_TOGETHER: Final = 1000
"""Vectors of one write."""
_KINDS: Final = 12
"""A filter lets one in so many through."""
SEED: Final = 0

_FAISS: Final = version("faiss-cpu")  # here, not in an event loop: it reads files
_CHROMADB: Final = version("chromadb")


def run(repeats: int, progress: Progress) -> Report:
    """Every store with the same vectors and queries."""
    return asyncio.run(_run(repeats, progress))


async def _run(repeats: int, progress: Progress) -> Report:
    points, queries = drawn(_COUNT, _QUERIES)
    exact = nearest(points, queries)
    rows = [_limit(points, queries, repeats)]
    folder = await asyncio.to_thread(TemporaryDirectory, prefix="reverie-bench-")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, folder.cleanup)
        root = Path(folder.name)
        (root / "server").mkdir()
        server = stack.enter_context(chroma_run(root / "server"))

        async def chroma(url: str | None) -> VectorStore:
            settings = Settings(home=root, chroma=ChromaSettings(url=url))
            return await open_vectors(settings, "bench", embedder="drawn", dimension=DIMENSION)

        async def flat() -> VectorStore:
            return FaissVectors(embedder="drawn", dimension=DIMENSION)

        async def hnsw() -> VectorStore:
            return FaissVectors(embedder="drawn", dimension=DIMENSION, kind="hnsw")

        stores: dict[str, Callable[[], Awaitable[VectorStore]]] = {
            "FAISS flat": flat,
            "FAISS HNSW": hnsw,
            "Chroma in a folder": lambda: chroma(None),
            "Chroma server": lambda: chroma(server.url),
        }
        for name, opened in stores.items():
            progress(name)
            store = await opened()
            try:
                rows.append((name, *await _measured(store, points, queries, exact, repeats)))
            finally:
                await store.close()
    return Report(
        (
            Table(
                f"{_COUNT} vectors of {DIMENSION} numbers; the nearest {NEAREST}",
                (
                    "store",
                    "add, s",
                    "query p50, ms",
                    "query p95, ms",
                    "filtered p50, ms",
                    "recall@10, %",
                ),
                tuple(rows),
            ),
        ),
        (),
        {
            "seed": SEED,
            "queries": _QUERIES * repeats,
            "faiss": _FAISS,
            "chromadb": _CHROMADB,
            "processor": await asyncio.to_thread(processor),
            "load": load_average(),
        },
    )


async def _measured(
    store: VectorStore,
    points: NDArray[np.float32],
    queries: NDArray[np.float32],
    exact: list[set[str]],
    repeats: int,
) -> tuple[Cell, ...]:
    records = [
        VectorRecord(str(number), f"text {number}", {"kind": number % _KINDS})
        for number in range(len(points))
    ]
    began = time.perf_counter()
    for start in range(0, len(points), _TOGETHER):
        end = start + _TOGETHER
        await store.write(records[start:end], points[start:end])
    added = time.perf_counter() - began
    found = 0
    taken: list[float] = []
    filtered: list[float] = []
    await store.search(queries[0], limit=NEAREST)  # warm
    for repeat in range(repeats):
        for number, query in enumerate(queries):
            began = time.perf_counter()
            hits = await store.search(query, limit=NEAREST)
            taken.append(time.perf_counter() - began)
            began = time.perf_counter()
            await store.search(query, limit=NEAREST, where={"kind": number % _KINDS})
            filtered.append(time.perf_counter() - began)
            if not repeat:
                found += len({hit.record.id for hit in hits} & exact[number])
    return (
        added,
        *_percentiles(taken),
        _percentiles(filtered)[0],
        100 * found / (NEAREST * len(queries)),
    )


def _limit(
    points: NDArray[np.float32], queries: NDArray[np.float32], repeats: int
) -> tuple[Cell, ...]:
    import numpy as np

    taken = []
    for _ in range(repeats):
        for query in queries:
            began = time.perf_counter()
            similarities = points @ query
            best = np.argpartition(-similarities, NEAREST)[:NEAREST]
            best[np.argsort(-similarities[best])]
            taken.append(time.perf_counter() - began)
    return ("numpy, one matrix (limit)", 0.0, *_percentiles(taken), "", 100.0)


def drawn(count: int, queries: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stored vectors [``count``, D] and vectors to search with [``queries``, D], of length one."""
    import numpy as np

    random = np.random.default_rng(SEED)
    turned = random.normal(size=(_RANK, DIMENSION)) / _RANK**0.5
    low = random.normal(size=(count + queries, _RANK))
    noise = _NOISE * random.normal(size=(len(low), DIMENSION))
    every = (low @ turned + noise).astype(np.float32)
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    return every[:count], every[count:]


def nearest(points: NDArray[np.float32], queries: NDArray[np.float32]) -> list[set[str]]:
    """The numbers of the ``NEAREST`` nearest to each query."""
    import numpy as np

    order = np.argsort(-(queries @ points.T), axis=1)[:, :NEAREST]
    return [{str(number) for number in row} for row in order]


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """Median and 95th percentile, in ms."""
    return 1000 * statistics.median(seconds), 1000 * statistics.quantiles(seconds, n=20)[-1]
