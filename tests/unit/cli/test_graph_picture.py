"""What is known around a thing, as a picture and as a page: nothing in it can steer either."""

from __future__ import annotations

import shutil

import pytest

from reverie.cli.graph_picture import as_dot, as_page
from reverie.cli.graphviz import svg
from reverie.knowledge.graph.records import Edge, Node, Span, Subgraph

HOSTILE = 'a "ball" \\N <script>alert(1)</script> \x1b[31m]; evil -> x'

FOUND = Subgraph(
    nodes={
        "ball": Node("ball", "entity", HOSTILE),
        "falls": Node("falls", "outcome", "it falls"),
    },
    edges=[
        Edge("ball", "causes", "falls", "is dropped", span=Span("a<b>.md", 3, 4)),
        Edge("ball", "mentions", "falls", status="hypothesis", source="dream"),
        Edge("ball", "mentions", "elsewhere", source="beyond the limit"),
    ],
    hops={"ball": 0, "falls": 1},
)

needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")


def test_labels_stay_strings_of_the_language() -> None:
    source = as_dot(FOUND, "ball")

    assert 'label="a \\"ball\\" \\\\N\\n<script>alert(1)</script>' in source
    assert "style=dashed" in source
    assert "elsewhere" not in source
    assert source.count("->") == 2 + source.count("evil ->")
    assert "\x1b" not in source


@needs_graphviz
def test_graphviz_draws_every_node_and_edge_once() -> None:
    drawn = svg(as_dot(FOUND, "ball"), layout="sfdp")

    assert drawn.count('class="node"') == 2
    assert drawn.count('class="edge"') == 2
    assert "<script>" not in drawn


@needs_graphviz
def test_the_page_holds_everything_and_runs_nothing_of_it() -> None:
    page = as_page(FOUND, "ball", svg(as_dot(FOUND, "ball"), layout="sfdp"))

    assert page.count("<script>") == 1  # its own
    assert "&lt;script&gt;" in page
    assert "a&lt;b&gt;.md:3-4" in page
    assert page.count("<tr>") == 1 + len(FOUND.edges)
    assert "http://" not in page.replace("http://www.w3.org", "")
