"""The reason graph as a whole: the way through it, what it streams, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import TypeAdapter

from reverie.errors import ConfigError, ContextOverflow, KnowledgeUnavailable
from reverie.graphs.context import Context
from reverie.graphs.events import Event
from reverie.graphs.reason import RECURSION_LIMIT, build, graph
from reverie.knowledge.strategies import Run, StrategyMemory
from tests.unit.conftest import (
    QUESTION,
    Say,
    ScriptedModel,
    ScriptedResources,
    dream_text,
    run_graph,
)

EVENT: TypeAdapter[Event] = TypeAdapter(Event)


async def test_the_way_of_a_question(resources: ScriptedResources) -> None:
    ran = await run_graph(resources)

    outer = ["recall", "select", "assess", "answer", "learn"]
    assert [n for n in ran.nodes if n in outer] == outer
    dreamed = ["ground", "dream", "dream", "dream", "dream", "arbitrate", "dream"]
    assert ran.nodes[2:-3] == dreamed  # the last is the strategy's own node
    assert ran.nodes.count("arbitrate") == 1


async def test_arbitration_runs_once_when_some_branches_fail(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda call: (
        Say("nonsense") if call.expert in ("causal", "spatial") else Say(dream_text(call))
    )

    ran = await run_graph(resources)

    assert ran.nodes.count("arbitrate") == 1
    assert len(ran.of("verdict")) == 1


async def test_the_events_are_of_the_published_types_and_in_order(
    resources: ScriptedResources,
) -> None:
    ran = await run_graph(resources)

    for event in ran.events:
        assert EVENT.validate_python(event, strict=True) == event
        assert json.loads(json.dumps(event)) == event
    assert list(dict.fromkeys(e["type"] for e in ran.events)) == [
        "recalled",
        "strategy",
        "grounded",
        "branch_started",
        "token",
        "called",
        "branch_finished",
        "verdict",
        "assessed",
        "answer",
        "budget",
    ]


async def test_tokens_make_up_what_each_branch_says(resources: ScriptedResources) -> None:
    ran = await run_graph(resources)

    for dream in ran.state["attempts"][0]["dreams"]:
        text = "".join(e["text"] for e in ran.of("token") if e["branch"] == dream["branch"])
        assert json.loads(text)["answer"] == dream["answer"]
    began = [e["branch"] for e in ran.of("branch_started")]
    ended = [e["branch"] for e in ran.of("branch_finished")]
    assert sorted(began) == sorted(ended) == [0, 1, 2, 3]
    order = [(e["type"], e.get("branch")) for e in ran.events]
    for branch in range(4):
        tokens = [i for i, item in enumerate(order) if item == ("token", branch)]
        assert order.index(("branch_started", branch)) < tokens[0]
        assert tokens[-1] < order.index(("branch_finished", branch))


async def test_dreams_are_dreamed_at_the_same_time(resources: ScriptedResources) -> None:
    ran = await run_graph(resources)

    branches = [e["branch"] for e in ran.of("token")]
    assert branches != sorted(branches)


async def test_the_state_is_plain_json(resources: ScriptedResources) -> None:
    ran = await run_graph(resources)

    assert json.loads(json.dumps(ran.state)) == ran.state
    assert ran.state["question"] == QUESTION


async def test_the_question_is_cleaned_where_a_server_hands_it_in(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await run_graph(resources, "\x1b[1m Why?\x00\ud800 ", strategy="direct")

    assert ran.state["question"] == "[1m Why?"
    assert "\x1b" not in model.calls[0].messages[-1].text
    with pytest.raises(ConfigError, match="empty"):
        await run_graph(resources, " \x00")


async def test_a_question_larger_than_the_window_is_refused_before_any_call(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.window = 60

    with pytest.raises(ContextOverflow, match="only 60"):
        await run_graph(resources, "why " * 50)
    assert model.calls == []


async def test_one_thread_can_ask_again(resources: ScriptedResources) -> None:
    """As people do in Studio: nothing of the first run counts in the second."""
    compiled = build().compile(checkpointer=InMemorySaver())

    first = await run_graph(resources, graph=compiled, strategy="direct")
    second = await run_graph(resources, "And a stone?", graph=compiled, strategy="direct")

    assert second.state["run_id"] != first.state["run_id"]
    assert second.state["started"] > first.state["started"]
    for ran in (first, second):  # the attempt's reservation, its call, and its release
        assert [e["kind"] for e in ran.state["ledger"]] == ["reserve", "spend", "release"]
    assert len(second.state["attempts"]) == 1
    cost = second.of("budget")[0]["cost"]
    assert cost["left"]["calls"] == cost["limits"]["calls"] - 1
    recorded = await (await resources.memory()).recent()
    assert [r.question for r in recorded] == ["And a stone?", QUESTION]


async def test_a_run_keeps_the_id_it_is_given(resources: ScriptedResources) -> None:
    state = await graph.ainvoke(
        {"question": QUESTION, "run_id": "mine"},
        context=Context(resources=resources.key, strategy="direct"),
    )

    assert state["run_id"] == "mine"
    assert (await (await resources.memory()).find("mine")).status == "pending"


async def test_a_run_is_stored_as_pending_and_moves_nothing_until_it_is_scored(
    resources: ScriptedResources,
) -> None:
    ran = await run_graph(resources, strategy="direct")

    recorded = await (await resources.memory()).find(ran.state["run_id"])
    assert recorded.status == "pending"
    assert recorded.strategy == "direct"
    assert recorded.propensity == 1.0
    assert recorded.answer == ran.state["answer"]["text"]
    assert recorded.calls == 1
    spent = ran.of("budget")[0]["cost"]["spent"]
    assert (recorded.tokens_in, recorded.tokens_out) == (spent["tokens_in"], spent["tokens_out"])

    again = await run_graph(resources)
    assert all(p["runs"] == 0 for p in again.state["memories"]["posteriors"])

    await (await resources.memory()).score(ran.state["run_id"], 1.0)
    after = await run_graph(resources, strategies=("direct", "chain_of_thought", "dream"))
    assert {p["strategy"]: p["runs"] for p in after.state["memories"]["posteriors"]} == {
        "direct": 1,
        "chain_of_thought": 0,
        "dream": 0,
    }
    assert after.state["memories"]["similar"][0]["run_id"] == ran.state["run_id"]
    assert after.state["choice"]["propensity"] < 1.0


async def test_what_is_not_to_be_remembered_is_not_stored(resources: ScriptedResources) -> None:
    await run_graph(resources, remember=False)

    assert await (await resources.memory()).recent() == []


async def test_a_store_that_cannot_be_written_costs_the_answer_nothing(
    resources: ScriptedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: StrategyMemory, run: Run, vector: object) -> None:
        raise KnowledgeUnavailable("the disk is full", hint="make room")

    monkeypatch.setattr(StrategyMemory, "record", full)

    ran = await run_graph(resources)

    assert ran.state["answer"]["status"] == "answered"
    (notice,) = ran.state["notices"]
    assert notice == (
        "this run was not stored, so it cannot be scored: the disk is full. make room"
    )
    assert ran.of("notice") == [{"type": "notice", "text": notice}]


async def test_an_abstention_tries_the_next_strategy_under_auto(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await run_graph(resources, abstain_below=1.0)

    assert [a["status"] for a in ran.state["attempts"]] == ["abstained", "ok"]
    assert ran.state["answer"]["status"] == "answered"
    assert ran.nodes.count("select") == 2
    assert "below 1" in ran.of("assessed")[0]["why"]


async def test_no_strategy_is_tried_without_calls_for_it(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    ran = await run_graph(resources, abstain_below=1.0, calls=4)

    assert [a["strategy"] for a in ran.state["attempts"]] == ["dream"]
    assert ran.state["answer"]["status"] == "abstained"
    assert ran.state["answer"]["stopped"] == "the budget of 4 calls is used up"


async def test_everything_is_tried_at_most_once(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    model.script = lambda _: ""

    with pytest.raises(Exception, match=r"empty answer|dreams failed"):
        await run_graph(resources, strategies=("direct", "chain_of_thought", "dream"))

    strategies = {c.messages[0].text for c in model.calls}
    assert len(model.calls) <= 4 + 2 + 1
    assert len(strategies) == 4 + 2  # four experts' roles, and two of the others


async def test_a_broken_seed_or_an_empty_list_of_strategies_is_refused() -> None:
    for wrong in ({"seed": -1}, {"seed": 2**32}, {"strategies": ()}, {"tokens": 0}, {"calls": -1}):
        with pytest.raises(ValueError, match="validation error"):
            Context(**wrong)  # type: ignore[arg-type]


def test_the_compiled_graph_bounds_its_steps() -> None:
    assert graph.config is not None
    assert graph.config["recursion_limit"] == RECURSION_LIMIT < 100
    assert graph.checkpointer is None  # Studio brings its own


def test_the_form_in_studio_has_defaults_and_descriptions() -> None:
    schema = graph.get_context_jsonschema()

    assert schema is not None
    for name, field in schema["properties"].items():
        assert field["description"], name
        assert "default" in field, name
    assert graph.get_input_jsonschema()["required"] == ["question"]


HEAVY = ("torch", "transformers", "chromadb", "llama_index", "onnxruntime")


def test_the_graphs_import_without_network_or_model(tmp_path: Path) -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('opened a socket')\n"
        "socket.socket.connect = refuse\n"
        "from reverie.graphs.reason import graph\n"
        "from reverie.graphs.dream import graph\n"
        f"sys.exit(str(sorted(set({HEAVY!r}) & set(sys.modules))))\n"
    )
    home = tmp_path / "home"

    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "REVERIE_HOME": str(home)},
    )

    assert result.stderr.strip() == "[]"
    assert not home.exists()


async def test_a_strict_checkpointer_keeps_every_step(
    resources: ScriptedResources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What LANGGRAPH_STRICT_MSGPACK=true sets, which is read at import."""
    from langgraph._internal import _serde
    from langgraph.checkpoint.serde import _msgpack
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    for module in (_msgpack, _serde):
        monkeypatch.setattr(module, "STRICT_MSGPACK_ENABLED", True)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        ran = await run_graph(resources, checkpointer=saver, thread="t")

        compiled = build().compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "t"}}
        snapshot = await compiled.aget_state(config)
        steps = [s async for s in compiled.aget_state_history(config)]
    assert snapshot.values == ran.state
    assert snapshot.next == ()
    assert len(steps) == 8


async def test_a_run_that_was_interrupted_goes_on_without_repeating_its_calls(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    saver = InMemorySaver()
    compiled = build().compile(checkpointer=saver, interrupt_after=["dream"])
    config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": RECURSION_LIMIT}
    context = Context(resources=resources.key, min_similarity=0.2)
    await compiled.ainvoke({"question": QUESTION}, config, context=context)
    assert len(model.calls) == 4

    state = await build().compile(checkpointer=saver).ainvoke(None, config, context=context)

    assert state["answer"]["status"] == "answered"
    assert len(model.calls) == 4
