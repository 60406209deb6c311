"""Assessing an attempt: what it cost, how sure one can be of it, and what is tried next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from langgraph.runtime import Runtime

from reverie.errors import KnowledgeUnavailable
from reverie.graphs import assess as assessing
from reverie.graphs.assess import assess
from reverie.graphs.attempt import NO_SIGNALS, answered, failed
from reverie.graphs.budget import NO_USAGE, Ledger, ledger_of, merge_entries
from reverie.graphs.confidence import recalibrate
from reverie.graphs.context import Context
from reverie.graphs.escalation import MOST_ATTEMPTS
from reverie.graphs.features import NAMES, features_version
from reverie.graphs.reason import build
from reverie.graphs.records import Attempt, Signals
from reverie.graphs.strategies import known_strategies
from reverie.graphs.templates import TemplateBook
from reverie.knowledge.calibration import Calibrations, Outcome
from reverie.knowledge.strategies import Run, StrategyMemory, Trial
from tests.unit.conftest import Call, Say, ScriptedModel, ScriptedResources, run_graph

QUESTION = "What is 17 + 25?"
VERSION = features_version("hashed words")
FIVE = ("direct", "chain_of_thought", "reflect")


def own(mean: float | None) -> Signals:
    return {**NO_SIGNALS, "mean": mean}


def abstained(strategy: str = "dream") -> Attempt:
    return {**failed(strategy, "", "the best dream scores 0.10"), "status": "abstained"}


@dataclass
class Assessed:
    """What assess did with an attempt."""

    goto: str
    update: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    ledger: Ledger | None = None

    @property
    def attempt(self) -> Attempt:
        return self.update["attempts"][-1]  # type: ignore[no-any-return]  # an update is a plain dict

    @property
    def why(self) -> str:
        (event,) = (e for e in self.events if e["type"] == "assessed")
        return str(event["why"])


async def assessed(
    resources: ScriptedResources,
    attempt: Any,
    *,
    before: tuple[Attempt, ...] = (),
    tokens_spent: int = 100,
    template: str = "",
    chosen: str = "direct",
    features: Sequence[float] = (),
    **options: Any,
) -> Assessed:
    """Assess ``attempt`` of a run that spent ``tokens_spent`` tokens on it."""
    context = Context(resources=resources.key, **{"strategies": FIVE, **options})
    scope = f"attempt:{len(before) + 1}"
    ledger = Ledger(context.limits, (), time.time())
    reserved = ledger.reserve(scope, 1000, 1, node="select")
    usage = {**NO_USAGE, "tokens_in": tokens_spent - 10, "tokens_out": 10, "calls": 1}
    spent = ledger.spend("call", usage, node="direct.ask", scope=scope)  # type: ignore[arg-type]  # a usage
    state: Any = {
        "question": QUESTION,
        "run_id": "r",
        "started": time.time(),
        "ledger": [reserved, spent],
        "notices": [],
        "memories": {"similar": [], "posteriors": [], "costs": {}, "task_type": "arithmetic"},
        "choice": {
            "strategy": chosen,
            "template": template,
            "scope": scope,
            "why": "",
            "features": list(features),
            "features_version": VERSION,
        },
        "attempt": attempt,
        "attempts": list(before),
    }
    events: list[dict[str, Any]] = []
    command = await assess(state, Runtime(context=context, stream_writer=events.append))
    update: Any = command.update
    state["ledger"] = merge_entries(state["ledger"], update["ledger"])
    return Assessed(str(command.goto), update, events, ledger_of(state, context))


async def calibrate(resources: ScriptedResources, share: float, count: int = 100) -> None:
    """Let the scores say that ``share`` of this model's answers are right, whatever it says."""
    drawn = np.random.default_rng(0)
    store = await resources.calibrations()
    outcomes = [
        Outcome("direct", {"mean": drawn.uniform(0.3, 1)}, float(i < share * count), str(i))
        for i in range(count)
    ]
    assert await store.refit(resources.settings.model.name, outcomes)


# -- filing -------------------------------------------------------------------------------------


async def test_an_attempt_is_filed_with_what_it_cost_and_its_reservation_given_back(
    resources: ScriptedResources,
) -> None:
    attempt = answered("direct", "42", own(0.9))

    done = await assessed(resources, attempt, tokens_spent=120, template="units@1")

    assert done.attempt["usage"]["tokens_in"] + done.attempt["usage"]["tokens_out"] == 120
    assert done.attempt["template"] == "units@1"
    assert done.update["attempt"] is None
    assert done.ledger is not None
    assert done.ledger.left()["tokens"] == done.ledger.limits["tokens"] - 120
    assert done.ledger.left("attempt:1")["tokens"] == 0


@pytest.mark.parametrize(
    ("attempt", "told"),
    [
        (None, "without an attempt"),
        ("42", "that is none"),
        ({}, "that is none"),
        ({"strategy": "direct", "answer": "42"}, "that is none"),
        ({**answered("direct", "42"), "status": "fine"}, "status"),
        ({**answered("direct", "42"), "confidence": "high"}, "confidence"),
        ({**answered("direct", "42"), "signals": None}, "signals"),
        ({**answered("direct", "42"), "answer": 42}, "answer"),
    ],
)
async def test_what_is_no_attempt_is_a_failed_one(
    attempt: Any, told: str, resources: ScriptedResources
) -> None:
    done = await assessed(resources, attempt)

    assert done.attempt["status"] == "failed"
    assert done.attempt["error_type"] == "OutputInvalid"
    assert told in done.attempt["error"]
    assert done.goto == "select"
    assert done.update["planned"] is None


async def test_what_was_chosen_counts_as_tried_whatever_the_attempt_says(
    resources: ScriptedResources,
) -> None:
    """Otherwise a strategy that signs with another's name would be tried without end."""
    done = await assessed(resources, failed("chain_of_thought", "OutputInvalid", "no"))

    assert done.attempt["strategy"] == "direct"


# -- accepting ----------------------------------------------------------------------------------


async def test_a_sure_answer_is_accepted(resources: ScriptedResources) -> None:
    done = await assessed(resources, answered("direct", "42", own(0.9)))

    assert (done.goto, done.update["planned"]) == ("answer", None)
    assert done.events == [
        {
            "type": "assessed",
            "accepted": True,
            "why": "confidence 0.90 (uncalibrated) is at least 0.3",
        }
    ]


async def test_an_answer_that_nothing_can_judge_is_accepted(resources: ScriptedResources) -> None:
    done = await assessed(resources, answered("direct", "42"))

    assert done.goto == "answer"
    assert done.attempt["confidence"] is None


async def test_it_goes_through_the_shape_when_a_document_was_asked_for(
    resources: ScriptedResources,
) -> None:
    schema = {"type": "object"}

    done = await assessed(resources, answered("direct", "42", own(0.9)), output_schema=schema)

    assert done.goto == "shape"


# -- calibrated confidence ----------------------------------------------------------------------


async def test_a_calibrated_confidence_decides_once_there_is_one(
    resources: ScriptedResources,
) -> None:
    await calibrate(resources, 0.9)
    good = await assessed(resources, answered("direct", "42", own(0.2)))

    assert good.attempt["calibrated"]
    assert good.attempt["confidence"] == pytest.approx(0.9, abs=0.08)
    assert good.goto == "answer"

    again = await assessed(resources, answered("direct", "42", own(0.2)), accept_above=0.99)
    assert again.goto == "select"
    assert "(calibrated) is below 0.99" in again.why


async def test_a_sure_model_that_is_mostly_wrong_is_not_believed(
    resources: ScriptedResources,
) -> None:
    await calibrate(resources, 0.1)

    done = await assessed(resources, answered("direct", "42", own(0.95)))

    assert done.attempt["confidence"] == pytest.approx(0.1, abs=0.08)
    assert done.goto == "select"


async def test_a_calibration_that_cannot_be_read_leaves_the_answer_uncalibrated(
    resources: ScriptedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Calibrations, model: str, strategy: str) -> None:
        raise KnowledgeUnavailable("the disk is gone", hint="find it")

    monkeypatch.setattr(Calibrations, "find", broken)

    done = await assessed(resources, answered("direct", "42", own(0.9)))

    assert not done.attempt["calibrated"]
    (notice,) = done.update["notices"]
    assert notice.startswith("confidence is not calibrated: the disk is gone")
    assert {"type": "notice", "text": notice} in done.events


# -- verifiers ----------------------------------------------------------------------------------


async def test_a_verifier_has_the_last_word(resources: ScriptedResources) -> None:
    resources.add_verifier("sum", lambda _, answer: float(answer == "42"))

    right = await assessed(resources, answered("direct", "42", own(0.01)), verifier="sum")
    wrong = await assessed(resources, answered("direct", "41", own(0.99)), verifier="sum")

    assert (right.goto, right.attempt["signals"]["verifier"]) == ("answer", 1.0)
    assert (wrong.goto, wrong.attempt["confidence"]) == ("select", 0.0)
    assert wrong.why.startswith("the verifier sum gives it 0.00")


async def test_a_verifier_that_breaks_is_left_out(resources: ScriptedResources) -> None:
    def broken(question: str, answer: str) -> float:
        raise ZeroDivisionError

    resources.add_verifier("broken", broken)

    done = await assessed(resources, answered("direct", "42", own(0.9)), verifier="broken")

    assert done.goto == "answer"
    assert done.attempt["signals"]["verifier"] is None
    assert "ZeroDivisionError" in done.update["notices"][0]


# -- escalating ---------------------------------------------------------------------------------


async def test_a_verifier_does_not_outlast_the_run(
    resources: ScriptedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow one gets what the run has left, or a moment where that is less."""
    monkeypatch.setattr(assessing, "_GRACE_SECONDS", 0.2)

    async def slow(question: str, answer: str) -> float:
        del question, answer
        await asyncio.sleep(60)
        return 1.0

    resources.add_verifier("slow", slow)
    began = time.monotonic()

    ran = await run_graph(resources, strategy="direct", verifier="slow", seconds=1.0)

    assert time.monotonic() - began < 10
    assert ran.state["attempts"][0]["signals"]["verifier"] is None
    assert any("the verifier slow did not answer" in notice for notice in ran.state["notices"])


async def test_an_unsure_answer_is_asked_again_with_a_template(
    resources: ScriptedResources,
) -> None:
    done = await assessed(resources, answered("direct", "42", own(0.1)))

    assert done.goto == "select"
    planned = done.update["planned"]
    assert planned["strategy"] == "direct"
    template = TemplateBook().load(planned["template"])
    assert "arithmetic" in template.types
    assert template.name in done.why


async def test_a_template_is_tried_once_with_each_strategy(resources: ScriptedResources) -> None:
    first = {**answered("direct", "42", own(0.1)), "template": "units@1"}

    done = await assessed(
        resources,
        answered("direct", "41", own(0.1)),
        before=(first,),  # type: ignore[arg-type]  # an attempt
        strategies=("direct", "chain_of_thought"),
    )

    assert (done.goto, done.update["planned"]) == ("select", None)


@pytest.mark.parametrize(
    ("options", "spent"), [({"tokens": 1200}, 700), ({"calls": 1}, 100), ({"seconds": 1e-9}, 100)]
)
async def test_nothing_is_asked_again_that_the_budget_does_not_pay_for(
    options: dict[str, Any], spent: int, resources: ScriptedResources
) -> None:
    """What it cost the first time is what it will cost again."""
    attempt = answered("direct", "42", own(0.1))

    done = await assessed(resources, attempt, tokens_spent=spent, strategies=("direct",), **options)
    rich = await assessed(resources, attempt, tokens_spent=spent, strategies=("direct",))

    assert (done.goto, done.update["planned"]) == ("answer", None)
    assert rich.goto == "select"


async def test_a_middling_answer_is_criticised_and_revised(resources: ScriptedResources) -> None:
    await calibrate(resources, 0.4)

    done = await assessed(resources, answered("direct", "42", own(0.5)))

    assert done.update["planned"] == {
        "strategy": "reflect",
        "template": "",
        "why": "direct was not sure enough, so its answer is criticised and revised",
    }


async def test_nothing_is_revised_twice_or_where_it_is_not_allowed(
    resources: ScriptedResources,
) -> None:
    await calibrate(resources, 0.4)
    before = (answered("reflect", "42", own(0.5)),)

    twice = await assessed(resources, answered("direct", "42", own(0.5)), before=before)
    barred = await assessed(
        resources,
        answered("direct", "42", own(0.5)),
        strategies=("direct", "chain_of_thought"),
    )

    assert (twice.goto, twice.update["planned"]) == ("select", None)
    assert (barred.goto, barred.update["planned"]) == ("select", None)


@pytest.mark.parametrize("right", [0, 1])
async def test_another_strategy_is_tried_only_where_it_may_do_better(
    resources: ScriptedResources, right: int
) -> None:
    await calibrate(resources, 0.4)
    features = [1.0, *([0.0] * (len(NAMES) - 1))]
    asked: dict[str, Any] = {"features": features, "accept_above": 0.99}
    attempt = answered("direct", "42", own(0.5))
    assert (await assessed(resources, attempt, **asked)).goto == "select"  # nothing is known yet

    for name in ("chain_of_thought", "reflect"):
        await teach(resources, name, float(right), features)
    done = await assessed(resources, attempt, **asked)
    without = await assessed(resources, failed("direct", "OutputInvalid", "no"), **asked)

    if right:
        assert done.goto == "select"
    else:
        assert done.goto == "answer"
        assert "no other strategy is expected to do better: " in done.why
    assert without.goto == "select"  # anything is better than no answer


async def teach(
    resources: ScriptedResources, strategy: str, score: float, features: Sequence[float]
) -> None:
    """Score 30 second attempts with ``strategy``."""
    memory = await resources.memory()
    vector = await resources.question_vector(QUESTION)
    later = tuple(1.0 if name == "later" else f for name, f in zip(NAMES, features, strict=True))
    trial = Trial(strategy, 1.0, features=later, features_version=VERSION, answer="4", tokens_in=9)
    for number in range(30):
        run_id = f"{strategy}-{number}"
        await memory.record(
            Run(run_id, QUESTION, strategy, 1.0, answer="4", trials=(trial,)), vector
        )
        await memory.score(run_id, score)
    beliefs = await asyncio.to_thread(lambda: resources.beliefs)
    await beliefs.catch_up(memory, VERSION)


async def test_a_failure_goes_on_to_the_next_strategy(resources: ScriptedResources) -> None:
    done = await assessed(resources, failed("direct", "OutputInvalid", "an empty answer"))

    assert (done.goto, done.update["planned"]) == ("select", None)
    assert done.why == "an empty answer; the next strategy is tried"


async def test_a_strategy_that_was_asked_for_is_kept_as_it_is(
    resources: ScriptedResources,
) -> None:
    for attempt in (answered("direct", "42", own(0.01)), failed("direct", "OutputInvalid", "no")):
        done = await assessed(resources, attempt, strategy="direct")

        assert (done.goto, done.update["planned"]) == ("answer", None)


async def test_it_ends_after_so_many_attempts_whatever_is_left(
    resources: ScriptedResources,
) -> None:
    before = tuple(failed(f"s{i}", "OutputInvalid", "no") for i in range(MOST_ATTEMPTS - 1))

    done = await assessed(resources, failed("direct", "OutputInvalid", "no"), before=before)

    assert done.goto == "answer"


async def test_a_person_is_asked_before_it_abstains(resources: ScriptedResources) -> None:
    only: Any = {"strategies": ("dream",), "chosen": "dream"}

    alone = await assessed(resources, abstained(), **only)
    asked = await assessed(resources, abstained(), **only, ask_before=("abstain",))

    assert alone.goto == "answer"
    assert asked.goto == "ask_person"
    assert asked.events[-1]["type"] == "waiting"
    assert asked.events[-1]["form"]["about"]["attempts"][0]["why"] == "the best dream scores 0.10"


# -- which template -----------------------------------------------------------------------------


async def test_the_template_that_helped_before_is_chosen(
    resources: ScriptedResources,
) -> None:
    memory = await resources.memory()
    embedder = await resources.embedder()
    vector = (await embedder.embed([QUESTION]))[0]
    templates = TemplateBook().fitting("arithmetic")
    helpful = templates[-1]
    for number in range(60):
        template = templates[number % len(templates)]
        trial = Trial("direct", 1.0, "ok", template=template.key, answer="42")
        run = Run(
            f"run{number:05}", QUESTION, "direct", 1.0, task_type="arithmetic", trials=(trial,)
        )
        await memory.record(run, vector)
        await memory.score(run.run_id, float(template == helpful))

    chosen = []
    for seed in range(20):
        done = await assessed(resources, answered("direct", "42", own(0.1)), seed=seed)
        chosen.append(done.update["planned"]["template"])

    assert chosen.count(helpful.key) >= 18
    assert "scored times" in done.why


async def test_a_memory_that_cannot_be_read_leaves_the_choice_to_chance(
    resources: ScriptedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: StrategyMemory, task_type: str) -> None:
        raise KnowledgeUnavailable("gone", hint="")

    monkeypatch.setattr(StrategyMemory, "templates", broken)

    done = await assessed(resources, answered("direct", "42", own(0.1)))

    assert done.update["planned"]["template"]


# -- the whole way ------------------------------------------------------------------------------


async def test_the_way_of_an_unsure_model(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("It may be 41.", logprob=-3.0)

    ran = await run_graph(resources, QUESTION, strategies=("direct", "chain_of_thought"))

    attempts = ran.state["attempts"]
    assert [(a["strategy"], bool(a["template"])) for a in attempts] in (
        [
            ("direct", False),
            ("direct", True),
            ("chain_of_thought", False),
            ("chain_of_thought", True),
        ],
        [
            ("chain_of_thought", False),
            ("chain_of_thought", True),
            ("direct", False),
            ("direct", True),
        ],
    )
    again = TemplateBook().load(attempts[1]["template"])
    systems = [call.messages[0].text for call in model.calls]
    assert again.text not in systems[0]
    assert any(again.text in text for text in systems[1:])
    assert ran.state["answer"]["status"] == "answered"
    assert ran.state["answer"]["stopped"] == ""
    left = ran.of("budget")[0]["cost"]["left"]["tokens"]
    assert left == 8000 - sum(model.tokens)  # every reservation was given back


async def test_a_template_that_helps_ends_the_search(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    texts = [t.text for t in TemplateBook().fitting("arithmetic")]

    def script(call: Call) -> Say:
        helped = any(text in call.messages[0].text for text in texts)
        return Say("42.", logprob=-0.01 if helped else -3.0)

    model.script = script

    ran = await run_graph(resources, QUESTION, strategies=("direct",))

    assert [bool(a["template"]) for a in ran.state["attempts"]] == [False, True]
    assert ran.state["answer"]["confidence"] > 0.9
    assert ran.of("assessed")[-1]["accepted"]


async def test_every_strategy_in_a_row_stays_within_the_graphs_steps(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say(str(len(model.calls)), logprob=-3.0)  # never the same twice
    every = tuple(known_strategies())
    much: Any = {"tokens": 200_000, "calls": 400, "augment_below": 0.95}

    ran = await run_graph(resources, QUESTION, strategies=every, **much)

    attempts = ran.state["attempts"]
    assert len(attempts) <= MOST_ATTEMPTS
    assert {a["strategy"] for a in attempts} == set(every)
    assert ran.state["answer"]["stopped"] == ""


async def test_scores_make_the_next_answer_calibrated(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    memory = await resources.memory()
    for number in range(48):
        right = number % 3 == 0
        model.script = lambda _, right=right: Say("42.", logprob=-0.02 if right else -0.4)  # type: ignore[misc]  # mypy cannot infer it with a default
        ran = await run_graph(resources, f"What is {number} + 25?", strategy="direct")
        assert not ran.state["answer"]["calibrated"]
        await memory.score(ran.state["run_id"], float(right))
    model_name = resources.settings.model.name

    assert await recalibrate(resources, model_name)

    sure = await run_graph(resources, QUESTION, strategy="direct")  # the last script was wrong
    assert sure.state["answer"]["calibrated"]
    assert sure.state["answer"]["confidence"] < 0.3


def test_the_drawing_shows_where_it_may_go() -> None:
    edges = {(e.source, e.target) for e in build().compile().get_graph().edges}

    assert {("assess", to) for to in ("select", "ask_person", "shape", "answer")} <= edges
