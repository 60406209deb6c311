"""The dream strategy: branches fail alone, and together stay within the budget."""

from __future__ import annotations

import asyncio
import itertools
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reverie.errors import BudgetExceeded, ModelUnavailable, OutputInvalid, ReverieError
from reverie.graphs.budget import Entry, add_usage, total_tokens
from reverie.graphs.context import Context
from reverie.graphs.dream import graph as dream_graph
from reverie.graphs.reason import graph as reason_graph
from reverie.graphs.records import EXPERTS
from reverie.settings import Settings
from tests.unit.conftest import (
    QUESTION,
    Call,
    Ran,
    Say,
    ScriptedModel,
    ScriptedResources,
    dream_text,
    run_graph,
)


async def dream(resources: ScriptedResources, **context: object) -> Ran:
    return await run_graph(resources, strategy="dream", **context)


def statuses(ran: Ran) -> list[str]:
    return [d["status"] for d in ran.state["attempts"][0]["dreams"]]


async def test_four_experts_dream_and_one_wins(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await dream(resources)

    (attempt,) = ran.state["attempts"]
    assert [d["expert"] for d in attempt["dreams"]] == list(EXPERTS)
    assert sorted(c.expert for c in model.calls) == sorted(EXPERTS)
    winner = attempt["dreams"][attempt["verdict"]["winner"]]
    assert ran.state["answer"]["text"] == attempt["answer"] == winner["answer"]
    assert [f["what"] for f in attempt["evidence"]] == ["a ball", "a ball", "a stone"]
    assert {t["origin"] for d in attempt["dreams"] for t in d["triplets"]} == {"fact"}


async def test_more_branches_repeat_the_experts_with_other_seeds(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await dream(resources, branches=6, seed=7)

    dreams = ran.state["attempts"][0]["dreams"]
    assert [d["expert"] for d in dreams] == [*EXPERTS, "spatial", "temporal"]
    spatial = sorted(
        (c.options["seed"], c.options["temperature"]) for c in model.calls if c.expert == "spatial"
    )
    assert spatial == [(7, 0.0), (11, 0.7)]


async def test_without_a_beginning_all_but_one_branch_are_drawn(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    """Nothing but the role would tell them apart."""
    await run_graph(resources, "Why do stones sink?", strategy="dream")

    temperatures = {c.expert: c.options["temperature"] for c in model.calls}
    assert temperatures == {"spatial": 0.0, "temporal": 0.7, "causal": 0.7, "abstract": 0.7}


@pytest.mark.parametrize(
    ("abilities", "begins", "temperatures"),
    [
        ({"json_schema": True, "schema_patterns": True}, True, {0.0}),
        ({"prefill": True, "json_schema": True, "schema_patterns": True}, True, {0.0}),
        ({"json_schema": True}, False, {0.0, 0.7}),
        ({}, False, {0.0, 0.7}),
    ],
)
async def test_a_served_model_dreams_without_a_reply_that_was_begun(
    abilities: dict[str, bool],
    begins: bool,
    temperatures: set[float],
    resources: ScriptedResources,
    model: ScriptedModel,
) -> None:
    model.abilities = abilities

    ran = await dream(resources)

    assert statuses(ran) == ["ok"] * 4
    assert {call.prefill for call in model.calls} == {""}
    assert {call.options["temperature"] for call in model.calls} == temperatures
    answers = {d["answer"] for d in ran.state["attempts"][0]["dreams"]}
    assert all(answer.startswith("When you drop a ball, ") for answer in answers) == begins
    # The opener was forced: it says nothing of how sure the model is.
    assert ran.state["attempts"][0]["dreams"][0]["confidence"] == pytest.approx(0.905, abs=0.001)


async def test_what_a_branchs_model_wants_said_reaches_the_run(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: Say(dream_text(call), told={"notices": ["never probed"]})

    ran = await dream(resources)

    assert ran.state["notices"] == ["never probed"]
    assert len(ran.of("notice")) == 4


def only(expert: str, say: Callable[[Call], Say]) -> Callable[[Call], Say]:
    """One expert says this; the others dream as they should."""
    return lambda call: say(call) if call.expert == expert else Say(dream_text(call))


@pytest.mark.parametrize(
    ("say", "told"),
    [
        (Say("x y z", error=ModelUnavailable("gone"), after=1), "gone"),
        (Say("x", error=ZeroDivisionError("oops")), "ZeroDivisionError: oops"),
        (Say('and then "'), "cut off"),
        (Say('it falls","triplets":7}'), "not the document"),
        (Say("very " * 500), "cut off"),
    ],
)
async def test_a_branch_that_fails_is_shown_and_the_others_are_kept(
    say: Say, told: str, resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = only("causal", lambda _: say)

    ran = await dream(resources)

    assert statuses(ran) == ["ok", "ok", "failed", "ok"]
    lost = ran.state["attempts"][0]["dreams"][2]
    assert told in lost["error"]
    assert lost["usage"]["calls"] == 1
    assert ran.state["answer"]["status"] == "answered"
    assert ran.state["answer"]["stopped"] == ""
    finished = {e["branch"]: e["outcome"] for e in ran.of("branch_finished")}
    assert finished[2] == lost
    spent = total_tokens(ran.of("budget")[-1]["cost"]["spent"])
    assert spent == sum(model.tokens)


async def test_a_branch_that_is_too_slow_is_left_behind(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = only("temporal", lambda call: Say(dream_text(call), delay=5))

    ran = await dream(resources, dream_seconds=1.0)

    assert statuses(ran) == ["ok", "failed", "ok", "ok"]
    assert "the time ran out after 1.0 s" in ran.state["attempts"][0]["dreams"][1]["error"]
    assert len(model.cancelled) == 1
    assert ran.of("budget")[-1]["cost"]["spent"]["estimated"]


async def test_out_of_time_it_answers_from_what_finished_and_says_so(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = only("temporal", lambda call: Say(dream_text(call), delay=5))

    ran = await dream(resources, seconds=2.0)

    assert ran.state["answer"]["status"] == "answered"
    assert ran.state["answer"]["stopped"] == (
        "the budget of 2 seconds is used up; answered from the 3 dreams that finished"
    )


async def test_a_budget_for_two_dreams_gives_two_and_a_notice(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await dream(resources, tokens=560)

    assert statuses(ran) == ["ok", "ok"]
    assert ran.state["notices"] == ["the budget pays for 2 of 4 dreams"]
    assert ran.of("notice") == [{"type": "notice", "text": ran.state["notices"][0]}]
    assert sum(model.tokens) <= 560


async def test_calls_limit_the_branches_too(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await dream(resources, calls=3)

    assert statuses(ran) == ["ok"] * 3
    assert len(model.calls) == 3


async def test_very_short_dreams_are_affordable(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    """dream.max_tokens below what a usual dream takes is no lack of budget."""
    model.script = lambda call: Say(dream_text(call, "falls."))

    ran = await dream(resources, dream_tokens=12)

    assert statuses(ran) == ["ok"] * 4


async def test_too_little_for_one_dream_names_the_smallest_budget(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    with pytest.raises(BudgetExceeded, match="too few for a single dream") as caught:
        await dream(resources, tokens=100)

    assert "or --strategy direct" in caught.value.hint
    smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])
    assert statuses(await dream(resources, tokens=smallest)) == ["ok"]


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        (lambda _: Say("x", error=ModelUnavailable("gone", hint="start it")), ModelUnavailable),
        (lambda _: Say("nonsense"), OutputInvalid),
        (lambda _: Say("x " * 90, delay=0.2), BudgetExceeded),
    ],
)
async def test_when_all_dreams_fail_a_forced_run_fails_with_their_error(
    say: Callable[[Call], Say],
    kind: type[ReverieError],
    resources: ScriptedResources,
    model: ScriptedModel,
) -> None:
    model.script = say

    with pytest.raises(kind, match="all 4 dreams failed"):
        await dream(resources, dream_seconds=0.4)


async def test_when_all_dreams_fail_for_several_reasons_all_are_told(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: (
        Say("x", error=ModelUnavailable("gone")) if call.expert == "causal" else Say("nonsense")
    )

    with pytest.raises(OutputInvalid, match=r"cut off .*; gone") as caught:
        await dream(resources)
    assert caught.value.hint


async def test_when_all_dreams_fail_auto_tries_the_next_strategy(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: Say("nonsense") if call.schema else Say("It falls.")

    ran = await run_graph(resources)

    first, second = ran.state["attempts"]
    assert (first["strategy"], first["status"], len(first["dreams"])) == ("dream", "failed", 4)
    assert second["status"] == "ok"
    assert ran.state["answer"]["strategy"] == second["strategy"] != "dream"
    assert [e["accepted"] for e in ran.of("assessed")] == [False, True]
    assert ran.of("strategy")[1]["choice"]["why"]


async def test_a_dream_with_nothing_for_it_abstains(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: Say(dream_text(call, "zig zag."), logprob=-9.0)

    ran = await dream(resources, abstain_below=0.99)

    assert ran.state["answer"] == {
        "status": "abstained",
        "text": "",
        "output": None,
        "strategy": "dream",
        "confidence": None,
        "calibrated": False,
        "stopped": "",
    }
    assert ran.state["attempts"][0]["verdict"]["abstained"]


async def test_arbitration_that_fails_is_a_failed_attempt(
    resources: ScriptedResources, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object, **kwargs: object) -> None:
        raise ModelUnavailable("the embedder is gone")

    monkeypatch.setattr("reverie.graphs.dream.arbitrate", broken)

    ran = await run_graph(resources)

    assert ran.state["attempts"][0]["error"] == "the embedder is gone"
    assert ran.state["answer"]["status"] == "answered"


async def test_a_large_model_dreams_its_own_triplets_and_they_become_hypotheses(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.parameters = None

    ran = await dream(resources)

    triplet = ran.state["attempts"][0]["dreams"][0]["triplets"][0]
    assert triplet["origin"] == "dreamed"
    store = await resources.facts()
    assert await store.count(status="hypothesis") > 0
    vector = (await resources.hashed.embed(["a ball is dropped, it falls"]))[0]
    (match, *_) = await store.similar(vector, statuses=["hypothesis"])
    assert (match.triplet.run, match.triplet.model) == (ran.state["run_id"], "scripted")
    assert all(m.triplet.status == "fact" for m in await store.similar(vector))


async def test_by_itself_as_in_studio_it_needs_only_a_question_time_after_time(
    resources: ScriptedResources,
) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    from reverie.graphs.dream import build

    graph = build().compile(checkpointer=InMemorySaver())
    for branches in (6, 4):
        ran = await run_graph(resources, graph=graph, branches=branches)

        assert ran.state["attempt"]["status"] == "ok"
        assert len(ran.state["dreams"]) == branches
        assert sum(e["kind"] == "spend" for e in ran.state["ledger"]) == branches
    assert dream_graph.name == "dream"


LATE = st.sampled_from(["ok", "cut", "raise", "break", "bug", "no usage", "slow"])


@given(
    tokens=st.integers(1, 2500),
    calls=st.integers(1, 8),
    branches=st.integers(1, 9),
    longest=st.integers(8, 120),
    fates=st.lists(LATE, min_size=9, max_size=9),
    strategy=st.sampled_from(["auto", "dream", "direct", "chain_of_thought"]),
)
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_run_spends_more_than_its_budget(  # noqa: PLR0917  # by name
    tokens: int, calls: int, branches: int, longest: int, fates: list[str], strategy: str
) -> None:
    """By the double's own count, whatever the branches do."""
    fate = iter(fates * 4)

    def script(call: Call) -> Say:
        text = dream_text(call) if call.schema else " It falls." * 60
        return {
            "ok": Say(text),
            "cut": Say("very " * 200),
            "raise": Say(text, error=ModelUnavailable("gone"), after=3),
            "break": Say(text, error=ModelUnavailable("gone", transient=True), after=3),
            "bug": Say(text, error=KeyError("x"), after=5),
            "no usage": Say(text, usage=False, logprobs=False),
            "slow": Say(text, delay=0.002),
        }[next(fate)]

    async def run() -> ScriptedModel:
        with tempfile.TemporaryDirectory() as home:
            resources = ScriptedResources(Settings(home=Path(home)), ScriptedModel(script=script))
            try:
                ran = await run_graph(
                    resources,
                    strategy=strategy,
                    # Not tools: where no usage is told, their definitions are charged by a bound.
                    strategies=("direct", "reflect", "chain_of_thought", "dream"),
                    tokens=tokens,
                    calls=calls,
                    branches=branches,
                    dream_tokens=longest,
                )
                spent = ran.of("budget")[-1]["cost"]["spent"]
                assert total_tokens(spent) == sum(resources.scripted.tokens)
                assert spent["calls"] == len(resources.scripted.calls)
            except ReverieError:
                pass  # nothing came of it; it must not have cost too much either
            finally:
                await resources.close()
            return resources.scripted

    model = asyncio.run(run())

    assert sum(model.tokens) <= tokens
    assert len(model.calls) <= calls


async def test_within_a_reservation_the_branches_take_from_it_alone(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    from reverie.graphs.budget import Ledger

    started = time.time()
    books = Ledger({"tokens": 8000, "seconds": 60, "calls": 9, "money": None}, (), started)
    attempt = books.reserve("attempt:2", 700, 3, node="select")
    state = {
        "question": QUESTION,
        "run_id": "r",
        "started": started,
        "ledger": [attempt],
        "notices": [],
        "scope": "attempt:2",
    }

    done = await dream_graph.ainvoke(
        state,
        context=Context(resources=resources.key, min_similarity=0.2, tokens=8000, calls=9),
    )

    ledger = Ledger(books.limits, tuple(done["ledger"]), started)
    reserved = [e for e in done["ledger"] if e["kind"] == "reserve"][1:]
    assert {e["scope"] for e in reserved} == {"attempt:2"}
    assert [e["id"] for e in reserved] == [f"attempt:2:dream:{n}" for n in range(len(reserved))]
    assert 0 < len(reserved) <= 3
    assert total_tokens(ledger.spent_in("attempt:2")) == sum(model.tokens) <= 700
    assert ledger.left("attempt:2")["tokens"] == 700 - sum(model.tokens)
    assert ledger.left()["tokens"] == 8000 - 700


async def test_no_dream_is_sent_out_with_too_little_to_end(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    """Fewer dreams, each whole, rather than more that are cut off."""
    model.script = lambda call: Say(dream_text(call, "it falls " * 15 + "down."))

    for tokens in range(300, 1300, 200):
        ran = await dream(resources, tokens=tokens)

        assert set(statuses(ran)) == {"ok"}


@given(
    tokens=st.integers(300, 12_000),
    calls=st.integers(1, 40),
    money=st.none() | st.floats(1e-4, 0.02),
    branches=st.integers(1, 40),
    fates=st.lists(LATE, min_size=8, max_size=8),
    ends_after=st.none() | st.integers(1, 400),
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_a_fan_out_stays_within_tokens_calls_and_money_however_it_ends(  # noqa: PLR0917  # by name
    tokens: int,
    calls: int,
    money: float | None,
    branches: int,
    fates: list[str],
    ends_after: int | None,
) -> None:
    """A real fan-out whose branches fail at random, in a run that may be cancelled in the middle.
    Prompt tokens cost 1 and written ones 5 a million.
    """
    fate = itertools.cycle(fates)

    def script(call: Call) -> Say:
        text = dream_text(call) if call.schema else " It falls." * 30
        return {
            "ok": Say(text),
            "cut": Say("very " * 200),
            "raise": Say(text, error=ModelUnavailable("gone"), after=3),
            "break": Say(text, error=ModelUnavailable("gone", transient=True), after=3),
            "bug": Say(text, error=KeyError("x"), after=5),
            "no usage": Say(text, usage=False, logprobs=False),
            "slow": Say(text, delay=0.0005),
        }[next(fate)]

    async def run() -> tuple[ScriptedModel, list[Entry] | None]:
        with tempfile.TemporaryDirectory() as home:
            configured = Settings.model_validate(
                {"home": home, "model": {"price_in": 1.0, "price_out": 5.0}}
            )
            resources = ScriptedResources(configured, ScriptedModel(script=script))
            context = Context(
                resources=resources.key,
                strategy="dream",
                min_similarity=0.2,
                tokens=tokens,
                calls=calls,
                money=money,
                price=5.0,
                branches=branches,
            )
            stream = reason_graph.astream(
                {"question": QUESTION}, context=context, stream_mode=["custom", "values"]
            )
            seen, state = 0, None
            try:
                async with aclosing(stream):
                    async for mode, part in stream:
                        seen += 1
                        if mode == "values":
                            state = part
                        if seen == ends_after:
                            return resources.scripted, None
                return resources.scripted, state["ledger"] if state else None
            except ReverieError:
                return resources.scripted, None
            finally:
                await resources.close()

    model, ledger = asyncio.run(run())

    prompts = sum(model.count_tokens(c.messages, c.prefill) for c in model.calls)
    assert sum(model.tokens) <= tokens
    assert len(model.calls) <= calls
    cost = (prompts + 5.0 * (sum(model.tokens) - prompts)) / 1e6
    assert money is None or cost <= money * (1 + 1e-6)
    if ledger is not None:
        spent = add_usage(e["usage"] for e in ledger if e["kind"] == "spend")
        assert total_tokens(spent) == sum(model.tokens)
        assert spent["money"] == pytest.approx(cost)
