"""What the recorded attempts say in numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reverie.knowledge.strategies import Run, StrategyMemory, Trial

VECTOR = np.eye(1, 4, dtype=np.float32)[0]
SIGNALS = {"mean": 0.8, "weakest": 0.5, "agreement": None, "verifier": None}
TRIAL = Trial(
    "direct",
    0.5,
    answer="42",
    signals=SIGNALS,
    tokens_in=80,
    tokens_out=20,
    calls=1,
    seconds=2.0,
    accepted=True,
    model="small",
)


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[StrategyMemory]:
    store = await StrategyMemory.open(tmp_path / "s.sqlite", embedder="test", dimension=4)
    yield store
    await store.close()


async def ran(memory: StrategyMemory, run_id: str, *trials: Trial, task_type: str = "") -> None:
    run = Run(run_id, f"What is {run_id}?", trials[-1].strategy, 0.5, task_type=task_type)
    await memory.record(replace(run, answer=trials[-1].answer, trials=trials), VECTOR)


async def test_costs_are_measured_per_attempt(memory: StrategyMemory) -> None:
    dear = replace(TRIAL, tokens_in=280, seconds=4.0)
    unable = replace(TRIAL, status="failed", tokens_in=0, tokens_out=0, calls=0)
    await ran(memory, "one", replace(TRIAL, accepted=False), replace(TRIAL, strategy="dream"))
    await ran(memory, "two", dear)
    await ran(memory, "three", unable)

    costs = await memory.costs(["direct", "dream", "tools"])

    assert costs == {
        "direct": {"mean": 200.0, "spread": 100.0, "runs": 2, "seconds": 3.0},
        "dream": {"mean": 100.0, "spread": 0.0, "runs": 1, "seconds": 2.0},
    }


async def test_templates_are_counted_per_type_of_task(memory: StrategyMemory) -> None:
    planned = replace(TRIAL, template="plan")
    await ran(memory, "one", TRIAL, task_type="arithmetic")
    await ran(memory, "two", planned, task_type="arithmetic")
    await ran(memory, "three", planned, task_type="logic")
    await ran(memory, "four", planned, task_type="arithmetic")
    for run_id, score in (("one", 0.0), ("two", 1.0), ("three", 1.0)):
        await memory.score(run_id, score)

    found = await memory.templates("arithmetic")

    assert found["plan"]["uses"] == 1
    assert found["plan"]["score"] == 1.0
    assert found["plan"]["alpha"] == pytest.approx(2.0, abs=0.01)
    assert found[""]["beta"] == pytest.approx(2.0, abs=0.01)
    assert await memory.templates("code") == {}


async def test_answers_are_judged_by_people_and_verifiers_only(memory: StrategyMemory) -> None:
    for run_id in ("one", "two", "three", "four"):
        model = "large" if run_id == "four" else "small"
        await ran(memory, run_id, replace(TRIAL, model=model))
    await memory.score("one", 1.0)
    await memory.score("two", 0.0, source="verifier")
    await memory.score("three", 0.7, source="confidence")
    await memory.score("four", 1.0)

    judged = await memory.judged("small")

    assert [(j.run_id, j.score, j.source) for j in judged] == [
        ("two", 0.0, "verifier"),
        ("one", 1.0, "feedback"),
    ]
    assert judged[0].signals == SIGNALS
    assert judged[0].question == "What is two?"
    assert len(await memory.judged()) == 3


async def test_pending_are_answers_that_nothing_scored(memory: StrategyMemory) -> None:
    failed = replace(TRIAL, status="failed", answer="", accepted=False)
    await ran(memory, "one", failed, TRIAL)
    await ran(memory, "two", TRIAL)
    assert await memory.pending() == 2

    await memory.score("one", 1.0)
    assert await memory.pending() == 1


async def test_points_tell_every_attempt_in_order(memory: StrategyMemory) -> None:
    failed = replace(TRIAL, strategy="tools", status="failed", answer="", accepted=False)
    await ran(memory, "one", failed, TRIAL, task_type="logic")
    await memory.score("one", 0.5, source="verifier")

    tools, direct = await memory.points()

    assert (tools.strategy, tools.status, tools.score) == ("tools", "failed", 0.0)
    assert (direct.score, direct.source, direct.weight) == (0.5, "verifier", 1.0)
    assert (direct.tokens, direct.seconds, direct.task_type) == (100, 2.0, "logic")
