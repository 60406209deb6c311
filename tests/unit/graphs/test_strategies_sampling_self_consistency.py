"""Self-consistency: waves of samples, the vote, and a budget that holds."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from reverie.errors import (
    BudgetExceeded,
    KnowledgeUnavailable,
    ModelRejected,
    ModelUnavailable,
    OutputInvalid,
)
from reverie.graphs.budget import total_tokens
from reverie.graphs.context import Context
from reverie.graphs.events import Event
from reverie.graphs.standalone import standalone
from tests.unit.conftest import Call, Ran, Say, ScriptedModel, ScriptedResources, run_graph

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
QUESTION = "How many balls are in the box?"
SURE = -0.01


def says(*answers: str | Say) -> Callable[[Call], Say]:
    """One reply per call, in order of the calls' seeds; the last one for the rest."""

    def script(call: Call) -> Say:
        reply = answers[min(call.options["seed"], len(answers) - 1)]
        if isinstance(reply, Say):
            return reply
        return Say(f"First this. Then that.\nAnswer: {reply}", logprob=SURE)

    return script


async def vote(resources: ScriptedResources, **context: Any) -> Ran:
    return await run_graph(resources, QUESTION, **{"strategy": "self_consistency", **context})


def attempt_of(ran: Ran) -> dict[str, Any]:
    attempt: dict[str, Any] = ran.state["attempts"][0]
    return attempt


async def test_samples_are_drawn_each_with_its_own_seed_and_label(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("1", "2", "3", "4", "5")

    ran = await vote(resources, seed=0, temperature=0.9)

    assert sorted(c.options["seed"] for c in model.calls) == [0, 1, 2, 3, 4]
    assert {c.options["temperature"] for c in model.calls} == {0.9}
    labels = [(e["branch"], e["label"]) for e in ran.of("branch_started")]
    assert sorted(labels) == [(i, f"sample {i + 1}") for i in range(5)]
    assert [s["branch"] for s in attempt_of(ran)["samples"]] == [0, 1, 2, 3, 4]


async def test_the_vote_decides_with_every_number_that_says_so(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("9", "6", "nine", "There are 9 balls.", "six")

    ran = await vote(resources)

    attempt = attempt_of(ran)
    assert attempt["answer"] == "9"
    assert attempt["signals"]["agreement"] == pytest.approx(3 / 4)
    assert attempt["signals"]["mean"] == pytest.approx(0.99, abs=0.001)
    assert attempt["verdict"]["dissent"] == [1]
    assert attempt["verdict"]["winner"] == 0
    assert [e["verdict"] for e in ran.of("verdict")] == [attempt["verdict"]]


async def test_it_stops_when_the_vote_is_settled(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("9")

    ran = await vote(resources)

    assert len(model.calls) == 3
    (notice,) = ran.state["notices"]
    given = re.fullmatch(
        r"the vote was settled after 3 of 5 samples: (\d+) tokens were given back", notice
    )
    assert given is not None
    assert int(given[1]) > 0
    assert {"type": "notice", "text": notice} in ran.events
    assert attempt_of(ran)["verdict"]["why"].endswith("the 2 still out could not change that")


async def test_further_waves_go_out_only_while_the_outcome_can_change(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("9", "6", "9", "9", "9")

    ran = await vote(resources)

    assert len(model.calls) == 5 - 1  # after three a single vote more can settle it, and does
    assert ran.nodes.count("tally") == 2
    assert "after 4 of 5 samples" in ran.state["notices"][0]


async def test_an_unsure_majority_is_asked_further(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says(Say("Hm.\nAnswer: 9", logprob=-0.6))

    await vote(resources)

    assert len(model.calls) == 4


async def test_the_number_of_waves_is_bounded(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    """Answers that never settle: the last wave asks all that are left."""
    model.script = lambda call: Say(f"Hm.\nAnswer: {call.options['seed'] % 2}", logprob=SURE)

    ran = await vote(resources, samples=40, tokens=100_000, calls=100)

    assert len(model.calls) == 40
    assert ran.nodes.count("tally") <= 6


async def test_everything_given_back_adds_up(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("9")

    ran = await vote(resources)

    cost = ran.of("budget")[-1]["cost"]
    assert cost["spent"]["calls"] == 3
    assert cost["left"]["tokens"] == cost["limits"]["tokens"] - sum(model.tokens)
    usages = [s["usage"] for s in attempt_of(ran)["samples"]]
    assert sum(map(total_tokens, usages)) == sum(model.tokens)
    assert total_tokens(attempt_of(ran)["usage"]) == sum(model.tokens)


async def test_a_failed_sample_is_a_record_and_not_the_end(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    gone = Say("x y", error=ModelUnavailable("gone"), after=1)
    model.script = says("9", gone, "9", "6", "9")

    ran = await vote(resources)

    attempt = attempt_of(ran)
    assert (attempt["status"], attempt["answer"]) == ("ok", "9")
    failed = attempt["samples"][1]
    assert (failed["status"], failed["answer"], failed["error"]) == ("failed", "", "gone")
    assert total_tokens(failed["usage"]) > 0
    outcomes = [e["outcome"] for e in ran.of("branch_finished")]
    assert failed in outcomes
    cost = ran.of("budget")[-1]["cost"]
    assert cost["left"]["tokens"] == cost["limits"]["tokens"] - total_tokens(cost["spent"])


async def test_when_all_fail_alike_the_error_is_theirs_and_no_more_are_asked(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say(error=ModelRejected("no such thing", hint="mend it"))

    with pytest.raises(ModelRejected, match="all 3 samples failed: no such thing") as caught:
        await vote(resources)
    assert caught.value.hint == "mend it"
    assert len(model.calls) == 3


async def test_a_reply_without_an_answer_is_gone_on_with(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: (
        Say(" 9\nand more") if call.prefill else Say("I think and think.", logprob=SURE)
    )

    ran = await vote(resources)

    assert attempt_of(ran)["answer"] == "9"
    again = [c for c in model.calls if c.prefill]
    assert again[0].prefill == "I think and think.\nAnswer:"
    assert again[0].options["stop"] == ["\n"]
    # Once a sample, within its own reservation.
    assert len(again) == len(model.calls) / 2


async def test_where_a_model_cannot_go_on_the_next_turn_asks(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.abilities = {}
    model.script = lambda call: Say("Answer: 9" if len(call.messages) > 6 else "I think.")

    ran = await vote(resources)

    assert attempt_of(ran)["answer"] == "9"


async def test_no_answer_at_all_is_a_failed_sample(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("...")

    with pytest.raises(OutputInvalid, match="all 5 samples failed: it came to no answer"):
        await vote(resources)


async def test_the_signals_are_those_of_the_answer_and_not_of_the_reasoning(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    """The same number stands in the reasoning, too."""
    model.script = lambda _: Say("It is 9 or so.\nAnswer: 9", logprob=-0.5)

    ran = await vote(resources, samples=2)

    assert attempt_of(ran)["samples"][0]["confidence"] == pytest.approx(0.6065, abs=0.001)


async def test_without_log_probabilities_every_vote_is_one(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: Say(
        f"Hm.\nAnswer: {9 if call.options['seed'] else 6}", logprobs=False
    )

    ran = await vote(resources)

    attempt = attempt_of(ran)
    assert attempt["answer"] == "9"
    assert attempt["signals"]["mean"] is None
    assert attempt["signals"]["agreement"] == pytest.approx(3 / 4)


async def test_tokens_are_shown_under_their_branch(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("1", "2", "3", "4", "5")

    ran = await vote(resources)

    for branch in range(5):
        text = "".join(e["text"] for e in ran.of("token") if e["branch"] == branch)
        assert text == f"First this. Then that.\nAnswer: {branch + 1}"


async def test_its_events_are_of_the_published_types(resources: ScriptedResources) -> None:
    ran = await vote(resources)

    for event in ran.events:
        assert EVENT.validate_python(event, strict=True) == event


async def test_a_small_budget_gives_fewer_samples_and_says_so(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("1", "2", "3", "4", "5")

    ran = await vote(resources, tokens=500)

    assert ran.state["notices"][0] == f"the budget pays for {len(model.calls)} of 5 samples"
    assert 1 <= len(model.calls) < 5
    assert sum(model.tokens) <= 500


@pytest.mark.parametrize("tokens", range(140, 2400, 331))
async def test_no_budget_is_overshot(
    tokens: int, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("word " * 400)

    with contextlib.suppress(BudgetExceeded):
        await vote(resources, tokens=tokens)
    assert sum(model.tokens) <= tokens


async def test_few_calls_give_few_samples(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: Say("No end. " * 400 + "word")

    ran = await vote(resources, calls=2)

    assert len(model.calls) == 2
    assert attempt_of(ran)["answer"] == "No end."  # what the reasoning ended in
    assert attempt_of(ran)["samples"][0]["confidence"] == pytest.approx(0.905, abs=0.001)
    assert "the budget pays for 2 of 5 samples" in ran.state["notices"]


async def test_the_smallest_budget_that_it_names_works(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = says("9")
    with pytest.raises(BudgetExceeded) as caught:
        await vote(resources, tokens=3)
    smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])
    with pytest.raises(BudgetExceeded, match=f" {smallest} tokens"):
        await vote(resources, tokens=smallest - 1)
    assert model.calls == []

    ran = await vote(resources, tokens=smallest)

    assert ran.state["answer"]["text"] == "9"
    assert attempt_of(ran)["signals"]["agreement"] is None  # of one, nothing can be said


async def test_out_of_time_it_answers_with_the_votes_it_has(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: (
        Say("Hm.\nAnswer: 9", logprob=SURE)
        if call.options["seed"] == 0
        else Say("no end " * 99, delay=0.2)
    )

    ran = await vote(resources, seconds=1.0, samples=2)

    assert ran.state["answer"]["text"] == "9"
    assert [s["status"] for s in attempt_of(ran)["samples"]] == ["ok", "failed"]


async def test_without_an_embedder_sentences_are_compared_by_their_words(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    class Broken:
        async def embed(self, texts: list[str]) -> None:
            raise KnowledgeUnavailable("no embedder here")

    async def embedder() -> Broken:
        return Broken()

    model.script = says("It falls to the floor.", "It bounces off the floor.")
    context = Context(resources=resources.key, samples=2)
    resources.embedder = embedder  # type: ignore[method-assign]  # it breaks here

    state = await standalone("self_consistency").ainvoke({"question": "Why?"}, context=context)

    assert state["attempt"]["status"] == "ok"
    assert state["notices"] == ["similar sentences count as different answers: no embedder here"]


async def test_a_tally_that_breaks_is_a_failed_attempt_with_every_token_charged(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    async def embedder() -> None:
        raise ZeroDivisionError("oops")

    model.script = says("It falls to the floor.", "It bounces off the floor.")
    context = Context(resources=resources.key, samples=2)
    resources.embedder = embedder  # type: ignore[method-assign, assignment]  # it breaks here

    state = await standalone("self_consistency").ainvoke({"question": "Why?"}, context=context)

    assert state["attempt"]["status"] == "failed"
    assert "ZeroDivisionError: oops" in state["attempt"]["error"]
    spent = [e for e in state["ledger"] if e["kind"] == "spend"]
    assert sum(total_tokens(e["usage"]) for e in spent) == sum(model.tokens)
    reserved = {e["id"] for e in state["ledger"] if e["kind"] == "reserve"}
    assert reserved == {e["scope"] for e in state["ledger"] if e["kind"] == "release"}
