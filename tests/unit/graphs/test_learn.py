"""What a run leaves behind: its attempts, and their scores where something judged."""

from __future__ import annotations

import time
from typing import Any

import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.attempt import answered, failed
from reverie.graphs.context import Context
from reverie.graphs.features import NAMES, features_version
from reverie.graphs.feedback import score_run
from reverie.graphs.learn import learn, record_run
from reverie.graphs.records import Attempt
from reverie.knowledge.strategies import Outcome, StrategyMemory
from reverie.settings import MemorySettings, Settings
from tests.unit.conftest import QUESTION, ScriptedModel, ScriptedResources, run_graph

VERSION = features_version("hashed words")


class Runtime:
    """As much of LangGraph's runtime as the node uses."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.events: list[Any] = []
        self.stream_writer = self.events.append


def attempt(strategy: str, answer: str, **other: Any) -> Attempt:
    made = answered(strategy, answer, other.pop("signals", None) or signals())
    return {**made, **other}  # type: ignore[typeddict-item]  # keys of an attempt


def signals(verifier: float | None = None) -> Any:
    return {"mean": 0.8, "weakest": 0.6, "agreement": None, "verifier": verifier}


def choice(strategy: str, **other: Any) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "propensity": 0.5,
        "forced": False,
        "candidates": ["direct", "dream"],
        "features": [1.0] * len(NAMES),
        "features_version": VERSION,
        **other,
    }


def ended(*attempts: Attempt, **other: Any) -> Any:
    """The state at the end of a run with these attempts."""
    return {
        "question": QUESTION,
        "run_id": "run-1",
        "started": time.time(),
        "ledger": [],
        "notices": [],
        "memories": {"task_type": "causal"},
        "attempts": list(attempts),
        "choices": [choice(a["strategy"]) for a in attempts],
        "choice": choice(attempts[-1]["strategy"]) if attempts else {},
        "answer": {"text": attempts[-1]["answer"] if attempts else ""},
        **other,
    }


async def learned(resources: ScriptedResources, state: Any, **context: Any) -> Runtime:
    runtime = Runtime(Context(resources=resources.key, **context))
    await learn(state, runtime)  # type: ignore[arg-type]  # as much as the node uses
    return runtime


async def outcomes(resources: ScriptedResources) -> list[Outcome]:
    return await (await resources.memory()).scored(VERSION)


# -- what is stored --------------------------------------------------------------------------------


async def test_a_run_that_nothing_judged_is_stored_and_moves_nothing(
    resources: ScriptedResources,
) -> None:
    ran = await run_graph(resources, strategy="direct")
    memory = await resources.memory()

    (run,) = await memory.recent()
    (point,) = await memory.points()

    assert (run.run_id, run.status) == (ran.state["run_id"], "pending")
    assert (run.strategies, run.answer) == (("direct",), ran.state["answer"]["text"])
    assert run.task_type == point.task_type != ""
    assert point.tokens == run.tokens_in + run.tokens_out > 0
    assert await memory.pending() == 1
    assert await memory.outcomes(0, VERSION) == []


async def test_every_attempt_is_stored_with_what_the_policy_saw(
    resources: ScriptedResources,
) -> None:
    resources.add_verifier("rubric", lambda *_: 0.0)
    ran = await run_graph(resources, verifier="rubric", strategies=("direct", "chain_of_thought"))
    memory = await resources.memory()

    (run,) = await memory.recent()
    log = await memory.outcomes(0, VERSION)

    assert set(run.strategies) == {"direct", "chain_of_thought"}
    assert [(o.strategy, o.score, o.source) for o in log] == [
        (name, 0.0, "verifier") for name in run.strategies
    ]
    assert {o.features.shape for o in log} == {(len(NAMES),)}
    assert sum(p.tokens for p in await memory.points()) == sum(
        a["usage"]["tokens_in"] + a["usage"]["tokens_out"] for a in ran.state["attempts"]
    )


async def test_the_used_attempt_is_the_one_whose_answer_the_run_gave(
    resources: ScriptedResources,
) -> None:
    state = ended(
        attempt("direct", "It falls.", signals=signals(1.0)),
        attempt("dream", "It flies.", signals=signals(0.0)),
    )
    await learned(resources, state, verifier="rubric")

    run = await (await resources.memory()).find("run-1")

    assert (run.strategy, run.score, run.source) == ("direct", 1.0, "verifier")


async def test_nothing_is_stored_when_nothing_is_to_be_remembered(
    resources: ScriptedResources,
) -> None:
    await run_graph(resources, strategy="direct", remember=False)

    assert await (await resources.memory()).recent() == []


async def test_a_store_that_cannot_be_written_does_not_take_the_answer_away(
    resources: ScriptedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*arguments: object) -> None:
        raise KnowledgeUnavailable("the disk is full", hint="free some space")

    monkeypatch.setattr(StrategyMemory, "record", full)

    ran = await run_graph(resources, strategy="direct")

    assert ran.state["answer"]["status"] == "answered"
    assert ran.state["notices"] == [
        "this run was not stored, so it cannot be scored: the disk is full. free some space"
    ]
    assert [e["text"] for e in ran.of("notice")] == ran.state["notices"]


# -- what is scored at once ------------------------------------------------------------------------


async def test_a_verifier_scores_rejected_attempts_too(resources: ScriptedResources) -> None:
    state = ended(
        attempt("direct", "It flies.", signals=signals(0.0)),
        attempt("dream", "It falls.", signals=signals(0.75)),
    )
    await learned(resources, state, verifier="rubric")

    assert [(o.strategy, o.score, o.weight) for o in await outcomes(resources)] == [
        ("direct", 0.0, 1.0),
        ("dream", 0.75, 1.0),
    ]


async def test_a_signal_of_a_strategys_own_is_no_verifiers_word(
    resources: ScriptedResources,
) -> None:
    await learned(resources, ended(attempt("direct", "It falls.", signals=signals(0.9))))

    assert await outcomes(resources) == []


async def test_where_a_verifier_judged_an_attempt_without_an_answer_was_worth_nothing(
    resources: ScriptedResources,
) -> None:
    state = ended(
        failed("direct", "OutputInvalid", "the model gave an empty answer"),
        failed("chain_of_thought", "ModelUnavailable", "nobody listens"),
        attempt("dream", "It falls.", signals=signals(1.0)),
    )
    await learned(resources, state, verifier="rubric")

    assert {o.strategy: o.score for o in await outcomes(resources)} == {"direct": 0.0, "dream": 1.0}


async def test_a_calibrated_confidence_counts_less_than_a_score(
    resources: ScriptedResources,
) -> None:
    state = ended(
        attempt("direct", "It flies.", confidence=0.2, calibrated=True),
        attempt("dream", "It falls.", confidence=0.7, calibrated=True),
    )
    await learned(resources, state)

    assert [(o.strategy, o.score, o.weight, o.source) for o in await outcomes(resources)] == [
        ("direct", 0.2, 0.2, "confidence"),
        ("dream", 0.7, 0.2, "confidence"),
    ]
    memory = await resources.memory()
    assert (await memory.score("run-1", 0.0)).source == "feedback"
    assert [o.score for o in await outcomes(resources)] == [0.2, 0.0]


async def test_an_uncalibrated_confidence_moves_nothing(resources: ScriptedResources) -> None:
    await learned(resources, ended(attempt("direct", "It falls.", confidence=0.9)))

    assert await outcomes(resources) == []


async def test_confidence_can_be_left_out(settings: Settings) -> None:
    unweighted = settings.model_copy(
        update={"learn": settings.learn.model_copy(update={"confidence_weight": 0.0})}
    )
    resources = ScriptedResources(unweighted, ScriptedModel())
    try:
        state = ended(attempt("direct", "It falls.", confidence=0.9, calibrated=True))
        await learned(resources, state)
        assert await outcomes(resources) == []
    finally:
        await resources.close()


async def test_learning_again_after_a_resume_changes_nothing(resources: ScriptedResources) -> None:
    state = ended(attempt("direct", "It falls.", signals=signals(1.0)))
    await learned(resources, state, verifier="rubric")
    before = [o.seq for o in await outcomes(resources)]

    await learned(resources, state, verifier="rubric")

    memory = await resources.memory()
    assert [o.seq for o in await memory.outcomes(0, VERSION)] == before
    assert len(await memory.recent()) == 1


# -- runs that ended early -------------------------------------------------------------------------


async def test_a_run_that_ended_in_an_error_is_stored_as_failed(
    resources: ScriptedResources,
) -> None:
    state = ended(failed("direct", "ModelUnavailable", "nobody listens"))
    del state["answer"]
    await record_run(state, resources, Context(resources=resources.key), status="failed")

    run = await (await resources.memory()).find("run-1")

    assert (run.status, run.strategies, run.answer) == ("failed", ("direct",), "")
    assert await (await resources.memory()).pending() == 0


async def test_a_run_that_ended_before_its_first_attempt_is_stored_too(
    resources: ScriptedResources,
) -> None:
    state: Any = {"question": QUESTION, "run_id": "run-1", "started": time.time(), "ledger": []}
    await record_run(state, resources, Context(resources=resources.key), status="failed")

    run = await (await resources.memory()).find("run-1")

    assert (run.status, run.strategy) == ("failed", "auto")


async def test_a_state_of_an_older_version_is_learned_from(resources: ScriptedResources) -> None:
    state = ended(attempt("direct", "It flies."), attempt("dream", "It falls."))
    del state["choices"]
    state["choice"] = {"strategy": "dream", "propensity": 0.25}
    await learned(resources, state)

    run = await (await resources.memory()).find("run-1")

    assert (run.strategies, run.propensity) == (("direct", "dream"), 0.25)


async def test_an_answer_is_remembered_and_its_importance_follows_its_score(
    settings: Settings,
) -> None:
    resources = ScriptedResources(settings)
    await learned(resources, ended(attempt("direct", "It falls.")))
    episodes = await resources.episodes()
    (before,) = await episodes.latest()

    scored = (await score_run(resources, "run-1", 1.0)).run

    (after,) = await episodes.latest()
    assert before.text == f"{QUESTION}\nIt falls."
    assert [o.source for o in before.occasions] == [scored.run_id] == ["run-1"]
    assert (before.importance, after.importance) == (0.5, 1.0)
    await resources.close()


async def test_answers_are_not_remembered_when_that_is_switched_off(settings: Settings) -> None:
    forgetful = settings.model_copy(update={"memory": MemorySettings(remember_runs=False)})
    resources = ScriptedResources(forgetful)
    await learned(resources, ended(attempt("direct", "It falls.")))

    assert not await (await resources.episodes()).latest()
    await score_run(resources, "run-1", 1.0)
    await resources.close()
