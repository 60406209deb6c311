"""Reflect: criticise, revise, and keep the better answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from reverie.errors import BudgetExceeded, ModelUnavailable
from reverie.graphs.attempt import answered, failed
from reverie.graphs.confidence import signals_of
from reverie.graphs.context import Context
from reverie.graphs.critique import fault_of, objection, plain_revision
from reverie.graphs.records import Attempt
from reverie.graphs.strategies.reflect import build
from tests.unit.conftest import Call, Ran, Say, ScriptedModel, ScriptedResources, run_graph

QUESTION = "How many legs do two sheep have?"
WRONG = "A sheep has 4 legs and not 3."


def step_of(call: Call) -> str:
    system = call.messages[0].text
    if system.startswith("You check"):
        return "critique"
    return "revise" if system.startswith("You correct") else "draft"


def says(**said: str | Say) -> Callable[[Call], Say]:
    def script(call: Call) -> Say:
        found = said[step_of(call)]
        return found if isinstance(found, Say) else Say(found)

    return script


async def reflect(resources: ScriptedResources, **context: Any) -> Ran:
    return await run_graph(resources, QUESTION, **{"strategy": "reflect", **context})


async def after(resources: ScriptedResources, *attempts: Attempt, **context: Any) -> dict[str, Any]:
    """The strategy's end when ``attempts`` were made before in the run."""
    state = {
        "question": QUESTION,
        "run_id": "r",
        "started": 4e9,
        "ledger": [],
        "notices": [],
        "attempts": list(attempts),
    }
    end: dict[str, Any] = (
        await build().compile().ainvoke(state, context=Context(resources=resources.key, **context))
    )
    return end


def attempt_of(ran: Ran) -> dict[str, Any]:
    attempt: dict[str, Any] = ran.state["attempts"][0]
    return attempt


async def test_what_the_critique_accepts_is_not_revised(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(draft="8 legs.", critique="Nothing is wrong.")

    ran = await reflect(resources)

    assert [step_of(c) for c in model.calls] == ["draft", "critique"]
    assert attempt_of(ran)["answer"] == "8 legs."
    assert attempt_of(ran)["verdict"]["why"] == "the critique found nothing wrong"


async def test_a_revision_that_the_model_is_surer_of_is_kept(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(
        draft=Say("6 legs.", logprob=-0.5), critique=WRONG, revise=Say("8 legs.", logprob=-0.1)
    )

    ran = await reflect(resources)

    attempt = attempt_of(ran)
    assert attempt["answer"] == "8 legs."
    assert attempt["signals"]["mean"] == pytest.approx(0.905, abs=0.001)
    assert [s["answer"] for s in attempt["samples"]] == ["6 legs.", "8 legs."]
    assert attempt["verdict"]["winner"] == 2
    assert attempt["verdict"]["dissent"] == [0]
    asked = model.calls[-1].messages[-1].text
    assert "6 legs." in asked
    assert WRONG in asked


async def test_the_verdict_shows_the_numbers_that_decided(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    signals = signals_of([("word ", -0.01)] * 40 + [("6", -3.0)] * 8)
    assert signals["weakest"] != signals["mean"]
    model.script = says(critique=WRONG, revise=Say("8 legs.", logprob=-0.1))

    verdict = (await after(resources, answered("direct", "6 legs.", signals)))["attempt"]["verdict"]

    old, new = (c["scores"]["confidence"] for c in verdict["candidates"])
    said = f"the revision has {new:.2f} by confidence, the answer before {old:.2f}"
    assert verdict["why"] == said


async def test_a_revision_that_it_is_less_sure_of_is_not(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(
        draft=Say("8 legs.", logprob=-0.1), critique=WRONG, revise=Say("6 legs.", logprob=-0.5)
    )

    ran = await reflect(resources)

    assert attempt_of(ran)["answer"] == "8 legs."
    assert attempt_of(ran)["verdict"]["why"].startswith("the answer before stays")


async def test_a_verifier_decides_before_confidence(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    resources.add_verifier("legs", lambda _, answer: float("8" in answer))
    model.script = says(
        draft=Say("6 legs.", logprob=-0.1), critique=WRONG, revise=Say("8 legs.", logprob=-0.9)
    )

    ran = await reflect(resources, verifier="legs")

    attempt = attempt_of(ran)
    assert attempt["answer"] == "8 legs."
    assert [s["score"] for s in attempt["samples"]] == [0.0, 1.0]


async def test_without_anything_to_compare_the_critique_decides(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(
        draft=Say("6 legs.", logprobs=False), critique=WRONG, revise=Say("8 legs.", logprobs=False)
    )

    ran = await reflect(resources)

    assert attempt_of(ran)["answer"] == "8 legs."


@pytest.mark.parametrize(
    "revision",
    [
        WRONG,
        f"The right answer: {WRONG}",
        "What is wrong: a sheep has 4 legs",
        "The answer is wrong.",
        "Nothing is wrong.",
        " \n ",
        "...",
    ],
)
async def test_a_critique_is_never_the_answer(
    revision: str, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(
        draft=Say("6 legs.", logprob=-2.0), critique=WRONG, revise=Say(revision, logprob=-0.01)
    )

    ran = await reflect(resources)

    attempt = attempt_of(ran)
    assert attempt["answer"] == "6 legs."
    assert [s["status"] for s in attempt["samples"]] == ["ok", "failed"]
    assert "the answer before stays: the revision" in ran.state["notices"][0]


async def test_the_last_answer_of_the_run_is_criticised(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    earlier = answered("direct", "6 legs.", signals_of([("6", -0.5)]))
    lost = failed("dream", "OutputInvalid", "no")
    model.script = says(critique=WRONG, revise=Say("8 legs.", logprob=-0.1))

    end = await after(resources, earlier, lost)

    assert [step_of(c) for c in model.calls] == ["critique", "revise"]
    assert end["attempt"]["answer"] == "8 legs."
    assert earlier["signals"]["verifier"] is None


async def test_agreement_speaks_for_an_earlier_answer(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    earlier = answered("self_consistency", "8", signals_of([("8", -0.9)], agreement=0.95))
    model.script = says(critique=WRONG, revise=Say("6 legs.", logprob=-0.2))

    end = await after(resources, earlier)

    assert end["attempt"]["answer"] == "8"


async def test_an_earlier_attempt_is_left_as_it_was(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    resources.add_verifier("legs", lambda *_: 0.5)
    earlier = answered("direct", "6 legs.", signals_of([("6", -0.5)]))
    model.script = says(critique=WRONG, revise=Say("8 legs."))

    await after(resources, earlier, verifier="legs")

    assert earlier["signals"]["verifier"] is None


async def test_without_anything_tried_it_answers_first(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(draft="8 legs.", critique="Nothing is wrong.")

    end = await after(resources, failed("direct", "OutputInvalid", "no"))

    assert end["attempt"]["answer"] == "8 legs."


async def test_a_critique_that_fails_leaves_the_answer(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    gone = Say("A", error=ModelUnavailable("gone"))
    for said in ({"critique": gone}, {"critique": WRONG, "revise": gone}):
        model.script = says(draft="8 legs.", **said)

        ran = await reflect(resources)

        assert attempt_of(ran)["answer"] == "8 legs."
        assert ran.state["notices"][0].startswith("answered without the ")
        cost = ran.of("budget")[-1]["cost"]
        assert cost["spent"]["calls"] == 1 + len(said)


async def test_with_an_earlier_answer_it_fails_by_itself(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    """Else the same answer would count twice."""
    model.script = says(critique=Say("A", error=ModelUnavailable("gone", hint="start it")))

    end = await after(resources, answered("direct", "6 legs."))

    attempt = end["attempt"]
    assert (attempt["status"], attempt["error"], attempt["hint"]) == ("failed", "gone", "start it")


async def test_an_empty_answer_is_not_criticised(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(draft=" ")

    end = await after(resources)

    assert end["attempt"]["error"] == "the model gave an empty answer"
    assert len(model.calls) == 1


async def test_its_steps_are_shown_as_branches(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(draft="6 legs.", critique=WRONG, revise="8 legs.")

    ran = await reflect(resources)

    labels = [(e["branch"], e["label"]) for e in ran.of("branch_started")]
    assert labels == [(0, "answer"), (1, "critique"), (2, "revision")]
    texts = {b: "".join(e["text"] for e in ran.of("token") if e["branch"] == b) for b in range(3)}
    assert texts == {0: "6 legs.", 1: WRONG, 2: "8 legs."}


async def test_the_smallest_budget_that_it_names_works(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(draft="8 legs.", critique="Nothing is wrong.")
    with pytest.raises(BudgetExceeded) as caught:
        await reflect(resources, tokens=3)
    smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])

    ran = await reflect(resources, tokens=smallest)

    assert ran.state["answer"]["text"] == "8 legs."
    assert ran.state["notices"][0].startswith("answered without the critique: ")


@pytest.mark.parametrize(
    "critique",
    [
        "Nothing is wrong.",
        "nothing",
        "There is nothing wrong with it.",
        "No mistakes.",
        "There are no errors here.",
        "The answer is correct.",
        "Yes, that is right.",
        "Correct!",
        "OK",
        "",
        "...",
        "8 legs.",
        "The answer is 8.",
    ],
)
def test_these_find_nothing_wrong(critique: str) -> None:
    assert objection(critique, "Two sheep have 8 legs.", QUESTION) == ""


@pytest.mark.parametrize(
    "critique",
    [
        WRONG,
        "The answer is not right.",
        "It is wrong.",
        "Nothing in it follows.",
        "The correct number is 8.",
        "No, a sheep has 4.",
        "Right is 8.",
    ],
)
def test_these_do(critique: str) -> None:
    assert objection(f" {critique}\n", "6 legs.", QUESTION) == critique


def test_a_revision_may_say_what_is_right_about_the_subject() -> None:
    assert fault_of("Two sheep have 8 legs.", WRONG) == ""
    assert fault_of("8", "8") != ""
    assert plain_revision("Correct answer: 8 legs.\nBecause.") == "8 legs."
