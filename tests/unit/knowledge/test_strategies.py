"""The strategy memory: only scores move what is believed, more for similar questions."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Schema, open_database
from reverie.knowledge.strategies import STRATEGY_SCHEMA, Posterior, Run, StrategyMemory

D = 4
FOREVER = 10**12
"""A memory in which nothing fades, so that sums are plain."""
RUN = Run(
    run_id="0123abcd-run",
    question="What happens when I drop a ball?",
    strategy="dream",
    propensity=0.6,
    answer="It falls.",
    tokens_in=900,
    tokens_out=60,
    calls=4,
    seconds=7.5,
)


def at(cosine: float) -> NDArray[np.float32]:
    """A question whose similarity to ``at(1.0)`` is ``cosine``."""
    return np.array([cosine, math.sqrt(1 - cosine**2), 0, 0], dtype=np.float32)


@asynccontextmanager
async def opened(
    path: Path, embedder: str = "test", dimension: int = D, memory: int = FOREVER
) -> AsyncIterator[StrategyMemory]:
    store = await StrategyMemory.open(path, embedder=embedder, dimension=dimension, memory=memory)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[StrategyMemory]:
    async with opened(tmp_path / "strategies.sqlite") as opened_memory:
        yield opened_memory


async def belief(memory: StrategyMemory, strategy: str = "dream") -> Posterior:
    (posterior,) = await memory.posteriors(at(1.0), [strategy])
    return posterior


async def test_without_history_every_strategy_is_as_likely_as_not(memory: StrategyMemory) -> None:
    assert await memory.posteriors(at(1.0), ["dream", "direct"]) == [
        Posterior(strategy="dream", alpha=1.0, beta=1.0, mean=0.5, runs=0),
        Posterior(strategy="direct", alpha=1.0, beta=1.0, mean=0.5, runs=0),
    ]


async def test_pending_and_failed_runs_move_nothing(memory: StrategyMemory) -> None:
    await memory.record(RUN, at(1.0))
    await memory.record(replace(RUN, run_id="failed", status="failed"), at(1.0))

    assert (await belief(memory))["alpha"] == (await belief(memory))["beta"] == 1.0
    assert await memory.similar(at(1.0)) == []
    assert [run.status for run in await memory.recent()] == ["failed", "pending"]


async def test_what_failed_was_not_right(memory: StrategyMemory) -> None:
    await memory.record(replace(RUN, run_id="failed", answer="", status="failed"), at(1.0))

    with pytest.raises(ConfigError, match="no answer that could be right") as caught:
        await memory.score("failed", 1.0)
    assert "score it 0" in caught.value.hint

    await memory.score("failed", 0.0)
    assert (await belief(memory))["mean"] < 0.5


async def test_a_score_moves_its_strategy_and_no_other(memory: StrategyMemory) -> None:
    await memory.record(RUN, at(1.0))

    scored = await memory.score(RUN.run_id, 1.0)

    assert (scored.status, scored.score) == ("scored", 1.0)
    dream, direct = await memory.posteriors(at(1.0), ["dream", "direct"])
    assert dream["alpha"] == pytest.approx(2.0)
    assert dream["mean"] == pytest.approx(2 / 3)
    assert dream["runs"] == 1
    assert (direct["alpha"], direct["beta"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("cosine", "weight"), [(1.0, 1.0), (0.6, 0.6), (0.05, 0.1), (0.0, 0.1), (-1.0, 0.1)]
)
async def test_a_score_weighs_as_much_as_its_question_is_similar(
    memory: StrategyMemory, cosine: float, weight: float
) -> None:
    await memory.record(RUN, at(cosine))
    await memory.score(RUN.run_id, 0.25)

    posterior = await belief(memory)

    assert posterior["alpha"] == pytest.approx(1 + weight * 0.25, abs=1e-6)
    assert posterior["beta"] == pytest.approx(1 + weight * 0.75, abs=1e-6)


async def test_scoring_again_replaces_the_score(memory: StrategyMemory) -> None:
    await memory.record(RUN, at(1.0))
    await memory.score(RUN.run_id, 1.0)
    await memory.score(RUN.run_id, 0.0)
    await memory.score(RUN.run_id, 0.0)

    posterior = await belief(memory)

    assert (posterior["alpha"], posterior["beta"]) == pytest.approx((1.0, 2.0))
    assert posterior["runs"] == 1


async def test_recording_a_run_again_keeps_its_score(memory: StrategyMemory) -> None:
    await memory.record(RUN, at(1.0))
    await memory.score(RUN.run_id, 1.0)
    await memory.record(replace(RUN, answer="It falls down."), at(1.0))

    run = await memory.find(RUN.run_id)

    assert (run.status, run.score, run.answer) == ("scored", 1.0, "It falls down.")
    assert len(await memory.recent()) == 1


async def test_a_recorded_run_keeps_every_number(memory: StrategyMemory) -> None:
    await memory.record(RUN, at(1.0))

    run = await memory.find(RUN.run_id)

    assert (run.question, run.strategy, run.answer) == (RUN.question, "dream", "It falls.")
    assert (run.propensity, run.seconds) == (0.6, 7.5)
    assert (run.tokens_in, run.tokens_out, run.calls) == (900, 60, 4)


async def test_similar_scored_runs_are_recalled_best_first(memory: StrategyMemory) -> None:
    for name, cosine in (("far", 0.4), ("near", 0.9), ("same", 1.0), ("edge", 0.55)):
        await memory.record(replace(RUN, run_id=name), at(cosine))
        await memory.score(name, 0.5)

    similar = await memory.similar(at(1.0), k=3)

    assert [run["run_id"] for run in similar] == ["same", "near", "edge"]
    assert similar[1]["similarity"] == pytest.approx(0.9)
    assert [run["run_id"] for run in await memory.similar(at(1.0), k=1)] == ["same"]


@pytest.mark.parametrize("score", [-0.01, 1.01, math.nan, math.inf, -math.inf])
async def test_a_score_out_of_range_is_refused(memory: StrategyMemory, score: float) -> None:
    await memory.record(RUN, at(1.0))

    with pytest.raises(ConfigError, match="between 0"):
        await memory.score(RUN.run_id, score)
    assert (await memory.find(RUN.run_id)).score is None


async def test_a_clear_beginning_of_an_id_is_enough(memory: StrategyMemory) -> None:
    await memory.record(RUN, at(1.0))
    await memory.record(replace(RUN, run_id="0123ffff-run"), at(1.0))

    assert (await memory.score("0123a", 1.0)).run_id == RUN.run_id
    with pytest.raises(ConfigError, match=r"begin with '0123': 0123ffff-run, 0123abcd-run"):
        await memory.score("0123", 1.0)
    with pytest.raises(ConfigError, match="no run '012'"):
        await memory.score("012", 1.0)
    with pytest.raises(ConfigError, match="no run '%%%%'"):
        await memory.score("%%%%", 1.0)


async def test_an_unknown_run_names_the_nearest_or_the_latest(memory: StrategyMemory) -> None:
    with pytest.raises(ConfigError, match="no run is recorded here yet"):
        await memory.score("whatever", 1.0)
    await memory.record(RUN, at(1.0))

    with pytest.raises(ConfigError) as mistyped:
        await memory.score("0123abce-run", 1.0)
    with pytest.raises(ConfigError) as unknown:
        await memory.score("zzzzzzzz", 1.0)

    assert "did you mean 0123abcd-run?" in mistyped.value.hint
    assert "latest: 0123abcd-run" in unknown.value.hint


async def test_runs_of_another_embedder_are_not_similar_but_count_a_little(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"
    async with opened(path) as memory:
        await memory.record(RUN, at(1.0))
        await memory.score(RUN.run_id, 1.0)

    async with opened(path, embedder="other") as memory:
        assert await memory.similar(at(1.0)) == []
        assert (await belief(memory))["alpha"] == pytest.approx(1.1)


async def test_an_embedder_whose_vectors_changed_their_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"
    wide = np.ones(D * 2, dtype=np.float32)
    async with opened(path) as first, opened(path, dimension=D * 2) as second:
        await first.record(RUN, at(1.0))
        await first.score(RUN.run_id, 1.0)
        for use in (
            second.record(replace(RUN, run_id="wide"), wide),
            second.similar(wide),
            second.posteriors(wide, ["dream"]),
            StrategyMemory.open(path, embedder="test", dimension=D * 2),
        ):
            with pytest.raises(KnowledgeUnavailable, match=f"with {D} numbers") as caught:
                await use
            assert "REVERIE_HOME" in caught.value.hint
        assert (await belief(first))["runs"] == 1

    async with opened(path, embedder="other", dimension=D * 2) as memory:
        await memory.record(replace(RUN, run_id="wide"), wide)
        await memory.score("wide", 1.0)
        assert [run["run_id"] for run in await memory.similar(wide)] == ["wide"]


def write_first_version(path: Path) -> None:
    schema = STRATEGY_SCHEMA
    old = Schema(schema.kind, schema.application_id, schema.migrations[:1])
    with closing(open_database(path, old)) as database, database.writing() as connection:
        connection.execute(
            "INSERT INTO runs VALUES ('old-run', 'q', 'test', ?, 'dream', 1, 'pending', 'a', "
            "1, 1, 1, 1, 1, 1, 1)",
            (at(1.0).tobytes(),),
        )


async def test_a_memory_of_the_first_version_learns_its_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"
    await asyncio.to_thread(write_first_version, path)

    async with opened(path) as memory:
        assert [run["run_id"] for run in await memory.similar(at(1.0))] == ["old-run"]
    with pytest.raises(KnowledgeUnavailable, match=f"with {D} numbers"):
        await StrategyMemory.open(path, embedder="test", dimension=D + 1)


@pytest.mark.parametrize("vector", [np.zeros(D + 1), np.full(D, np.nan)])
async def test_a_vector_that_does_not_fit_is_refused(
    memory: StrategyMemory, vector: NDArray[np.float32]
) -> None:
    with pytest.raises(ConfigError, match="4 finite numbers"):
        await memory.record(RUN, vector)
    assert await memory.recent() == []


async def test_a_run_without_name_or_with_an_impossible_propensity_is_refused(
    memory: StrategyMemory,
) -> None:
    for wrong in (replace(RUN, run_id=""), replace(RUN, propensity=1.5)):
        with pytest.raises(ConfigError):
            await memory.record(wrong, at(1.0))


outcomes = st.lists(
    st.tuples(
        st.sampled_from(["dream", "direct"]),
        st.floats(min_value=0, max_value=1),
        st.floats(min_value=-1, max_value=1),
    ),
    max_size=6,
)


@given(outcomes)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_posteriors_are_the_weighted_sum_of_scores_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, float, float]]
) -> None:
    async def remembered(ordered: list[tuple[str, float, float]]) -> list[Posterior]:
        async with opened(tmp_path_factory.mktemp("m") / "s.sqlite") as memory:
            for number, (strategy, score, cosine) in enumerate(ordered):
                run = replace(RUN, run_id=f"run-{number}", strategy=strategy)
                await memory.record(run, at(cosine))
                await memory.score(run.run_id, score)
            return await memory.posteriors(at(1.0), ["dream", "direct"])

    there = asyncio.run(remembered(history))
    back = asyncio.run(remembered(history[::-1]))

    for posterior, reverse in zip(there, back, strict=True):
        mine = [(s, max(0.1, c)) for name, s, c in history if name == posterior["strategy"]]
        assert posterior["alpha"] == pytest.approx(1 + sum(w * s for s, w in mine), abs=1e-5)
        assert posterior["beta"] == pytest.approx(1 + sum(w * (1 - s) for s, w in mine), abs=1e-5)
        assert posterior["runs"] == len(mine)
        assert reverse["alpha"] == pytest.approx(posterior["alpha"])


async def test_outcomes_fade_as_others_follow(tmp_path: Path) -> None:
    async with opened(tmp_path / "strategies.sqlite", memory=10) as memory:
        for number in range(11):
            run = replace(RUN, run_id=f"run-{number}", strategy="direct" if number else "dream")
            await memory.record(run, at(1.0))
            await memory.score(run.run_id, 1.0)

        dream, direct = await memory.posteriors(at(1.0), ["dream", "direct"])

    assert dream["alpha"] == pytest.approx(1 + math.exp(-1))
    assert direct["alpha"] == pytest.approx(1 + sum(math.exp(-i / 10) for i in range(10)))


async def test_what_is_much_too_old_is_no_longer_looked_at(tmp_path: Path) -> None:
    async with opened(tmp_path / "strategies.sqlite", memory=10) as memory:
        for number in range(200):
            run = replace(RUN, run_id=f"run-{number}")
            await memory.record(run, at(1.0))
            await memory.score(run.run_id, 1.0)
            if number % 50 == 49:  # read in portions: what was read before is dropped too
                await memory.posteriors(at(1.0), ["dream"])

        assert (await belief(memory))["runs"] < 130
        assert len(await memory.recent(300)) == 200
    async with opened(tmp_path / "strategies.sqlite", memory=10) as memory:
        assert (await belief(memory))["runs"] == 80


async def test_what_another_process_scored_is_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "strategies.sqlite"
    async with opened(path) as mine, opened(path) as other:
        await mine.record(RUN, at(1.0))
        assert (await belief(mine))["runs"] == 0
        await other.score(RUN.run_id, 0.0)
        assert (await belief(mine))["beta"] == pytest.approx(2.0)
        await other.score(RUN.run_id, 1.0)
        assert (await belief(mine))["alpha"] == pytest.approx(2.0)
        assert [r["score"] for r in await mine.similar(at(1.0))] == [1.0]
