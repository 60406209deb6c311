"""The strategy memory with several processes at once, and its index in Chroma beside it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from reverie.knowledge.strategies import Run, SimilarRun, StrategyMemory, Trial
from reverie.knowledge.strategies.chroma import LOCK, TaskIndex

D = 32
RUNS = 40


def vector(number: int) -> NDArray[np.float32]:
    """The question of run ``number``: all of them are different, neighbours a little alike."""
    random = np.random.default_rng(number // 2)
    mixed = random.normal(size=D) + 0.3 * np.random.default_rng(number).normal(size=D)
    return (mixed / np.linalg.norm(mixed)).astype(np.float32)


def run_of(name: str, number: int) -> Run:
    trial = Trial("direct", 0.5, answer="42", features=(1.0,), features_version="f1", calls=1)
    used = Trial("dream", 0.5, answer="43", features=(0.0,), features_version="f1", accepted=True)
    return Run(f"{name}-{number:04}", f"question {number}", "dream", 0.5, trials=(trial, used))


@asynccontextmanager
async def opened(path: Path, index_from: int = -1) -> AsyncIterator[StrategyMemory]:
    memory = await StrategyMemory.open(
        path, embedder="test", dimension=D, memory=10**9, index_from=index_from
    )
    try:
        yield memory
    finally:
        await memory.close()


async def fill(memory: StrategyMemory, name: str, numbers: range) -> None:
    for number in numbers:
        run = run_of(name, number)
        await memory.record(run, vector(number))
        await memory.score(run.run_id, 1.0, source="verifier")
        await memory.score(run.run_id, 0.0)
        await memory.score(run.run_id, 0.5, source="confidence", position=0)


def fill_in_process(path: Path, name: str) -> None:
    async def work() -> None:
        async with opened(path) as memory:
            await fill(memory, name, range(RUNS))

    asyncio.run(work())


async def in_processes(target: object, *arguments: tuple[object, ...]) -> None:
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=target, args=a) for a in arguments]  # type: ignore[arg-type]  # a function of this module
    for child in children:
        child.start()
    for child in children:
        await asyncio.to_thread(child.join, 100)
    assert [child.exitcode for child in children] == [0] * len(children)


async def test_what_two_processes_record_and_score_at_once_is_all_there(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"

    await in_processes(fill_in_process, (path, "one"), (path, "two"))

    async with opened(path) as memory:
        log = await memory.outcomes(0, "f1")
        assert [o.seq for o in log] == sorted({o.seq for o in log})
        # Per run: a verifier's score, feedback in its place, and a confidence for the other.
        assert len(log) == 2 * RUNS * 3
        assert Counter(o.replaces for o in log) == {False: 2 * RUNS * 2, True: 2 * RUNS}
        in_force = await memory.scored("f1")
        assert Counter((o.strategy, o.score, o.source) for o in in_force) == {
            ("dream", 0.0, "feedback"): 2 * RUNS,
            ("direct", 0.5, "confidence"): 2 * RUNS,
        }
        assert sum(c["tasks"] for c in await memory.clusters()) == 2 * RUNS
        assert (await memory.posteriors(vector(0), ["dream"]))[0]["runs"] == 2 * RUNS


# -- the index in Chroma ---------------------------------------------------------------------------

chroma = importlib.util.find_spec("chromadb")
needs_chroma = pytest.mark.skipif(chroma is None, reason="chromadb is not installed")


def index_of(memory: StrategyMemory) -> TaskIndex:
    return memory._index


async def level(memory: StrategyMemory) -> None:
    """Wait for what works in the background, then bring the index level."""
    await asyncio.to_thread(index_of(memory).sync)


async def nearest(memory: StrategyMemory, number: int) -> list[tuple[str, float]] | None:
    return await asyncio.to_thread(index_of(memory).nearest, vector(number), 3)


async def exactly(path: Path, number: int) -> list[SimilarRun]:
    async with opened(path) as memory:
        return await memory.similar(vector(number), 3)


@needs_chroma
async def test_the_index_finds_what_the_exact_search_finds(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"
    async with opened(path, index_from=1) as memory:
        await fill(memory, "run", range(60))
        await level(memory)

        for number in (0, 17, 59):
            found = await nearest(memory, number)
            assert found is not None
            assert found[0][0] == f"run-{number:04}"
            indexed = await memory.similar(vector(number), 3)
            exact = await exactly(path, number)
            assert [r["run_id"] for r in indexed] == [r["run_id"] for r in exact]
            assert [r["similarity"] for r in indexed] == pytest.approx(
                [r["similarity"] for r in exact], abs=1e-5
            )
        assert memory.notices == ()


@needs_chroma
async def test_while_the_index_is_behind_the_exact_search_answers(tmp_path: Path) -> None:
    async with opened(tmp_path / "strategies.sqlite", index_from=1) as memory:
        await fill(memory, "run", range(10))
        await level(memory)
        index_of(memory)._usable = False  # or it would catch up by itself
        await fill(memory, "new", range(100, 101))

        assert await nearest(memory, 100) is None
        assert (await memory.similar(vector(100), 1))[0]["run_id"] == "new-0100"
        await level(memory)
        found = await nearest(memory, 100)
        assert found is not None
        assert found[0][0] == "new-0100"


@needs_chroma
async def test_what_is_too_old_hides_nothing_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.knowledge.strategies.memory.NEIGHBOURS", 4)
    memory = await StrategyMemory.open(
        tmp_path / "strategies.sqlite", embedder="test", dimension=D, memory=2, index_from=1
    )
    for number in range(40):  # the question of the first ten is asked again and again
        run = run_of("run", number)
        await memory.record(run, vector(0 if number < 10 else 1))
        await memory.score(run.run_id, 1.0)
    await level(memory)

    near = await asyncio.to_thread(index_of(memory).nearest, vector(0), 4)
    assert near is not None
    assert all(run_id < "run-0010" for run_id, _ in near)
    (found,) = await memory.similar(vector(0), 1)
    assert found["run_id"] >= "run-0010"
    await memory.close()


@needs_chroma
async def test_a_process_that_goes_on_recording_follows_by_itself(tmp_path: Path) -> None:
    async with opened(tmp_path / "strategies.sqlite", index_from=5) as memory:
        await fill(memory, "run", range(10))
        deadline = time.monotonic() + 60
        while await nearest(memory, 3) is None:
            assert time.monotonic() < deadline, "the index never came level"
            await asyncio.sleep(0.05)


async def test_one_question_alone_never_imports_chroma(tmp_path: Path) -> None:
    """A process that answers one question, with far more runs than the index begins at."""
    path = tmp_path / "strategies.sqlite"
    async with opened(path) as memory:
        await fill(memory, "run", range(4))
    code = f"""
import asyncio, sys
from pathlib import Path
from tests_vector import vector
from reverie.knowledge.strategies import Run, StrategyMemory
async def main():
    memory = await StrategyMemory.open(
        Path({str(path)!r}), embedder="test", dimension={D}, index_from=1)
    await memory.similar(vector(3)), await memory.sequences(vector(3))
    await memory.record(Run("new", "q", "direct", 1.0, answer="a"), vector(3))
    await memory.score("new", 1.0)
    await memory.close()
asyncio.run(main())
print("chromadb" in sys.modules)
"""
    (tmp_path / "tests_vector.py").write_text(
        "import numpy as np\n"
        f"def vector(n): return np.random.default_rng(n).normal(size={D}).astype('float32')\n"
    )

    def ask() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        return done.stdout.strip()

    assert await asyncio.to_thread(ask) == "False"


def fill_with_index(path: Path, name: str) -> None:
    async def work() -> None:
        async with opened(path, index_from=1) as memory:
            for start in range(0, 30, 10):
                await fill(memory, name, range(start, start + 10))
                await level(memory)

    asyncio.run(work())


@needs_chroma
async def test_two_processes_share_an_index_and_nothing_in_it_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"

    await in_processes(fill_with_index, (path, "one"), (path, "two"))

    async with opened(path, index_from=1) as memory:
        await level(memory)
        assert memory.notices == ()
        every = await asyncio.to_thread(index_of(memory).nearest, vector(0), 1000)
        assert every is not None
        assert Counter(run_id for run_id, _ in every) == Counter(
            f"{name}-{number:04}" for name in ("one", "two") for number in range(30)
        )


@needs_chroma
async def test_what_another_process_wrote_is_seen_after_opening_anew(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"
    async with opened(path, index_from=1) as memory:
        await fill(memory, "run", range(10))
        await level(memory)

        await in_processes(fill_with_index, (path, "other"))

        index_of(memory)._usable = False
        assert await nearest(memory, 5) is None  # of another generation
        await level(memory)
        found = await nearest(memory, 5)
        assert found is not None
        assert {run_id for run_id, _ in found} >= {"run-0005", "other-0005"}


@needs_chroma
async def test_a_locked_index_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.knowledge.strategies.chroma._LOCK_SECONDS", 0.2)
    async with opened(tmp_path / "strategies.sqlite", index_from=1) as memory:
        index_of(memory)._usable = False
        await fill(memory, "run", range(10))
        root = index_of(memory).root
        await asyncio.to_thread(root.mkdir)
        with FileLock(root / LOCK):
            await level(memory)
            assert await nearest(memory, 5) is None
            assert (await memory.similar(vector(5), 1))[0]["run_id"] == "run-0005"
        assert memory.notices == ()
        await level(memory)
        assert await nearest(memory, 5) is not None


def overwrite(root: Path) -> None:
    for file in root.glob("tasks-*/**/*"):
        if file.is_file():
            file.write_bytes(b"this is no database " * 50)


def empty(root: Path) -> None:
    shutil.rmtree(root)


def age(root: Path) -> None:
    with closing(sqlite3.connect(root.with_name("strategies.sqlite"))) as connection:
        connection.execute("UPDATE task_index SET version = '0.4'")
        connection.commit()


@needs_chroma
@pytest.mark.parametrize(
    ("harm", "why"),
    [(overwrite, "made anew"), (empty, "10 of its tasks are missing"), (age, "chromadb 0.4")],
)
async def test_a_harmed_index_is_made_anew_and_said(tmp_path: Path, harm: object, why: str) -> None:
    path = tmp_path / "strategies.sqlite"
    async with opened(path, index_from=1) as memory:
        await fill(memory, "run", range(10))
        await level(memory)
        root = index_of(memory).root
    await asyncio.to_thread(harm, root)  # type: ignore[arg-type]  # one of the three above

    async with opened(path, index_from=1) as memory:
        await level(memory)

        (notice,) = memory.notices
        assert why in notice
        assert "made anew" in notice
        found = await nearest(memory, 5)
        assert found is not None
        assert found[0][0] == "run-0005"


@needs_chroma
async def test_a_writer_that_is_killed_leaves_an_index_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"
    script = tmp_path / "writer.py"
    script.write_text(
        f"""
import asyncio, json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_strategy_memory as here
from pathlib import Path
async def main():
    async with here.opened(Path({str(path)!r}), index_from=1) as memory:
        for number in range(10_000):
            await here.fill(memory, "run", range(number, number + 1))
            await here.level(memory)
            print(json.dumps(number), flush=True)
asyncio.run(main())
"""
    )

    def kill_in_the_middle() -> int:
        writer = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
        )
        assert writer.stdout is not None
        done = -1
        for line in writer.stdout:
            done = json.loads(line)
            if done >= 12:
                writer.kill()
                break
        writer.stdout.close()
        writer.wait()
        return done

    written = await asyncio.to_thread(kill_in_the_middle)

    async with opened(path, index_from=1) as memory:
        await level(memory)
        every = await asyncio.to_thread(index_of(memory).nearest, vector(0), 1000)
        scored = {o.run_id for o in await memory.scored("f1")}
        assert every is not None
        assert {run_id for run_id, _ in every} == scored
        assert len(scored) > written
