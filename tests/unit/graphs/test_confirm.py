"""Dreamed triplets: hypotheses, until a verifier or a person says that the answer is right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reverie.graphs.confirm import CONFIRMED, winning_dream
from reverie.graphs.feedback import score_run
from reverie.knowledge.graph.records import Edge
from reverie.knowledge.runs import open_runs
from reverie.settings import Settings
from tests.unit.agents.conftest import made
from tests.unit.conftest import (
    Call,
    Ran,
    Say,
    ScriptedModel,
    ScriptedResources,
    dream_text,
    run_graph,
)


async def dreamed_edges(resources: ScriptedResources, **how: Any) -> list[Edge]:
    return await (await resources.facts()).edges(source="dream", **how)


def words(edges: list[Edge]) -> set[str]:
    return {f"{edge.start_label} {edge.text} {edge.end_label}" for edge in edges}


def won(ran: Ran) -> set[str]:
    """What was dreamed in the winning dream."""
    dream = winning_dream(ran.state["attempts"][-1])
    assert dream is not None
    return {
        f"{t['what']} {t['action']} {t['result']}"
        for t in dream["triplets"]
        if t["origin"] == "dreamed"
    }


async def register(resources: ScriptedResources, ran: Ran) -> None:
    """Note the finished run, as a reasoner does."""
    state = ran.state
    store = await asyncio.to_thread(open_runs, resources.settings.home)
    registry, run_id = store.registry, state["run_id"]
    about = {"durability": "sync", "version": "0", "state_schema": 1}
    owner = await registry.start(run_id, state["question"], {}, **about)  # type: ignore[arg-type]
    result = {"answer": state["answer"]["text"], "attempts": state["attempts"]}
    await registry.release(run_id, owner, "finished", result=result)
    await store.close()


def each_its_own(call: Call) -> Say:
    """A model that is large enough to dream triplets of its own."""
    answer = "it falls down." if call.expert in ("spatial", "causal") else "it flies away, up."
    own = json.dumps([["a ball", f"is dropped by the {call.expert} one", "it falls"]])
    return Say(dream_text(call, answer).partition('","triplets"')[0] + f'","triplets":{own}}}')


@pytest.fixture
async def resources(settings: Settings) -> AsyncIterator[ScriptedResources]:
    made = ScriptedResources(settings, ScriptedModel(script=each_its_own, parameters=10**11))
    yield made
    await made.close()


@pytest.fixture
async def ran(resources: ScriptedResources) -> Ran:
    """A run that dreamed, nothing has judged it."""
    return await run_graph(resources, strategy="dream")


async def test_what_won_is_a_fact_once_a_person_says_that_it_is_right(
    resources: ScriptedResources, ran: Ran
) -> None:
    await register(resources, ran)
    all_of_it = words(await dreamed_edges(resources))
    assert won(ran) < all_of_it
    assert not await dreamed_edges(resources, statuses=("fact",))

    scored = await score_run(resources, ran.state["run_id"], CONFIRMED)

    facts = await dreamed_edges(resources, statuses=("fact",))
    assert words(facts) == won(ran)
    assert scored.settled == len(facts) == len(won(ran)) > 0
    assert {edge.run for edge in facts} == {ran.state["run_id"]}
    assert words(await dreamed_edges(resources)) == all_of_it  # the others are still hypotheses


async def test_a_lower_score_makes_hypotheses_of_it_again(
    resources: ScriptedResources, ran: Ran
) -> None:
    await register(resources, ran)
    before = await dreamed_edges(resources)
    assert (await score_run(resources, ran.state["run_id"], 0.89)).settled == 0
    await score_run(resources, ran.state["run_id"], 1.0)

    scored = await score_run(resources, ran.state["run_id"], 0.0)

    assert scored.settled == len(won(ran))
    assert not await dreamed_edges(resources, statuses=("fact",))
    after = await dreamed_edges(resources, statuses=("hypothesis",))
    kept = ("start_label", "text", "end_label", "branch", "expert", "model", "confidence")
    assert {tuple(getattr(e, k) for k in kept) for e in after} == {
        tuple(getattr(e, k) for k in kept) for e in before
    }
    store = await resources.facts()
    vector = await resources.question_vector(ran.state["question"])
    found = await store.similar(vector, limit=50, minimum=-1.0, statuses=("hypothesis",))
    assert {f.id for f in found} == {e.id for e in after}  # they have vectors


@pytest.mark.parametrize(("verdict", "facts"), [(1.0, True), (CONFIRMED - 0.01, False)])
async def test_a_verifier_confirms_at_once(
    resources: ScriptedResources, verdict: float, facts: bool
) -> None:
    resources.add_verifier("rubric", lambda *_: verdict)

    ran = await run_graph(resources, strategy="dream", verifier="rubric")

    confirmed = words(await dreamed_edges(resources, statuses=("fact",)))
    assert confirmed == (won(ran) if facts else set())


async def test_a_reasoners_feedback_confirms_what_its_run_dreamed(settings: Settings) -> None:
    asked = made(settings)
    asked.model.script, asked.model.parameters = each_its_own, 10**11
    async with asked.reasoner as reasoner:
        result = await reasoner.aask("Why does a ball fall?", strategy="dream")
        await reasoner.afeedback(result.run_id, 1.0)
        facts = await dreamed_edges(asked.resources, statuses=("fact",))

    winner = winning_dream(result.attempts[0])
    assert winner is not None
    assert [edge.expert for edge in facts] == [winner["expert"]]


async def test_a_run_that_no_registry_knows_confirms_nothing(
    resources: ScriptedResources, ran: Ran
) -> None:
    assert (await score_run(resources, ran.state["run_id"], 1.0)).settled == 0
    store = await asyncio.to_thread(open_runs, resources.settings.home)
    await store.close()
    assert (await score_run(resources, ran.state["run_id"], 1.0)).settled == 0
    assert not await dreamed_edges(resources, statuses=("fact",))
