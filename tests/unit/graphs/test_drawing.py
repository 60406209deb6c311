"""The drawing of the reason graph: made from the graph, stable, without what runs behind it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from reverie.graphs import drawing
from reverie.graphs.reason import graph
from reverie.graphs.strategies import known_strategies


class State(TypedDict):
    x: int


async def step(state: State) -> State:
    return state


async def failed(state: State, error: NodeError) -> State:
    return state


def small() -> drawing.Drawing:
    """A graph: before → inner (first → second, or straight to the end) → after."""
    inner: StateGraph[State, None, State, State] = StateGraph(State)
    inner.add_node("first", step, error_handler=failed)
    inner.add_node("second", step, error_handler=failed)
    inner.add_edge(START, "first")
    inner.add_conditional_edges("first", lambda _: END, {"second": "second", END: END})
    inner.add_edge("second", END)
    outer: StateGraph[State, None, State, State] = StateGraph(State)
    outer.add_node("before", step)
    outer.add_node("inner", inner.compile())
    outer.add_node("after", step)
    outer.add_edge(START, "before")
    outer.add_edge("before", "inner")
    outer.add_edge("inner", "after")
    outer.add_edge("after", END)
    return drawing.drawing_of(outer.compile(), xray=True)


def test_a_subgraph_is_opened_and_connected_by_its_steps() -> None:
    assert [(e.source, e.target, e.routed) for e in small().edges] == [
        ("__start__", "before", False),
        ("before", "inner.first", False),
        ("inner.first", "inner.second", True),
        ("inner.first", "after", True),
        ("inner.second", "after", False),
        ("after", "__end__", False),
    ]


def test_error_handlers_are_left_out() -> None:
    assert "error_handler" not in drawing.to_mermaid(small()) + drawing.to_dot(small())


def test_every_strategy_is_there_under_its_own_name() -> None:
    closed = drawing.drawing_of(graph, xray=False)

    strategies = [node.label for node in closed.nodes if node.kind == "strategy"]
    assert strategies == list(known_strategies())
    for name in strategies:
        assert drawing.Edge("select", name, routed=True) in closed.edges
        assert drawing.Edge(name, "assess", routed=False) in closed.edges


def test_xray_shows_how_a_dream_goes() -> None:
    inside = [n.label for n in drawing.drawing_of(graph, xray=True).nodes if n.group == "dream"]

    assert inside == ["ground", "dream", "arbitrate"]
    assert "dream_ground -.->|once per branch| dream_dream" in drawing.mermaid()


def test_every_note_stands_at_an_edge() -> None:
    """A strategy that is built otherwise has other edges, and its notes go astray."""
    drawn = {(e.source, e.target) for e in drawing.drawing_of(graph, xray=True).edges}

    assert set(drawing._NOTES) <= drawn
    for text in (drawing.mermaid(), drawing.dot()):
        assert [text.count(f"{note}") for note in drawing._NOTES.values()].count(0) == 0


def test_every_node_of_mermaid_can_be_reached() -> None:
    text = drawing.mermaid()

    nodes = set(re.findall(r"^ +(\w+)\(", text, re.MULTILINE))
    edges = re.findall(r"^ +(\w+) (?:-->|-\.->)(?:\|[^|]*\|)? (\w+)$", text, re.MULTILINE)
    assert {end for edge in edges for end in edge} == nodes
    assert {target for _, target in edges} == nodes - {"start_"}


def test_the_drawing_is_the_same_in_every_process() -> None:
    program = "from reverie.graphs.drawing import mermaid; print(mermaid(), end='')"
    command = [sys.executable, "-c", program]

    another = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )

    assert another.stdout == drawing.mermaid()


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
@pytest.mark.parametrize("xray", [True, False])
def test_graphviz_understands_the_drawing(xray: bool) -> None:
    checked = subprocess.run(
        ["dot", "-Tplain"],  # noqa: S607  # the user's Graphviz
        input=drawing.dot(xray),
        capture_output=True,
        text=True,
        check=True,
    )

    drawn = [line.split()[1] for line in checked.stdout.splitlines() if line.startswith("node")]
    assert len(drawn) == len(drawing.drawing_of(graph, xray=xray).nodes)
    assert "rror" not in checked.stderr  # a missing font is a warning
