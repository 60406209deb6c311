"""Best of n: candidates, their judge, and what happens when there is none or it goes wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from reverie.errors import BudgetExceeded, ModelUnavailable
from reverie.graphs.budget import NO_USAGE, total_tokens
from reverie.graphs.call import Reply
from reverie.graphs.judge import probability_of_yes
from tests.unit.conftest import Call, Ran, Say, ScriptedModel, ScriptedResources, run_graph

QUESTION = "How many legs do two sheep have?"


def is_judge(call: Call) -> bool:
    return call.messages[0].text.startswith("You check answers")


def asked_about(call: Call) -> str:
    return call.messages[-1].text.rpartition("Answer: ")[2]


def says(*answers: str | Say, judge: Mapping[str, Say | str] | Say) -> Callable[[Call], Say]:
    """One answer per candidate, in order; the judge's word by the answer that it is asked about."""

    def script(call: Call) -> Say:
        if is_judge(call):
            found = judge if isinstance(judge, Say) else judge[asked_about(call)]
        else:
            found = answers[min(call.options["seed"], len(answers) - 1)]
        return found if isinstance(found, Say) else Say(found, logprob=-0.05)

    return script


async def best(resources: ScriptedResources, **context: Any) -> Ran:
    return await run_graph(resources, QUESTION, **{"strategy": "best_of_n", **context})


def attempt_of(ran: Ran) -> dict[str, Any]:
    attempt: dict[str, Any] = ran.state["attempts"][0]
    return attempt


async def test_the_model_judges_each_distinct_answer_once(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    no, yes = Say('"no"', logprob=-0.1), Say('"yes"', logprob=-0.1)
    model.script = says(
        "6 legs.",
        "8 legs.",
        "eight",
        "Two sheep have 8 legs",
        judge={
            "6 legs.": no,
            "8 legs.": yes,
            "eight": yes,
            "Two sheep have 8 legs": yes,
        },
    )

    ran = await best(resources)

    attempt = attempt_of(ran)
    assert sum(map(is_judge, model.calls)) == 2
    assert attempt["verdict"]["winner"] in {1, 2, 3}
    assert [s["score"] for s in attempt["samples"]] == pytest.approx(
        [1 - math.exp(-0.1), *[math.exp(-0.1)] * 3]
    )
    assert attempt["verdict"]["weights"] == {"judge": 1.0}
    assert attempt["verdict"]["dissent"] == [0]
    assert attempt["signals"]["agreement"] == 0.75
    assert attempt["signals"]["verifier"] is None  # its own word is no verification


async def test_the_first_candidate_is_greedy_and_the_others_are_drawn(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("1", "2", "3", "4", judge=Say('"yes"'))

    ran = await best(resources, temperature=0.9)

    drawn = [c.options["temperature"] for c in model.calls if not is_judge(c)]
    assert sorted(drawn) == [0.0, 0.9, 0.9, 0.9]
    assert [s["label"] for s in attempt_of(ran)["samples"]] == [
        f"candidate {n}" for n in range(1, 5)
    ]


async def test_the_judge_is_asked_under_a_schema_and_is_not_shown(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("1", "2", "3", "4", judge=Say('"yes"'))

    ran = await best(resources)

    (options, *_) = [c.options for c in model.calls if is_judge(c)]
    assert options["response_format"]["json_schema"]["schema"]["enum"] == ["yes", "no"]
    assert options["top_logprobs"] == 20
    assert options["temperature"] == 0.0
    assert '"yes"' not in "".join(e["text"] for e in ran.of("token"))


async def test_when_all_say_the_same_nobody_is_asked(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("8", "8 legs", "eight", "8.", judge={})

    ran = await best(resources)

    assert len(model.calls) == 4
    assert attempt_of(ran)["verdict"]["why"] == "all 4 candidates say the same"
    assert attempt_of(ran)["signals"]["agreement"] == 1.0


async def test_without_log_probabilities_it_goes_by_what_more_candidates_say(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    quiet = [Say(text, logprobs=False) for text in ("6", "8", "8", "7")]
    model.script = says(*quiet, judge=Say('"yes"', logprobs=False))

    ran = await best(resources)

    attempt = attempt_of(ran)
    assert attempt["answer"] == "8"
    assert attempt["verdict"]["weights"] == {"confidence": 1.0}


async def test_a_judge_that_cannot_be_read_leaves_it_to_confidence(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(
        Say("6", logprob=-0.9), Say("8", logprob=-0.1), Say("7", logprob=-0.9), judge=Say("maybe")
    )

    ran = await best(resources)

    assert attempt_of(ran)["answer"] == "8"
    assert attempt_of(ran)["verdict"]["weights"] == {"confidence": 1.0}


async def test_the_registered_verifier_judges_instead(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    asked: list[tuple[str, str]] = []

    def verifier(question: str, answer: str) -> float:
        asked.append((question, answer))
        return 1.0 if answer == "8" else 0.0

    resources.add_verifier("legs", verifier)
    model.script = says("6", "8", "6", "7", judge={})

    ran = await best(resources, verifier="legs")

    attempt = attempt_of(ran)
    assert attempt["answer"] == "8"
    assert attempt["signals"]["verifier"] == 1.0
    assert attempt["verdict"]["weights"] == {"verifier": 1.0}
    assert len(model.calls) == 4
    assert sorted(asked[:3]) == [(QUESTION, "6"), (QUESTION, "7"), (QUESTION, "8")]


async def test_a_verifier_that_raises_is_said_once_and_ends_nothing(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    def verifier(question: str, answer: str) -> float:
        raise ValueError("no idea")

    resources.add_verifier("legs", verifier)
    model.script = says(Say("6", logprob=-0.9), Say("8", logprob=-0.1), judge={})

    ran = await best(resources, verifier="legs", best_of=2)

    assert attempt_of(ran)["answer"] == "8"
    told = [n for n in ran.state["notices"] if "the verifier legs failed" in n]
    assert told == ["the verifier legs failed: ValueError: no idea; its word is left out"]


async def test_what_could_not_be_judged_counts_as_even(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    """A verifier that knows only what is wrong."""
    resources.add_verifier("legs", lambda _, answer: 0.0 if answer == "6" else None)
    model.script = says(Say("6", logprob=-0.01), Say("8", logprob=-0.9), judge={})

    ran = await best(resources, verifier="legs", best_of=2)

    attempt = attempt_of(ran)
    assert attempt["answer"] == "8"
    assert [c["total"] for c in attempt["verdict"]["candidates"]] == [0.0, 0.5]


async def test_a_judging_that_fails_is_said_and_charged(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    gone = Say('"yes"', error=ModelUnavailable("gone"))
    model.script = says("6", "8", judge={"6": gone, "8": Say('"yes"')})

    ran = await best(resources, best_of=2)

    assert attempt_of(ran)["answer"] == "8"
    assert ran.state["notices"] == ["an answer was not judged: gone"]
    cost = ran.of("budget")[-1]["cost"]
    assert cost["left"]["tokens"] == cost["limits"]["tokens"] - total_tokens(cost["spent"])


async def test_a_failed_candidate_is_a_record(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(Say(error=ModelUnavailable("gone")), "8", judge={})

    ran = await best(resources, best_of=2)

    assert [s["status"] for s in attempt_of(ran)["samples"]] == ["failed", "ok"]
    assert attempt_of(ran)["verdict"]["why"] == "candidate 2 is the only one"


async def test_when_all_fail_the_error_is_theirs(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(Say(error=ModelUnavailable("gone", hint="start it")), judge={})

    with pytest.raises(ModelUnavailable, match="all 4 samples failed: gone") as caught:
        await best(resources)
    assert caught.value.hint == "start it"


@pytest.mark.parametrize("tokens", range(80, 900, 60))
async def test_no_budget_is_overshot(
    tokens: int, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: (
        Say('"yes"') if is_judge(call) else Say(f"{call.options['seed']} legs " * 60)
    )
    try:
        ran = await best(resources, tokens=tokens)
    except BudgetExceeded:
        assert model.calls == []
    else:
        assert attempt_of(ran)["status"] == "ok"
    assert sum(model.tokens) <= tokens


async def test_the_smallest_budget_that_it_names_works(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("8", judge={})
    with pytest.raises(BudgetExceeded) as caught:
        await best(resources, tokens=3)
    smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])
    with pytest.raises(BudgetExceeded, match=f" {smallest} tokens"):
        await best(resources, tokens=smallest - 1)
    assert model.calls == []

    ran = await best(resources, tokens=smallest)

    assert ran.state["answer"]["text"] == "8"
    assert ran.state["notices"] == ["the budget pays for 1 of 4 candidates"]


def reply(*tokens: tuple[str, Mapping[str, float]]) -> Reply:
    """A greedy reply: each token is the likeliest of its alternatives."""
    written = tuple(max(others.items(), key=lambda item: item[1]) for _, others in tokens)
    return Reply("", written, True, NO_USAGE, alternatives=tuple(o for _, o in tokens))


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"yes": math.log(0.6), "no": math.log(0.2)}, 0.75),
        ({" Yes": math.log(0.1), "No": math.log(0.3), "the": math.log(0.2)}, 0.25),
        ({"y": math.log(0.3), "yes": math.log(0.3), "n": math.log(0.2)}, 0.75),
        ({"yes": math.log(0.9), "the": math.log(0.05)}, 1.0),
        ({"yes": math.log(0.7)}, 0.7),
        ({"no": math.log(0.7)}, 0.3),
    ],
)
def test_the_probability_of_yes_is_against_that_of_no(
    others: Mapping[str, float], expected: float
) -> None:
    quote = ('"', {'"': 0.0})

    assert probability_of_yes(reply(("", others))) == pytest.approx(expected)
    assert probability_of_yes(reply(quote, ("", others))) == pytest.approx(expected)


@pytest.mark.parametrize("word", ["maybe", "nothing", "not", "yesterday", "?"])
def test_what_is_neither_is_no_probability(word: str) -> None:
    assert probability_of_yes(reply(("", {word: -0.1}))) is None
    assert probability_of_yes(Reply("yes", (), True, NO_USAGE)) is None
