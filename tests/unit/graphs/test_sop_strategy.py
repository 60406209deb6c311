"""The sop strategy: finds the procedure, follows it, and is measured by what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from reverie.agents.reasoner import Reasoner
from reverie.errors import ConfigError
from reverie.graphs.reason import RECURSION_LIMIT, build
from reverie.graphs.sop_match import matched_sops
from reverie.knowledge.sops import Match, Sop, SopStatistics
from reverie.knowledge.strategies import Run, Trial
from tests.unit.conftest import Call, Say, ScriptedModel, ScriptedResources, run_graph
from tests.unit.graphs.one_strategy import compiled, run_strategy

TASK = "Please water the ficus plants"
WATER = {
    "name": "water_plants",
    "description": "Water the plants in the office",
    "trigger": "water the",
    "steps": ["Count the plants", "Say how much water they need"],
}


@pytest.fixture
async def watering(resources: ScriptedResources) -> Sop:
    procedure = Sop.model_validate(WATER)
    await (await resources.sops()).add([procedure], "test")
    return procedure


@pytest.fixture(autouse=True)
def speaking(model: ScriptedModel) -> None:
    model.script = lambda call: "yes" if call.schema else "Two litres."


async def test_the_procedure_that_fits_is_followed(
    watering: Sop, resources: ScriptedResources
) -> None:
    ran = await run_strategy(resources, "sop", TASK)

    attempt = ran.state["attempt"]
    assert attempt["answer"] == "Two litres."
    assert (attempt["sop"]["name"], attempt["sop"]["version"]) == (watering.name, watering.version)
    assert ran.nodes == ["match", "carry_out"]
    assert ran.of("notice")[0]["text"].startswith("follows the SOP water_plants, which fits with")


async def test_it_abstains_where_none_fits(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    book = await resources.sops()
    for stored in await book.current():
        if stored.name != "check_fact":
            await book.remove(stored.name)

    ran = await run_strategy(resources, "sop", "Zyx")

    attempt = ran.state["attempt"]
    assert attempt["status"] == "abstained"
    assert attempt["error"].startswith("no procedure fits: the best is check_fact with 0.")
    assert model.calls == []


async def test_the_named_one_is_followed_whether_it_fits_or_not(
    watering: Sop, resources: ScriptedResources
) -> None:
    ran = await run_strategy(resources, "sop", "Zyx wvu", sop=f"water_plants@{watering.version}")

    assert ran.state["attempt"]["sop"]["name"] == "water_plants"


async def test_an_unknown_name_is_wrong_use_and_the_nearest_is_named(
    watering: Sop, resources: ScriptedResources
) -> None:
    ran = await run_strategy(resources, "sop", TASK, sop="water_plant")

    attempt = ran.state["attempt"]
    assert (attempt["status"], attempt["error_type"]) == ("failed", "ConfigError")
    assert "did you mean water_plants?" in attempt["hint"]


async def test_the_reason_graph_records_what_was_followed(
    watering: Sop, resources: ScriptedResources
) -> None:
    ran = await run_graph(resources, TASK, strategy="sop")

    assert ran.state["answer"]["text"] == "Two litres."
    assert len(ran.of("sub_answered")) == 2  # from the graph within
    assert "".join(e["text"] for e in ran.of("token")) == "Two litres." * 2
    (used,) = await (await resources.memory()).sops()
    assert (used.key, used.score, used.fault) == (watering.key, None, False)


async def test_feedback_on_runs_demotes_and_it_can_recover(
    watering: Sop, resources: ScriptedResources
) -> None:
    memory = await resources.memory()
    ran = await run_graph(resources, TASK, strategy="sop")
    await memory.score(ran.state["run_id"], 0.0)

    async def found() -> Match:
        best = await matched_sops(TASK, resources)
        return next(m for m in best if m.stored.key == watering.key)

    async def more(scores: Sequence[float], first: int) -> None:
        trial = Trial("sop", 1.0, answer="Two litres.", sop=watering.key)
        for number, score in enumerate(scores, first):
            run = Run(f"run-{number}", TASK, "sop", 1.0, trials=(trial,))
            await memory.record(run, await resources.question_vector(TASK))
            await memory.score(run.run_id, score)

    assert (await found()).record["state"] == "tried"
    await more([0.0] * 5, 0)
    assert (await found()).why_not == "demoted: it failed too often"
    await more([1.0] * 6, 10)
    assert (await found()).why_not == ""


async def test_a_step_that_fails_counts_against_the_procedure_unscored(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    hopeless = Sop.model_validate({**WATER, "steps": [{"action": "Go", "check": {"number": True}}]})
    await (await resources.sops()).add([hopeless], "test")

    with pytest.raises(Exception, match="step 1 of water_plants"):
        await run_graph(resources, TASK, strategy="sop")
    async with Reasoner(resources.settings) as reasoner:
        reasoner._resources = resources
        with pytest.raises(Exception, match="step 1 of water_plants"):
            await reasoner.aask(TASK, sop="water_plants")
        (used,) = await (await resources.memory()).sops()

    assert used.fault
    record = SopStatistics([used]).record(hopeless.key)
    assert (record["uses"], record["scored"]) == (1, 1)
    assert record["mean"] < 0.4


async def test_a_reasoner_takes_the_name_of_a_procedure(
    watering: Sop, resources: ScriptedResources
) -> None:
    async with Reasoner(resources.settings) as reasoner:
        reasoner._resources = resources
        result = await reasoner.aask(TASK, sop="water_plants")
        with pytest.raises(ConfigError, match="there is no SOP called 'nothing'"):
            await reasoner.aask(TASK, sop="nothing")

        (attempt,) = result.attempts
        assert attempt["sop"] is not None
        assert attempt["sop"]["name"] == "water_plants"
        again = await reasoner.aresume(result.run_id)  # read back as it was stored
        assert again.attempts == result.attempts


async def test_a_person_is_asked_from_within_and_the_run_goes_on_where_it_was(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    sent: list[str] = []

    def send(text: str) -> str:
        """Sends a text."""
        sent.append(text)
        return "sent"

    name = resources.add_tool(send)
    send_step = {"action": "Send", "tool": name, "inputs": {"text": "$last"}}
    procedure = Sop.model_validate({**WATER, "steps": ["Write", send_step, "Answer"]})
    await (await resources.sops()).add([procedure], "test")
    graph: Any = build().compile(checkpointer=InMemorySaver())
    asking: Any = {"tools": (name,), "ask_before": ("tool",), "strategy": "sop", "graph": graph}

    waiting = await run_graph(resources, TASK, **asking)
    assert [e["form"]["about"]["arguments"] for e in waiting.of("waiting")] == [
        {"text": "Two litres."}
    ]
    thread = {"configurable": {"thread_id": "1"}, "recursion_limit": RECURSION_LIMIT}
    from reverie.graphs.context import Context

    asking.pop("graph")
    context = Context(resources=resources.key, **asking)
    state = await graph.ainvoke(Command(resume={"approve": True}), thread, context=context)

    assert sent == ["Two litres."]
    assert state["answer"]["text"] == "Two litres."
    assert len(model.calls) == 2  # "Write" was not done again
    assert sum(e["kind"] == "spend" for e in state["ledger"]) == 2


async def test_a_run_that_was_broken_off_repeats_no_step(
    watering: Sop, resources: ScriptedResources, model: ScriptedModel
) -> None:
    asked = asyncio.Event()

    def slow(call: Call) -> Say:
        if call is model.calls[0]:
            return Say("Two litres.")
        asked.set()
        return Say("Two litres.", delay=10)

    model.script = slow
    graph = compiled("sop", InMemorySaver())
    running = asyncio.ensure_future(run_strategy(resources, "sop", TASK, graph=graph))
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    def script(call: Call) -> str:
        return "Three litres."

    model.script = script
    # Its own text changed meanwhile: the run goes on with the one that it began with.
    await (await resources.sops()).add(
        [Sop.model_validate({**WATER, "steps": ["Nothing"]})], "test"
    )
    from reverie.graphs.context import Context

    state: AsyncIterator[Any] = graph.astream(
        None,
        {"configurable": {"thread_id": "3f9c02ab17de"}, "recursion_limit": 64},
        context=Context(resources=resources.key),
        stream_mode="values",
    )
    last = [part async for part in state][-1]

    assert last["attempt"]["answer"] == "Three litres."
    assert [s["result"] for s in last["attempt"]["sop"]["steps"]] == [
        "Two litres.",
        "Three litres.",
    ]
    assert len(model.calls) == 3


async def test_the_longest_procedure_ends_within_its_recursion_limit(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: "yes" if call.schema else "ok."
    step = {"action": "Go on", "condition": "go", "check": ["fine", {"not_empty": True}]}
    procedure = Sop.model_validate({**WATER, "steps": [step] * 32})
    await (await resources.sops()).add([procedure], "test")

    ran = await run_strategy(resources, "sop", TASK, tokens=1_000_000, calls=200)

    assert [s["status"] for s in ran.state["attempt"]["sop"]["steps"]] == ["done"] * 32
