"""A strategy memory of an older version keeps everything, and learns what it lacked."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.database import Schema, open_database
from reverie.knowledge.strategies import STRATEGY_SCHEMA, StrategyMemory

ROWS = (
    # run_id, axis, strategy, status, answer, created, score, scored
    ("run-a", 0, "dream", "pending", "It falls.", 1.0, 1.0, 30.0),
    ("run-b", 0, "direct", "pending", "It flies.", 2.0, 0.25, 20.0),
    ("run-c", 1, "direct", "pending", "", 3.0, None, None),
    ("run-d", 1, "dream", "failed", "", 4.0, None, None),
)


def unit(axis: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.eye(4, dtype=np.float32)[axis]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file made by the migrations of version 2."""
    file = tmp_path / "strategies.sqlite"

    def write() -> None:
        old = Schema(
            STRATEGY_SCHEMA.kind, STRATEGY_SCHEMA.application_id, STRATEGY_SCHEMA.migrations[:2]
        )
        with closing(open_database(file, old)) as database, database.writing() as connection:
            for run_id, axis, strategy, status, answer, created, score, scored in ROWS:
                connection.execute(
                    "INSERT INTO runs VALUES (?, 'q', 'test', ?, ?, 0.5, ?, ?, 30, 12, 2, 1.5, "
                    "?, ?, ?, 4)",
                    (
                        run_id,
                        unit(axis).tobytes(),
                        strategy,
                        status,
                        answer,
                        created,
                        score,
                        scored,
                    ),
                )

    await asyncio.to_thread(write)
    return file


async def test_old_runs_become_runs_with_one_attempt(path: Path) -> None:
    memory = await StrategyMemory.open(path, embedder="test", dimension=4)
    try:
        runs = {run.run_id: run for run in await memory.recent()}
        points = await memory.points()
        costs = await memory.costs(["dream", "direct", "tools"])
    finally:
        await memory.close()

    assert [run.strategies for run in runs.values()] == [
        ("dream",),
        ("direct",),
        ("direct",),
        ("dream",),
    ]
    assert (runs["run-a"].score, runs["run-a"].source) == (1.0, "feedback")
    assert (runs["run-c"].status, runs["run-d"].status) == ("pending", "failed")
    assert [(p.strategy, p.status, p.score) for p in points] == [
        ("dream", "ok", 1.0),
        ("direct", "ok", 0.25),
        ("direct", "abstained", None),
        ("dream", "failed", None),
    ]
    assert costs["dream"] == {"mean": 42.0, "spread": 0.0, "runs": 2, "seconds": 1.5}
    assert "tools" not in costs


async def test_old_scores_become_feedback_in_the_order_in_which_they_came(path: Path) -> None:
    memory = await StrategyMemory.open(path, embedder="test", dimension=4)
    try:
        log = await memory.outcomes(0, "")
        dream, direct = await memory.posteriors(unit(0), ["dream", "direct"])
        await memory.score("run-a", 0.0, source="verifier")
        kept = await memory.find("run-a")
    finally:
        await memory.close()

    assert [(o.run_id, o.score, o.at, o.weight) for o in log] == [
        ("run-b", 0.25, 20.0, 1.0),
        ("run-a", 1.0, 30.0, 1.0),
    ]
    assert (dream["runs"], direct["runs"]) == (1, 1)
    assert dream["mean"] > 0.6
    assert direct["mean"] < 0.5
    assert kept.score == 1.0


async def test_old_questions_get_their_clusters(path: Path) -> None:
    memory = await StrategyMemory.open(path, embedder="test", dimension=4)
    try:
        assert [c["tasks"] for c in await memory.clusters()] == [2, 2]
        (best, *_) = await memory.sequences(unit(0))
        assert best["strategies"] == ["dream"]
    finally:
        await memory.close()


async def test_several_openings_at_once_migrate_once(path: Path) -> None:
    opened = await asyncio.gather(
        *(StrategyMemory.open(path, embedder="test", dimension=4) for _ in range(6))
    )
    assert [len(await memory.points()) for memory in opened] == [4] * 6
    assert [sum(c["tasks"] for c in await memory.clusters()) for memory in opened] == [4] * 6
    for memory in opened:
        await memory.close()


async def test_a_newer_file_is_refused(path: Path) -> None:
    def raise_version() -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {len(STRATEGY_SCHEMA.migrations) + 1}")

    await asyncio.to_thread(raise_version)
    with pytest.raises(KnowledgeUnavailable, match="newer Reverie"):
        await StrategyMemory.open(path, embedder="test", dimension=4)
