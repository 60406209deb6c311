"""From how many chunks on a library should ask Chroma: its exact search against the index.

Both as ``reverie search`` has them: the exact one reads every vector from ``library.sqlite`` at the
first search and compares with all of them at each; the index is Chroma in a folder, which is
imported and opened at the first search. Each side in a process of its own. Vectors as in
``vectors``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ReverieError
from reverie.evals.bench import Cell, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.evals.bench.vectors import DIMENSION, NEAREST, SEED, drawn, nearest
from reverie.knowledge.library.library import LIBRARY_FILE
from reverie.knowledge.library.parts import Parts
from reverie.knowledge.library.sources import VectorSource
from reverie.knowledge.library.store import LibraryStore
from reverie.knowledge.search.engine import POOL
from reverie.knowledge.search.records import Query
from reverie.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIZES: Final = (5_000, 20_000, 50_000, 100_000)
_QUERIES: Final = 200
_EMBEDDER: Final = "drawn"


def run(repeats: int, progress: Progress) -> Report:
    """Every size with the same queries, ``repeats`` times."""
    rows = tuple(_row(size, repeats, progress) for size in _SIZES)
    return Report(
        (
            Table(
                f"Chunks of {DIMENSION} numbers; the nearest {POOL} are asked for",
                (
                    "chunks",
                    "exact, first, ms",
                    "exact, p50, ms",
                    "exact, p95, ms",
                    "Chroma, first, ms",
                    "Chroma, p50, ms",
                    "Chroma, p95, ms",
                    f"Chroma, recall@{NEAREST}, %",
                    "Chroma, filling, s",
                ),
                rows,
            ),
        ),
        (),
        {
            "seed": SEED,
            "queries": _QUERIES * repeats,
            "processor": processor(),
            "load": load_average(),
        },
    )


def _row(size: int, repeats: int, progress: Progress) -> tuple[Cell, ...]:
    points, queries = drawn(size, _QUERIES)
    with TemporaryDirectory(prefix="reverie-bench-") as place:
        home = Path(place)
        progress(f"{size} chunks: filling")
        filling = asyncio.run(_fill(home, points))
        progress(f"{size} chunks: searching")
        exact = _in_a_process("exact", home, size, repeats)
        chroma = _in_a_process("chroma", home, size, repeats)
    cells = [side[what] for side in (exact, chroma) for what in ("first", "p50", "p95")]
    found = [set(keys) for keys in chroma["found"]]
    hits = sum(len(a & b) for a, b in zip(found, nearest(points, queries), strict=True))
    return (size, *cells, 100 * hits / (NEAREST * len(queries)), filling)


async def _fill(home: Path, points: NDArray[np.float32]) -> float:
    """A library with these vectors; the seconds that its index took to follow."""
    parts = await asyncio.to_thread(_parts, home)
    try:
        await asyncio.to_thread(_store, parts, points)
        index = await parts.index()
        began = time.perf_counter()
        await index.follow(DIMENSION)
        return time.perf_counter() - began
    finally:
        await parts.close()


def _parts(home: Path) -> Parts:
    store = LibraryStore(home / LIBRARY_FILE)
    return Parts(Settings(home=home), store, embedder=None, graph=None, vectors=None)


def _store(parts: Parts, points: NDArray[np.float32]) -> None:
    """One file with a chunk for every vector, called by its number."""
    with parts.store.database.writing() as connection:
        connection.execute("INSERT INTO files VALUES (1, 'drawn', 0, 0, '', '', '', 0)")
        connection.executemany(
            "INSERT INTO chunks (key, file_id, document, position, kind, name, title, headings, "
            "docstring, text, embedding_text, hash, first_line, last_line) "
            "VALUES (?1, 1, 0, 0, 'prose', '', '', '[]', '', '', '', ?1, 1, 1)",
            [(str(number),) for number in range(len(points))],
        )
        connection.executemany(
            "INSERT INTO vectors (hash, embedder, vector) VALUES (?, ?, ?)",
            [(str(number), _EMBEDDER, row.tobytes()) for number, row in enumerate(points)],
        )
    parts.stored.begin(_EMBEDDER, DIMENSION, again=False)


def _in_a_process(side: str, home: Path, size: int, repeats: int) -> Any:
    named = [side, str(home), str(size), str(repeats)]
    done = subprocess.run(
        [sys.executable, "-m", __name__, *named], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ReverieError(
            f"searching ended with {done.returncode}: {done.stderr.strip()[-500:]}",
            hint="pip install 'reverie[knowledge]'",
        )
    return json.loads(done.stdout)


async def _search(side: str, home: Path, queries: NDArray[np.float32], repeats: int) -> Any:
    """Milliseconds of the first search, which opens what it needs, and of the others."""
    parts = await asyncio.to_thread(_parts, home)
    taken: list[float] = []
    found: list[list[str]] = []
    try:
        began = time.perf_counter()
        index = await parts.index() if side == "chroma" else None
        source = VectorSource(parts.stored, index, _EMBEDDER)
        await source.rank(Query("", queries[0]), POOL, {})
        first = time.perf_counter() - began
        for repeat in range(repeats):
            for query in queries:
                began = time.perf_counter()
                ranked = await source.rank(Query("", query), POOL, {})
                taken.append(1000 * (time.perf_counter() - began))
                if not repeat:
                    found.append([one.id for one in ranked[:NEAREST]])
    finally:
        await parts.close()
    if source.warnings:
        raise ReverieError(source.warnings[0])
    p95 = statistics.quantiles(taken, n=20)[-1]
    return {"first": 1000 * first, "p50": statistics.median(taken), "p95": p95, "found": found}


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("exact", "chroma"))
    parser.add_argument("home", type=Path)
    parser.add_argument("size", type=int)
    parser.add_argument("repeats", type=int)
    told = parser.parse_args()
    _, queries = drawn(told.size, _QUERIES)
    print(json.dumps(asyncio.run(_search(told.side, told.home, queries, told.repeats))))


if __name__ == "__main__":
    _main()
