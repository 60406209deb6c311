"""Sequences: recalled by measured success on similar tasks, composed of pieces, and forgotten."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reverie.knowledge.strategies import RecalledSequence, Run, StrategyMemory, Trial

COSTS = {"direct": 100, "chain_of_thought": 300, "tools": 200, "dream": 900}


def at(cosine: float, axis: int = 1) -> NDArray[np.float32]:
    """A task whose similarity to ``at(1.0)`` is ``cosine``."""
    vector = np.zeros(4, dtype=np.float32)
    vector[0], vector[axis] = cosine, math.sqrt(1 - cosine**2)
    return vector


class Tasks:
    """Writes runs: pairs of a strategy and its score, of which the last was accepted."""

    def __init__(self, memory: StrategyMemory) -> None:
        self.memory = memory
        self.runs = 0

    async def ran(
        self, *tried: tuple[str, float | None], vector: NDArray[np.float32] | None = None
    ) -> None:
        self.runs += 1
        run_id = f"run-{self.runs:04}"
        trials = tuple(
            Trial(
                name,
                0.5,
                answer=f"answer {place}",
                tokens_in=COSTS[name],
                calls=1,
                accepted=place == len(tried) - 1,
            )
            for place, (name, _) in enumerate(tried)
        )
        run = Run(run_id, f"question {run_id}", tried[-1][0], 0.5, answer="a", trials=trials)
        await self.memory.record(run, at(1.0) if vector is None else vector)
        for place, (_, score) in enumerate(tried):
            if score is not None:
                await self.memory.score(run_id, score, position=place)


@pytest.fixture
async def tasks(tmp_path: Path) -> AsyncIterator[Tasks]:
    memory = await StrategyMemory.open(tmp_path / "s.sqlite", embedder="test", dimension=4)
    yield Tasks(memory)
    await memory.close()


def named(found: Sequence[RecalledSequence]) -> list[list[str]]:
    return [one["strategies"] for one in found]


async def test_without_scores_nothing_is_recalled(tasks: Tasks) -> None:
    assert await tasks.memory.sequences(at(1.0)) == []
    await tasks.ran(("direct", None))
    assert await tasks.memory.sequences(at(1.0)) == []


async def test_what_worked_on_similar_tasks_comes_first(tasks: Tasks) -> None:
    for _ in range(4):
        await tasks.ran(("direct", 0.0))
        await tasks.ran(("tools", 1.0))
        await tasks.ran(("direct", 1.0), vector=at(0.0, 2))

    near = await tasks.memory.sequences(at(1.0))
    far = await tasks.memory.sequences(at(0.0, 2))

    assert named(near)[0] == ["tools"]
    # Shrunk towards the average score of .5 by two outcomes' worth.
    assert near[0]["success"] == pytest.approx((2 * 0.5 + 4) / 6, abs=0.01)
    assert near[0]["runs"] == 4
    assert near[0]["tokens"] == pytest.approx(200.0)
    assert near[0]["similarity"] == pytest.approx(1.0)
    assert named(far) == [["direct"]]


async def test_a_run_that_ended_early_speaks_for_the_longer_plan_too(tasks: Tasks) -> None:
    for _ in range(3):
        await tasks.ran(("direct", 1.0))
    await tasks.ran(("direct", 0.0), ("tools", 1.0))

    found = {tuple(one["strategies"]): one for one in await tasks.memory.sequences(at(1.0), k=9)}

    plan = found["direct", "tools"]
    assert plan["runs"] == 4
    assert plan["tokens"] == pytest.approx((3 * 100 + 300) / 4, abs=1)
    # Alone, direct would have ended the fourth run with its own answer, which was wrong.
    assert found["direct",]["runs"] == 4
    assert plan["success"] > found["direct",]["success"]


async def test_a_dear_sequence_has_to_be_better(tasks: Tasks) -> None:
    for _ in range(4):
        await tasks.ran(("direct", 0.7))
        await tasks.ran(("dream", 0.8))

    free = await tasks.memory.sequences(at(1.0), allowed=["direct", "dream"])
    priced = await tasks.memory.sequences(at(1.0), price=0.5)

    assert next(one for one in named(free) if len(one) == 1) == ["dream"]
    assert named(priced)[0] == ["direct"]


async def test_pieces_that_worked_are_put_together(tasks: Tasks) -> None:
    """Behind a direct answer that was rejected, tools helped and more thought did not."""
    for _ in range(6):
        await tasks.ran(("direct", 1.0))
        await tasks.ran(("dream", 0.0), ("direct", 1.0))
        await tasks.ran(("chain_of_thought", 0.0), ("tools", 1.0))
        await tasks.ran(("direct", 0.0), ("chain_of_thought", 0.0))

    found = await tasks.memory.sequences(at(1.0), k=9)

    (composed,) = [one for one in found if one["composed"]]
    assert composed["strategies"][:2] == ["tools", "direct"]
    assert composed["runs"] > 0
    assert 0.5 < composed["success"] <= 1.0


async def test_what_follows_a_failure_is_chosen_by_what_helped_after_that_failure(
    tasks: Tasks,
) -> None:
    for _ in range(5):
        await tasks.ran(("direct", 0.9))
        await tasks.ran(("direct", 0.6), ("tools", 0.1))
        await tasks.ran(("direct", 0.6), ("dream", 0.7))
        await tasks.ran(("tools", 0.5), vector=at(0.6))

    found = await tasks.memory.sequences(at(1.0), k=9, price=0.0)

    plans = named(found)
    assert plans.index(["direct", "dream"]) < plans.index(["direct", "tools"])


async def test_strategies_that_are_not_allowed_are_in_no_sequence(tasks: Tasks) -> None:
    for _ in range(4):
        await tasks.ran(("direct", 0.0), ("tools", 1.0))
        await tasks.ran(("dream", 0.5))

    found = await tasks.memory.sequences(at(1.0), k=9, allowed=["direct", "dream"])

    assert found
    assert all("tools" not in one["strategies"] for one in found)


async def test_what_stopped_working_is_forgotten_and_can_come_back(tmp_path: Path) -> None:
    memory = await StrategyMemory.open(
        tmp_path / "s.sqlite", embedder="test", dimension=4, memory=10
    )
    tasks = Tasks(memory)
    try:
        for _ in range(10):
            await tasks.ran(("tools", 1.0))
        assert named(await memory.sequences(at(1.0))) == [["tools"]]
        for _ in range(40):
            await tasks.ran(("tools", 0.0))
        assert await memory.sequences(at(1.0)) == []
        for _ in range(20):
            await tasks.ran(("tools", 1.0))
        assert named(await memory.sequences(at(1.0))) == [["tools"]]
    finally:
        await memory.close()


async def test_a_task_of_the_same_kind_counts_even_if_it_is_worded_differently(
    tasks: Tasks,
) -> None:
    # One cluster grows around these; its far members are less than .5 similar to each other.
    for cosine in (1.0, 0.9, 0.75):
        await tasks.ran(("tools", 1.0), vector=at(cosine))
    await tasks.ran(("tools", 1.0), vector=at(0.7))
    clusters = await tasks.memory.clusters()
    assert [c["tasks"] for c in clusters] == [4]

    other = np.array([0.95, -0.31, 0, 0], dtype=np.float32)
    found = await tasks.memory.sequences(other)

    assert found[0]["runs"] == 4


runs = st.lists(
    st.lists(
        st.tuples(st.sampled_from(sorted(COSTS)), st.sampled_from([None, 0.0, 0.3, 1.0])),
        min_size=1,
        max_size=3,
        unique_by=lambda pair: pair[0],
    ),
    max_size=8,
)


@given(runs, st.sampled_from([0.0, 0.02, 1.0]))
@settings(max_examples=25, deadline=None)
def test_every_estimate_is_a_score_and_every_plan_is_of_known_strategies(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[list[tuple[str, float | None]]],
    price: float,
) -> None:
    async def recalled() -> list[RecalledSequence]:
        path = tmp_path_factory.mktemp("m") / "s.sqlite"
        memory = await StrategyMemory.open(path, embedder="test", dimension=4)
        try:
            tasks = Tasks(memory)
            for tried in history:
                await tasks.ran(*tried)
            return await memory.sequences(at(1.0), k=99, price=price)
        finally:
            await memory.close()

    found = asyncio.run(recalled())

    scored = {name for tried in history for name, score in tried if score is not None}
    values = [one["success"] - price * one["tokens"] / 1000 for one in found]
    assert values == sorted(values, reverse=True)
    assert len({tuple(one["strategies"]) for one in found}) == len(found)
    for one in found:
        assert 0.0 <= one["success"] <= 1.0
        assert len(set(one["strategies"])) == len(one["strategies"])
        assert one["runs"] <= len(history)
        assert not one["composed"] or set(one["strategies"]) <= scored
