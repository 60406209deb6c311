"""What a score applies to, which of several scores is in force, and the log of outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.errors import ConfigError
from reverie.knowledge.strategies import Outcome, Run, Source, StrategyMemory, Trial
from reverie.knowledge.strategies.records import STRENGTH
from reverie.knowledge.strategies.scoring import answer_key

VECTOR = np.eye(1, 4, dtype=np.float32)[0]
DIRECT = Trial("direct", 0.5, answer="41", features=(1.0, 0.5), features_version="f1")
THOUGHT = replace(DIRECT, strategy="chain_of_thought", answer="42.", accepted=True)
AGAIN = replace(DIRECT, strategy="dream", answer=" 42 ", propensity=0.25)
BROKEN = replace(DIRECT, strategy="tools", answer="", status="failed", error="OutputInvalid")
OFFLINE = replace(BROKEN, strategy="panel", error="ModelUnavailable")
RUN = Run(
    run_id="run-1",
    question="6 times 7?",
    strategy="chain_of_thought",
    propensity=0.5,
    answer="42.",
    task_type="arithmetic",
    trials=(DIRECT, BROKEN, OFFLINE, AGAIN, THOUGHT),
)


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[StrategyMemory]:
    store = await StrategyMemory.open(tmp_path / "s.sqlite", embedder="test", dimension=4)
    yield store
    await store.close()


async def in_force(memory: StrategyMemory) -> dict[str, tuple[float, Source]]:
    return {o.strategy: (o.score, o.source) for o in await memory.scored("f1")}


async def test_a_score_is_that_of_the_used_answer_and_of_those_that_say_the_same(
    memory: StrategyMemory,
) -> None:
    await memory.record(RUN, VECTOR)

    run = await memory.score("run-1", 1.0)

    assert run.strategies == ("direct", "tools", "panel", "dream", "chain_of_thought")
    assert (run.status, run.score, run.source) == ("scored", 1.0, "feedback")
    # direct said something else; panel met a server that was down.
    assert await in_force(memory) == {
        "chain_of_thought": (1.0, "feedback"),
        "dream": (1.0, "feedback"),
        "tools": (0.0, "feedback"),
    }


async def test_one_attempt_can_be_scored_alone(memory: StrategyMemory) -> None:
    await memory.record(RUN, VECTOR)

    run = await memory.score("run-1", 0.0, source="verifier", position=0)

    assert await in_force(memory) == {"direct": (0.0, "verifier")}
    assert run.score is None
    with pytest.raises(ConfigError, match="no attempt 9"):
        await memory.score("run-1", 0.0, position=9)


async def test_a_stronger_source_replaces_a_weaker_and_never_the_other_way(
    memory: StrategyMemory,
) -> None:
    await memory.record(replace(RUN, trials=(THOUGHT,)), VECTOR)
    for source, score, expected in (
        ("confidence", 0.6, 0.6),
        ("verifier", 0.0, 0.0),
        ("confidence", 0.9, 0.0),
        ("feedback", 1.0, 1.0),
        ("verifier", 0.0, 1.0),
        ("feedback", 0.5, 0.5),
    ):
        run = await memory.score("run-1", score, source=source, weight=0.5)  # type: ignore[arg-type]  # a row of a table
        assert run.score == expected

    log = await memory.outcomes(0, "f1")

    assert [(o.score, o.source, o.replaces) for o in log] == [
        (0.6, "confidence", False),
        (0.0, "verifier", True),
        (1.0, "feedback", True),
        (0.5, "feedback", True),
    ]
    assert [o.score for o in await memory.scored("f1")] == [0.5]


async def test_the_same_score_again_adds_nothing_to_the_log(memory: StrategyMemory) -> None:
    await memory.record(RUN, VECTOR)
    await memory.score("run-1", 1.0, source="verifier")
    before = await memory.outcomes(0, "f1")
    await memory.record(RUN, VECTOR)  # as a node does that runs again after a resume
    await memory.score("run-1", 1.0, source="verifier")

    assert [o.seq for o in await memory.outcomes(0, "f1")] == [o.seq for o in before]


async def test_an_outcome_carries_what_the_policy_saw(memory: StrategyMemory) -> None:
    trial = replace(THOUGHT, tokens_in=30, tokens_out=12, allowed=("direct", "dream"), forced=True)
    await memory.record(replace(RUN, trials=(trial,)), VECTOR)
    await memory.score("run-1", 0.75, source="confidence", weight=0.2)

    (outcome,) = await memory.outcomes(0, "f1")

    assert outcome.features.dtype == np.float32
    assert outcome.features.tolist() == [1.0, 0.5]
    assert (outcome.run_id, outcome.position, outcome.strategy) == ("run-1", 0, "chain_of_thought")
    assert (outcome.score, outcome.weight, outcome.tokens) == (0.75, 0.2, 42)
    assert (outcome.allowed, outcome.forced) == (("direct", "dream"), True)
    assert (outcome.task_type, outcome.propensity) == ("arithmetic", 0.5)
    assert await memory.outcomes(outcome.seq, "f1") == []
    assert await memory.outcomes(0, "f2") == []


async def test_a_scored_attempt_that_is_stored_anew_tells_those_who_follow_the_log(
    memory: StrategyMemory,
) -> None:
    await memory.record(replace(RUN, trials=(THOUGHT,)), VECTOR)
    await memory.score("run-1", 1.0)
    (first,) = await memory.outcomes(0, "f1")

    await memory.record(replace(RUN, trials=(replace(THOUGHT, features=(1.0, 0.0)),)), VECTOR)

    (second,) = await memory.outcomes(first.seq, "f1")
    assert (second.score, second.replaces, second.features.tolist()) == (1.0, True, [1.0, 0.0])


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
async def test_a_weight_out_of_range_is_refused(memory: StrategyMemory, weight: float) -> None:
    await memory.record(RUN, VECTOR)
    with pytest.raises(ConfigError, match="weight"):
        await memory.score("run-1", 1.0, weight=weight)


async def test_an_unknown_source_is_refused(memory: StrategyMemory) -> None:
    await memory.record(RUN, VECTOR)
    with pytest.raises(ConfigError, match="feedback"):
        await memory.score("run-1", 1.0, source="rumour")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("left", "right"),
    [("42.", " 42"), ("It FALLS  down", "it falls down."), ("1,234", "1234"), ("ﬁne", "fine")],
)
def test_answers_that_say_the_same(left: str, right: str) -> None:
    assert answer_key(left) == answer_key(right)


@pytest.mark.parametrize(
    ("left", "right"), [("4.2", "42"), ("-1", "1"), ("1, 2", "12"), ("a", "b")]
)
def test_answers_that_say_something_else(left: str, right: str) -> None:
    assert answer_key(left) != answer_key(right)


scores = st.lists(
    st.tuples(
        st.sampled_from(sorted(STRENGTH)),
        st.sampled_from([0.0, 0.25, 1.0]),
        st.sampled_from([0.2, 1.0]),
        st.sampled_from([None, 0, 3, 4]),
    ),
    max_size=12,
)


@given(scores)
@settings(max_examples=25, deadline=None)
def test_the_log_replayed_gives_what_is_in_force(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[Source, float, float, int | None]],
) -> None:
    async def replayed() -> tuple[list[Outcome], list[Outcome]]:
        path = tmp_path_factory.mktemp("m") / "s.sqlite"
        memory = await StrategyMemory.open(path, embedder="test", dimension=4)
        try:
            await memory.record(RUN, VECTOR)
            for source, score, weight, position in history:
                await memory.score("run-1", score, source=source, weight=weight, position=position)
            return await memory.outcomes(0, "f1"), await memory.scored("f1")
        finally:
            await memory.close()

    log, in_force = asyncio.run(replayed())

    replay: dict[int, Outcome] = {}
    for outcome in log:
        known = replay.get(outcome.position)
        assert outcome.replaces == (known is not None)
        assert known is None or STRENGTH[outcome.source] >= STRENGTH[known.source]
        replay[outcome.position] = outcome
    assert sorted(o.seq for o in replay.values()) == [o.seq for o in in_force]
