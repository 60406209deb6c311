"""Every strategy as a graph of its own."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from reverie.graphs import studio
from reverie.graphs.standalone import build
from reverie.graphs.strategies import known_strategies
from tests.unit.conftest import ScriptedResources, run_graph


@pytest.mark.parametrize("name", known_strategies())
async def test_a_strategy_runs_by_itself(resources: ScriptedResources, name: str) -> None:
    ran = await run_graph(resources, graph=getattr(studio, name))

    assert ran.nodes[0] == "begin"
    assert ran.nodes[-1] == name
    assert ran.state["attempt"]["strategy"] == name
    assert ran.state["attempt"]["status"] in ("ok", "abstained", "failed")
    assert ran.state["run_id"]
    if ran.state["attempt"]["status"] == "ok":
        assert sum(e["usage"]["calls"] for e in ran.state["ledger"]) == len(
            resources.scripted.calls
        )


async def test_a_second_question_in_a_thread_begins_anew(resources: ScriptedResources) -> None:
    graph = build("direct").compile(checkpointer=InMemorySaver())

    first = await run_graph(resources, "Why?", graph=graph)
    second = await run_graph(resources, "How?", graph=graph)

    assert first.state["run_id"] != second.state["run_id"]
    assert len(second.state["ledger"]) == 1
    assert second.state["question"] == "How?"


def test_the_config_names_what_is_there() -> None:
    graphs = studio.langgraph_config()["graphs"]

    assert list(graphs) == ["reason", *known_strategies()]
    for name in known_strategies():
        assert graphs[name]["path"] == f"reverie.graphs.studio:{name}"
        assert graphs[name]["description"].endswith(".")
