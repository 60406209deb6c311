"""The strategies that take one conversation: direct and chain of thought; and their registry."""

from __future__ import annotations

import re

import pytest

from reverie.cli.view import RunView
from reverie.errors import (
    BudgetExceeded,
    ConfigError,
    ModelUnavailable,
    OutputInvalid,
    ReverieError,
)
from reverie.graphs.strategies import known_strategies, require_strategy
from reverie.graphs.strategies.registry import strategy
from tests.unit.conftest import Call, Say, ScriptedModel, ScriptedResources, run_graph


def thinks(thought: str, answer: str) -> object:
    def script(call: Call) -> Say:
        return Say(f" {answer}" if call.prefill else thought)

    return script


def test_they_are_known_by_name_cheapest_first() -> None:
    known = known_strategies()

    assert set(known) >= {
        *("direct", "chain_of_thought", "self_consistency", "best_of_n", "reflect", "panel"),
        *("decompose", "tools", "search", "dream"),
    }
    assert [s.cost for s in known.values()] == sorted(s.cost for s in known.values())
    assert all(s.summary for s in known.values())
    assert known["dream"].needs == {"facts"}
    assert known["reflect"].needs == {"attempts"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("Dream", "dream"), ("chain of thought", "chain_of_thought"), ("dirct", "direct")],
)
def test_an_unknown_one_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        require_strategy(name)

    assert caught.value.hint.startswith(f"did you mean {nearest}?")


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two strategies"):
        strategy("direct", cost=1, summary="another")(lambda: None)  # type: ignore[arg-type, return-value]


async def test_direct_answers_with_one_call(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await run_graph(resources, strategy="direct")

    assert ran.state["answer"]["text"] == "It falls to the ground."
    assert ran.state["answer"]["confidence"] == pytest.approx(0.905, abs=0.001)
    assert len(model.calls) == 1
    assert model.calls[0].options["temperature"] == 0.0


async def test_chain_of_thought_reasons_and_then_concludes(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = thinks("It is heavy. So it falls.\nAnswer: never read", "It falls.\nNext:")  # type: ignore[assignment]

    ran = await run_graph(resources, strategy="chain_of_thought")

    assert ran.state["answer"]["text"] == "It falls."
    think, conclude = model.calls
    assert think.options["stop"] == ["Answer:"]
    assert conclude.prefill == "It is heavy. So it falls.\nAnswer:"
    assert list(conclude.messages) == list(think.messages)  # what the prefix cache pays for
    assert [e["node"] for e in ran.state["ledger"] if e["kind"] == "spend"] == [
        "chain_of_thought.think",
        "chain_of_thought.conclude",
    ]


async def test_a_model_that_cannot_go_on_with_its_words_concludes_in_another_turn(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.abilities = {}
    says = iter(["It is heavy. So it falls.\nAnswer: never read", "Answer: It falls.\nNext:"])
    model.script = lambda _: next(says)

    ran = await run_graph(resources, strategy="chain_of_thought")

    assert ran.state["answer"]["text"] == "It falls."
    think, conclude = model.calls
    assert conclude.prefill == ""
    *first, thought, request = conclude.messages
    assert first == list(think.messages)
    assert (thought.type, thought.text) == ("ai", "It is heavy. So it falls.")
    assert (request.type, request.text) == ("human", "Now write the answer in one short sentence.")
    shown = "".join(event["text"] for event in ran.of("token"))
    assert shown == "It is heavy. So it falls.\n\nAnswer: Answer: It falls.\nNext:"


async def test_without_a_thought_the_next_turn_is_not_empty(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.abilities = {}
    says = iter(["Answer: 9", "9 balls."])
    model.script = lambda _: next(says)

    ran = await run_graph(resources, strategy="chain_of_thought")

    assert ran.state["answer"]["text"] == "9 balls."
    assert all(message.text for message in model.calls[1].messages)


@pytest.mark.parametrize("abilities", [{}, {"prefill": True}])
async def test_a_conclusion_that_breaks_off_is_shown_anew(
    abilities: dict[str, bool], resources: ScriptedResources, model: ScriptedModel
) -> None:
    broken = ModelUnavailable("gone", transient=True)
    says = iter(
        [Say("Heavy things fall."), Say("It fell", error=broken, after=1), Say("It falls.")]
    )
    model.abilities = abilities
    model.script = lambda _: next(says)

    ran = await run_graph(resources, strategy="chain_of_thought")

    view = RunView("")
    for event in ran.events:
        view.take(event)  # type: ignore[arg-type]  # the events of the real graph
    assert "".join(view.attempt.text.split()) == "Heavythingsfall.Answer:Itfalls."
    assert ran.of("budget")[-1]["cost"]["spent"]["calls"] == 3


async def test_a_model_that_answers_at_once_needs_no_thought(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = thinks("Answer: 9", "9 balls.")  # type: ignore[assignment]

    ran = await run_graph(resources, strategy="chain_of_thought")

    assert ran.state["answer"]["text"] == "9 balls."


async def test_a_model_that_concludes_nothing_is_taken_at_its_last_sentence(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = thinks("It is heavy. So it falls.", "\n\n")  # type: ignore[assignment]

    ran = await run_graph(resources, strategy="chain_of_thought")

    assert ran.state["answer"]["text"] == "So it falls."


@pytest.mark.parametrize("name", ["direct", "chain_of_thought"])
async def test_an_empty_answer_is_an_error(
    name: str, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: " \n "

    with pytest.raises(OutputInvalid, match="empty answer"):
        await run_graph(resources, strategy=name)


@pytest.mark.parametrize("name", ["direct", "chain_of_thought"])
async def test_a_models_error_is_the_runs_error_when_no_other_strategy_may_be_tried(
    name: str, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("x y z", error=ModelUnavailable("gone", hint="start it"), after=2)

    with pytest.raises(ModelUnavailable, match="gone") as caught:
        await run_graph(resources, strategy=name)
    assert caught.value.hint == "start it"


async def test_a_bug_is_a_typed_error_too(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("x", error=ZeroDivisionError("oops"))

    with pytest.raises(ReverieError, match="ZeroDivisionError: oops") as caught:
        await run_graph(resources, strategy="direct")
    assert "bug in Reverie" in caught.value.hint


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize("name", ["direct", "chain_of_thought", "dream"])
async def test_the_smallest_budget_that_an_error_names_works(
    name: str, able: bool, resources: ScriptedResources, model: ScriptedModel
) -> None:
    """Through the whole graph, and one token less does not."""
    model.abilities = model.abilities if able else {}
    model.script = lambda call: Say("word. " * 200) if call.schema is None else dream_of(call)

    with pytest.raises(BudgetExceeded) as caught:
        await run_graph(resources, strategy=name, tokens=3)
    smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])
    assert f"the smallest budget that would do is {smallest} tokens" in caught.value.message
    with pytest.raises(BudgetExceeded, match=f" {smallest} tokens"):
        await run_graph(resources, strategy=name, tokens=smallest - 1)
    assert model.calls == []

    ran = await run_graph(resources, strategy=name, tokens=smallest)

    assert ran.state["answer"]["text"]
    assert sum(model.tokens) <= smallest


async def test_under_auto_the_smallest_budget_of_all_is_named_and_works(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    with pytest.raises(BudgetExceeded) as caught:
        await run_graph(resources, tokens=3)
    smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])

    ran = await run_graph(resources, tokens=smallest)

    assert ran.state["answer"]["strategy"] == "direct"


async def test_chain_of_thought_needs_two_calls(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    with pytest.raises(BudgetExceeded, match="two model calls, and 1 is left"):
        await run_graph(resources, strategy="chain_of_thought", calls=1)
    assert model.calls == []


async def test_out_of_time_before_the_conclusion_it_answers_with_the_reasoning(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    def script(call: Call) -> Say:
        return Say("no end " * 50, delay=0.5) if call.prefill else Say("Heavy. So it falls.")

    model.script = script

    ran = await run_graph(resources, strategy="chain_of_thought", seconds=1.5)

    assert ran.state["answer"]["text"] == "So it falls."
    assert "1.5 seconds is used up" in ran.state["answer"]["stopped"]
    assert ran.state["notices"][0].startswith("answered with the end of the reasoning: the time")


def dream_of(call: Call) -> Say:
    from tests.unit.conftest import dream_text

    return Say(dream_text(call))


async def test_an_answer_that_was_cut_off_says_so(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: " ".join(["word"] * 500)  # type: ignore[assignment]

    ran = await run_graph(resources, strategy="direct")

    assert ran.state["notices"] == ["the answer was cut off after 96 tokens"]


async def test_a_whole_answer_has_no_notice(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await run_graph(resources, strategy="direct")

    assert ran.state["notices"] == []
