"""Ingesting the running Python's standard library: chunks per second, the embedder's share, memory,
and a second run over the same files.

The packaged embedder reads about a hundred chunks a second per core, so the default is 1 MB of
sources; ``BENCH_INGEST_MB=5`` takes more. Ingested once, in a process of its own, whose
memory is what it holds at most.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from reverie.errors import ConfigError, ReverieError
from reverie.evals.bench import Cell, Goal, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.settings import load_settings

SIZE: Final = "BENCH_INGEST_MB"

_MOST_SECOND_RUN: Final = 2.0
_PARTS: Final = ("list", "read", "embed", "store", "graph", "index")

_CHILD: Final = """
import asyncio, dataclasses, json, resource, sys, time
from pathlib import Path
from reverie.knowledge.library import Library
from reverie.settings import load_settings

async def main(folder):
    library = await Library.open(load_settings().settings)
    counts, ended, failed = {}, None, []
    began = time.perf_counter()
    async for event in library.ingest([Path(folder)]):
        counts[event.type] = counts.get(event.type, 0) + 1
        counts["texts"] = counts.get("texts", 0) + getattr(event, "texts", 0)
        failed += [event.reason] if event.type == "failed" else []
        ended = event
    seconds = time.perf_counter() - began
    status = await library.status()
    await library.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({
        "seconds": seconds, "parts": ended.parts, "counts": counts, "chunks": status.chunks,
        "files": status.files, "stored": status.stored, "failed": failed,
        "peak": peak / 1024 if sys.platform != "darwin" else peak / 2**20,
    }))

asyncio.run(main(sys.argv[1]))
"""


def run(repeats: int, progress: Progress) -> Report:
    """``repeats`` counts for the second run only: the first one takes minutes."""
    most = _megabytes()
    with TemporaryDirectory(prefix="reverie-bench-") as place:
        folder, home = Path(place, "sources"), Path(place, "home")
        files, size = _copy_sources(folder, most)
        progress(f"ingesting {files} files, {size / 1e6:.1f} MB")
        first = _ingest(home, folder)
        progress("the same again")
        second = [_ingest(home, folder) for _ in range(repeats)]
    again = max(run["seconds"] for run in second)
    # Overlapping parts: their sum is more than the whole.
    parts = tuple(
        (part, first["parts"].get(part, 0.0), first["parts"].get(part, 0.0) / first["seconds"])
        for part in _PARTS
    )
    rows: tuple[tuple[Cell, ...], ...] = (
        ("files", first["files"]),
        ("chunks", first["chunks"]),
        ("texts embedded", first["counts"]["texts"]),
        ("seconds", first["seconds"]),
        ("chunks per second", first["chunks"] / first["seconds"]),
        ("peak memory, MiB", first["peak"]),
        ("library.sqlite, MB", first["stored"] / 1e6),
        ("second run, seconds (slowest)", again),
        ("second run, files skipped", second[0]["counts"].get("skipped", 0)),
        ("failed", len(first["failed"])),
    )
    return Report(
        (
            Table(f"Ingesting {size / 1e6:.1f} MB of Python sources", ("what", "value"), rows),
            Table("Its parts, which overlap", ("part", "seconds", "share of the whole"), parts),
        ),
        (Goal("second run over unchanged files, seconds", _MOST_SECOND_RUN, again),),
        {
            "python": sys.version.split()[0],
            "embedder": load_settings().settings.embedder.name,
            "machine": processor(),
            "load average": load_average(),
        },
    )


def _megabytes() -> float:
    text = os.environ.get(SIZE, "1")
    try:
        most = float(text)
    except ValueError:
        most = 0.0
    if not 0 < most <= 1000:
        raise ConfigError(f"{SIZE} is {text!r}", hint="Megabytes of sources, as in 5")
    return most


def _copy_sources(folder: Path, megabytes: float) -> tuple[int, int]:
    """Modules and packages in order of their names, without tests, until there is enough."""
    library = Path(sysconfig.get_path("stdlib"))
    left_out = {"test", "tests", "site-packages", "idlelib", "lib2to3", "__pycache__"}
    files = size = 0
    for path in sorted(library.rglob("*.py")):
        below = path.relative_to(library)
        if left_out & set(below.parts):
            continue
        content = path.read_bytes()
        target = folder / below
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        files, size = files + 1, size + len(content)
        if size >= megabytes * 1e6:
            break
    return files, size


def _ingest(home: Path, folder: Path) -> Any:
    environment = {
        **os.environ,
        "REVERIE_MODEL_CACHE": str(load_settings().settings.models_folder),
        "REVERIE_HOME": str(home),
    }
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, folder],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ReverieError(
            f"the ingest ended with {done.returncode}: {done.stderr.strip()[-500:]}",
            hint="Run `reverie ingest` on the same sources to see why",
        )
    return json.loads(done.stdout)
