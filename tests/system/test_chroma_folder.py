"""A Chroma folder with several processes at once, also such that are stopped or killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.vectors import VectorRecord
from reverie.knowledge.vectors.chroma_store import ChromaFolderVectors

pytest.importorskip("chromadb", reason="chromadb is not installed")

D = 32
ROUNDS = 10
TOGETHER = 4
"""Records of one write."""


def vector(name: str) -> NDArray[np.float32]:
    """A direction of its own for every name, [D]."""
    drawn = np.random.default_rng(list(name.encode())).normal(size=D)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


@asynccontextmanager
async def opened(root: Path, wait_seconds: float = 30.0) -> AsyncIterator[ChromaFolderVectors]:
    store = await ChromaFolderVectors.open(
        root, "documents", embedder="test", dimension=D, wait_seconds=wait_seconds
    )
    try:
        yield store
    finally:
        await store.close()


async def write(store: ChromaFolderVectors, names: list[str]) -> None:
    records = [VectorRecord(name, f"text of {name}", {"by": name[0]}) for name in names]
    await store.write(records, np.stack([vector(name) for name in names]))


async def assert_found(store: ChromaFolderVectors, name: str) -> None:
    (hit,) = await store.search(vector(name), limit=1)
    assert hit.record.id == name
    (hit,) = await store.search(vector(name), limit=1, where={"by": name[0]})
    assert hit.record.id == name


def acknowledged(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").split() if log.exists() else []


def write_and_search(root: Path, me: str, other: str) -> None:
    """Writes, says so in a file, and searches for the latest that the other one says it wrote."""

    async def work() -> None:
        async with opened(root) as store:
            for number in range(ROUNDS):
                names = [f"{me}-{number}-{place}" for place in range(TOGETHER)]
                await write(store, names)
                with (root / f"{me}.log").open("a", encoding="utf-8") as log:
                    log.write("".join(f"{name}\n" for name in names))
                for name in (names[0], *acknowledged(root / f"{other}.log")[-1:]):
                    await assert_found(store, name)

    asyncio.run(work())


async def test_two_processes_write_and_search_and_nothing_is_lost(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    pairs = ((tmp_path, "a", "b"), (tmp_path, "b", "a"))
    async with opened(tmp_path) as store:
        children = [context.Process(target=write_and_search, args=pair) for pair in pairs]
        for child in children:
            child.start()
        while any(child.is_alive() for child in children):
            for name in ("a", "b"):
                for written in acknowledged(tmp_path / f"{name}.log")[-1:]:
                    await assert_found(store, written)
            await asyncio.sleep(0.02)
        for child in children:
            await asyncio.to_thread(child.join)
        assert [child.exitcode for child in children] == [0, 0]

        every = [f"{n}-{i}-{p}" for n in "ab" for i in range(ROUNDS) for p in range(TOGETHER)]
        assert await store.count() == len(every)
        assert set(await store.get(every)) == set(every)
        for name in every:
            await assert_found(store, name)
        assert store.notices == ()


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import test_chroma_folder as here
from pathlib import Path

async def main():
    async with here.opened(Path(sys.argv[2])) as store:
        for number in range(10_000):
            names = [f"{sys.argv[3]}-{number}-{place}" for place in range(int(sys.argv[4]))]
            print("begins", flush=True)
            await here.write(store, names)
            print(f"wrote {number}", flush=True)

asyncio.run(main())
"""


@contextmanager
def writer(root: Path, name: str, together: int) -> Iterator[subprocess.Popen[str]]:
    """A process that writes without end, and says of each write that it begins and that it did."""
    script = root / "writer.py"
    script.write_text(WRITER, encoding="utf-8")
    here = str(Path(__file__).parent)
    child = subprocess.Popen(
        [sys.executable, str(script), here, str(root), name, str(together)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def killed(root: Path, name: str, together: int, delay: float) -> list[str]:
    """What a writer had acknowledged when it was killed, ``delay`` into its fourth write."""
    written = -1
    with writer(root, name, together) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("wrote"):
                written = int(line.split()[1])
            elif written >= 2:
                break
        time.sleep(delay)
        child.kill()
        written += child.stdout.read().count("wrote")
    return [f"{name}-{n}-{place}" for n in range(written + 1) for place in range(together)]


async def test_a_writer_killed_in_the_middle_leaves_a_folder_that_works(tmp_path: Path) -> None:
    kept: list[str] = []
    async with opened(tmp_path) as store:
        await write(store, ["before"])
        for number, delay in enumerate((0.0, 0.03, 0.08)):
            kept += await asyncio.to_thread(killed, tmp_path, f"k{number}", 400, delay)

            await assert_found(store, kept[-1])
            await write(store, [f"after-{number}"])
            await assert_found(store, f"after-{number}")
        assert set(await store.get(kept)) == set(kept)
        for name in ("before", *kept[::97]):
            await assert_found(store, name)
        assert store.notices == ()


def stopped_in_a_write(root: Path, process: int) -> None:
    """Stops a writer while it holds the folder's lock."""
    (state,) = root.glob(".documents-*.json")
    while True:
        if json.loads(state.read_bytes())["writer"] == process:
            os.kill(process, signal.SIGSTOP)
            time.sleep(0.05)
            if json.loads(state.read_bytes())["writer"] == process:
                return
            os.kill(process, signal.SIGCONT)
        time.sleep(0.005)


async def test_a_second_writer_waits_and_then_names_the_first(tmp_path: Path) -> None:
    async with opened(tmp_path, wait_seconds=0.5) as store:
        await write(store, ["mine"])
        with writer(tmp_path, "hold", 1000) as child:
            await asyncio.to_thread(stopped_in_a_write, tmp_path, child.pid)

            with pytest.raises(KnowledgeUnavailable, match=f"process {child.pid} ") as caught:
                await write(store, ["late"])
            assert "chroma run --path" in caught.value.hint
            assert "REVERIE_CHROMA_URL" in caught.value.hint
            await assert_found(store, "mine")  # who only searches goes on

        await write(store, ["late"])
        await assert_found(store, "late")


def torn(root: Path) -> None:
    """Cuts off the files that Chroma overwrites in place, as a process killed then leaves them."""
    files = [path for path in root.glob("documents-*/*/*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[:100])


def unfinished(root: Path) -> None:
    """Makes it look as if a process had been killed while it wrote."""
    (state,) = root.glob(".documents-*.json")
    told = json.loads(state.read_bytes())
    state.write_text(json.dumps({**told, "writer": 2**22 + 1}), encoding="utf-8")


async def test_index_files_that_a_killed_writer_left_torn_are_mended(tmp_path: Path) -> None:
    names = [f"n-{number}" for number in range(2500)]
    async with opened(tmp_path) as store:
        await write(store, names)
        epoch = await store.epoch()
    await asyncio.to_thread(torn, tmp_path)
    await asyncio.to_thread(unfinished, tmp_path)

    async with opened(tmp_path) as store:
        assert (store.notices, await store.epoch(), await store.count()) == ((), epoch, 2500)
        for name in names[::50]:
            await assert_found(store, name)
        await write(store, ["again"])
        await assert_found(store, "again")


async def test_what_was_cleared_leaves_no_files(tmp_path: Path) -> None:
    def indexes() -> list[Path]:
        return list(tmp_path.glob("documents-*/*/"))

    names = [f"n-{number}" for number in range(500)]
    async with opened(tmp_path) as store:
        for _ in range(3):
            await store.clear()
            await write(store, names)
        await assert_found(store, "n-7")
        assert len(await asyncio.to_thread(indexes)) == 1


async def test_index_files_that_are_damaged_otherwise_are_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await write(store, [f"n-{number}" for number in range(2500)])
        epoch = await store.epoch()
    await asyncio.to_thread(torn, tmp_path)

    async with opened(tmp_path) as store:
        (notice,) = store.notices
        assert "kept as" in notice
        assert (await store.count(), await store.epoch() != epoch) == (0, True)
        await write(store, ["again"])
        await assert_found(store, "again")
