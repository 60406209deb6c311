"""Procedures in several processes, and their vectors in a real Chroma."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.knowledge.sops import Sop, SopBook, StoredSop, similarities
from reverie.knowledge.vectors import VectorRecord, open_vectors
from reverie.settings import Settings
from tests.unit.conftest import HashEmbedder

ADDING = """
import asyncio, sys
from pathlib import Path
from reverie.knowledge.sops import Sop, SopBook

async def main(path, who):
    book = await SopBook.open(Path(path))
    for number in range(10):
        sop = Sop(name="water", description=f"{who} {number}", steps=["Go"])
        await book.add([sop], who)
    await book.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_two_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sops.sqlite"
    adding = [
        subprocess.Popen([sys.executable, "-c", ADDING, str(path), who], stderr=subprocess.PIPE)
        for who in ("first", "second")
    ]
    for process in adding:
        _, error = process.communicate()
        assert process.returncode == 0, error.decode()

    async def read() -> list[StoredSop]:
        book = await SopBook.open(path)
        try:
            return await book.versions("water")
        finally:
            await book.close()

    versions = asyncio.run(read())
    assert [v.number for v in versions] == list(range(1, 21))
    assert sum(v.current for v in versions) == 1


async def test_an_index_in_chroma_finds_what_comparing_them_all_does(tmp_path: Path) -> None:
    pytest.importorskip("chromadb", reason="needs the extra knowledge")
    book = await SopBook.open(tmp_path / "sops.sqlite")
    settings, embedder = Settings(home=tmp_path), HashEmbedder()
    task = (await embedder.embed(["find a bug in the code"]))[0]
    given: Any = embedder

    exact = await similarities(task, book, await book.current(), given, settings)
    indexed = await similarities(task, book, await book.current(), given, settings, index_from=2)
    assert indexed == pytest.approx(exact, abs=1e-4)

    # What is new or changed is found at once, and what was removed no more.
    await book.remove("review_code")
    await book.add([Sop(name="mine", description="find a bug in the code", steps=["Go"])], "x")
    current = await book.current()
    indexed = await similarities(task, book, current, given, settings, index_from=2)
    assert set(indexed) == {one.key for one in current}
    assert max(indexed, key=indexed.__getitem__).startswith("mine@")

    # Of what others, or versions of before, have there, however near and many, there may be any.
    store = await open_vectors(settings, "sops", embedder=given.name, dimension=given.dimension)
    others = [VectorRecord(f"other@{number}") for number in range(300)]
    await store.write(others, np.tile(task, (len(others), 1)))
    await store.close()
    crowded = await similarities(task, book, current, given, settings, index_from=2)
    assert crowded == pytest.approx(indexed, abs=1e-4)
    await book.close()
