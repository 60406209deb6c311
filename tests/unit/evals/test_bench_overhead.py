"""The overhead benchmark, in small."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reverie.evals.bench import overhead
from reverie.evals.bench.instant import InstantModel


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "_RUNS", 2)
    monkeypatch.setattr(overhead, "_ARMS", (("dream", {"strategy": "dream", "branches": 3}),))
    for name, value in {"_FINISHED": 6, "_EVERY": 2, "_SETTLED": 2}.items():
        monkeypatch.setattr(overhead, name, value)


async def test_every_arm_is_measured_and_memory_too() -> None:
    said: list[str] = []

    report = await overhead._run(1, said.append)

    table, memory = report.tables
    assert [row[1] for row in table.rows] == ["none", "memory", "sqlite"]
    for row in table.rows:
        nodes, plain, graph = row[2:5]
        # recall, select, ground, three dreams, arbitrate, the strategy, assess, answer, learn
        assert nodes == 11
        assert 0 < float(plain) < float(graph)
    assert [row[0] for row in memory.rows] == ["2", "4", "6"]
    assert len(report.goals) == 4
    assert report.facts["seed"] == 0
    assert len(said) == 4


async def test_the_same_calls_are_made_without_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = []
    running = 0
    stream = InstantModel._astream

    async def counted(self: InstantModel, *args: Any, **kwargs: Any) -> Any:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0)
        async for chunk in stream(self, *args, **kwargs):
            yield chunk
        running -= 1

    async with overhead._graph("none", {"strategy": "dream", "branches": 3}) as (_, resources):
        fields = {"strategy": "dream", "branches": 3}
        _, prompts = await overhead._looked_at(fields, resources)
        monkeypatch.setattr(InstantModel, "_astream", counted)
        await overhead._calls(resources.instant, prompts)

    assert [len(together) for together in prompts] == [3]
    assert at_once == [1, 2, 3]
    assert len({together[-1].text for together in prompts[0]}) >= 1
