"""The panel: roles, the vote, and the discussion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from reverie.errors import BudgetExceeded, ModelUnavailable
from reverie.graphs.budget import total_tokens
from tests.unit.conftest import Call, Ran, Say, ScriptedModel, ScriptedResources, run_graph

QUESTION = "How many balls are in the box?"


def role_of(call: Call) -> str:
    found = re.search(r"You are a (\w+)", call.messages[0].text)
    assert found is not None
    return found[1]


def discusses(call: Call) -> bool:
    return "The others on the panel say" in call.messages[-1].text


def says(
    first: dict[str, str | Say], again: dict[str, str | Say] | None = None
) -> Callable[..., Say]:
    """What each role says at first, and after it has read the others."""

    def script(call: Call) -> Say:
        said = (again or {})[role_of(call)] if discusses(call) else first[role_of(call)]
        return said if isinstance(said, Say) else Say(f"I think so.\nAnswer: {said}")

    return script


async def sit(resources: ScriptedResources, **context: Any) -> Ran:
    return await run_graph(resources, QUESTION, **{"strategy": "panel", **context})


def attempt_of(ran: Ran) -> dict[str, Any]:
    attempt: dict[str, Any] = ran.state["attempts"][0]
    return attempt


async def test_agents_of_different_roles_vote(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says({"solver": "6", "skeptic": "9", "checker": "nine"})

    ran = await sit(resources)

    attempt = attempt_of(ran)
    assert attempt["answer"] == "9"
    assert attempt["signals"]["agreement"] == pytest.approx(2 / 3)
    assert [s["label"] for s in attempt["samples"]] == ["solver", "skeptic", "checker"]
    assert attempt["verdict"]["dissent"] == [0]
    assert len(model.calls) == 3
    assert {c.options["temperature"] for c in model.calls} == {0.0}
    labels = [(e["branch"], e["label"]) for e in ran.of("branch_started")]
    assert sorted(labels) == [(0, "solver"), (1, "skeptic"), (2, "checker")]


async def test_more_agents_than_roles_are_drawn(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says({"solver": "6", "skeptic": "9", "checker": "9"})

    ran = await sit(resources, agents=5)

    labels = [s["label"] for s in attempt_of(ran)["samples"]]
    assert labels == ["solver", "skeptic", "checker", "solver 2", "skeptic 2"]
    assert sorted(c.options["temperature"] for c in model.calls) == [0, 0, 0, 0.7, 0.7]


async def test_in_a_discussion_each_reads_what_the_others_said(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(
        {"solver": "6", "skeptic": "9", "checker": "7"},
        {"solver": "9", "skeptic": "9", "checker": "9"},
    )

    ran = await sit(resources, consensus="discuss")

    attempt = attempt_of(ran)
    assert attempt["answer"] == "9"
    assert attempt["signals"]["agreement"] == pytest.approx(1.0)
    read = {role_of(c): c for c in model.calls if discusses(c)}
    assert "- skeptic: 9\n- checker: 7" in read["solver"].messages[-1].text
    assert "solver" not in read["solver"].messages[-1].text
    own = read["solver"].messages[-2]
    assert (own.type, own.text) == ("ai", "I think so.\nAnswer: 6")
    assert [s["label"] for s in attempt["samples"]][3:] == [
        "solver, again",
        "skeptic, again",
        "checker, again",
    ]
    assert [c["branch"] for c in attempt["verdict"]["candidates"]] == [3, 4, 5]


async def test_who_agrees_at_once_does_not_discuss(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says({"solver": "9", "skeptic": "9", "checker": "nine balls"})

    await sit(resources, consensus="discuss")

    assert len(model.calls) == 3


async def test_who_fails_to_answer_again_stands_by_the_first_answer(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    gone = Say(error=ModelUnavailable("gone"))
    model.script = says(
        {"solver": gone, "skeptic": "9", "checker": "6"}, {"skeptic": gone, "checker": "9"}
    )

    ran = await sit(resources, consensus="discuss")

    attempt = attempt_of(ran)
    assert attempt["answer"] == "9"
    assert sorted(c["branch"] for c in attempt["verdict"]["candidates"]) == [1, 4]
    assert attempt["signals"]["agreement"] == pytest.approx(1.0)
    assert [s["status"] for s in attempt["samples"]] == ["failed", "ok", "ok", "failed", "ok"]


async def test_without_the_budget_for_a_discussion_they_vote(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says({"solver": "6", "skeptic": "9", "checker": "7"})

    ran = await sit(resources, consensus="discuss", calls=3)

    assert attempt_of(ran)["status"] == "ok"
    assert any("votes without a discussion" in n for n in ran.state["notices"])


async def test_when_all_fail_the_error_is_theirs(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say(error=ModelUnavailable("gone"))

    for consensus in ("vote", "discuss"):
        with pytest.raises(ModelUnavailable, match="all 3 samples failed: gone"):
            await sit(resources, consensus=consensus)


@pytest.mark.parametrize("consensus", ["vote", "discuss"])
@pytest.mark.parametrize("tokens", [160, 300, 500, 900, 1400, 2500, 4000])
async def test_no_budget_is_overshot(
    tokens: int, consensus: str, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: Say(f"{len(call.messages)} {role_of(call)} " * 200)

    try:
        ran = await sit(resources, consensus=consensus, tokens=tokens)
    except BudgetExceeded:
        assert model.calls == []
    else:
        cost = ran.of("budget")[-1]["cost"]
        assert cost["left"]["tokens"] == tokens - total_tokens(cost["spent"])
    assert sum(model.tokens) <= tokens


@pytest.mark.parametrize("consensus", ["vote", "discuss"])
async def test_the_smallest_budget_that_it_names_works(
    consensus: str, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says({"solver": "9"})
    with pytest.raises(BudgetExceeded) as caught:
        await sit(resources, consensus=consensus, tokens=3)
    smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])

    ran = await sit(resources, consensus=consensus, tokens=smallest)

    assert ran.state["answer"]["text"] == "9"
    assert "the budget pays for 1 of 3 agents" in ran.state["notices"]
