"""Kinds of tasks are found while the tasks come, and none is lost or counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.knowledge.strategies import Run, StrategyMemory
from reverie.knowledge.strategies import clusters as module

KINDS = np.eye(4, 16, dtype=np.float32)


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[StrategyMemory]:
    store = await StrategyMemory.open(tmp_path / "s.sqlite", embedder="test", dimension=16)
    yield store
    await store.close()


async def asked(memory: StrategyMemory, number: int, vector: object) -> None:
    run = Run(f"run-{number}", f"question {number}", "direct", 1.0)
    await memory.record(run, np.asarray(vector, dtype=np.float32))


async def test_tasks_of_four_kinds_make_four_clusters(memory: StrategyMemory) -> None:
    random = np.random.default_rng(0)
    for number in range(80):
        await asked(memory, number, KINDS[number % 4] + 0.1 * random.normal(size=16))

    found = await memory.clusters()

    assert [c["tasks"] for c in found] == [20, 20, 20, 20]
    assert [c["example"] for c in found] == [f"question {i}" for i in range(4)]


async def test_a_run_that_is_stored_again_counts_once(memory: StrategyMemory) -> None:
    for _ in range(3):
        await asked(memory, 1, KINDS[0])
    assert [c["tasks"] for c in await memory.clusters()] == [1]

    await asked(memory, 1, KINDS[1])
    assert sorted(c["tasks"] for c in await memory.clusters()) == [0, 1]


async def test_beyond_the_most_clusters_tasks_join_the_nearest(
    memory: StrategyMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CLUSTERS", 2)
    for number in range(4):
        await asked(memory, number, KINDS[number])

    assert sum(c["tasks"] for c in await memory.clusters()) == 4
    assert len(await memory.clusters()) == 2


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None)
def test_every_task_is_in_exactly_one_cluster(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[int]
) -> None:
    async def counted() -> list[int]:
        path = tmp_path_factory.mktemp("m") / "s.sqlite"
        memory = await StrategyMemory.open(path, embedder="test", dimension=16)
        try:
            for number, kind in enumerate(kinds):
                await asked(memory, number, KINDS[kind])
            return [c["tasks"] for c in await memory.clusters()]
        finally:
            await memory.close()

    assert sorted(asyncio.run(counted())) == sorted(kinds.count(k) for k in set(kinds))
