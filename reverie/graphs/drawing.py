"""Drawings of the reason graph, made from the compiled graph itself: Mermaid and Graphviz DOT.

LangGraph's own drawing cannot open a subgraph that has error handlers: their nodes are connected to
nothing, so it finds no first node. They are left out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from langgraph.pregel import Pregel
    from langgraph.pregel.protocol import PregelProtocol

_START: Final = "__start__"
_END: Final = "__end__"
_ERROR_HANDLER: Final = "__error_handler__"

_NOTES: Final = {
    ("best_of_n.plan", "best_of_n.sample"): "once per candidate",
    ("best_of_n.tally", "best_of_n.judge"): "once per answer",
    ("dream.ground", "dream.dream"): "once per branch",
    ("panel.plan", "panel.sample"): "once per agent",
    ("panel.tally", "panel.sample"): "once more",
    ("self_consistency.plan", "self_consistency.sample"): "once per sample",
    ("self_consistency.tally", "self_consistency.sample"): "while it matters",
}
"""What an edge cannot say by itself: a ``Send`` looks like any other route."""


@dataclass(frozen=True, slots=True)
class Node:
    """``path`` is unique (``dream.ground``); ``group`` is the strategy it lies in, or empty."""

    path: str
    label: str
    group: str
    kind: Literal["end", "step", "strategy"]


@dataclass(frozen=True, slots=True)
class Edge:
    """``routed``: one of several ways, taken at run time."""

    source: str
    target: str
    routed: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """What both formats draw, in the order in which the graph was built."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node.group for node in self.nodes if node.group))


def mermaid(xray: bool = True) -> str:
    """The reason graph as Mermaid. ``xray`` opens the strategies that have several steps."""
    return to_mermaid(_reason(xray))


def dot(xray: bool = True) -> str:
    """The reason graph in Graphviz's language."""
    return to_dot(_reason(xray))


def drawing_of(graph: Pregel[Any, Any, Any, Any], *, xray: bool) -> Drawing:
    """What there is to draw of a compiled graph."""
    subgraphs = dict(graph.get_subgraphs())
    plan = _steps(graph)
    inner = {name: _steps(sub) for name, sub in subgraphs.items()}
    opened = {n: steps for n, steps in inner.items() if xray and len(_named(steps)) > 1}
    nodes: list[Node] = []
    for name in plan:
        if name in opened:
            nodes += [Node(f"{name}.{n}", n, name, "strategy") for n in _named(opened[name])]
        elif name in (_START, _END):
            nodes.append(Node(name, name.strip("_"), "", "end"))
        else:
            kind: Literal["step", "strategy"] = "strategy" if name in subgraphs else "step"
            nodes.append(Node(name, name, "", kind))
    edges = {(e.source, e.target): e for e in _edges(plan, opened)}
    order = {node.path: place for place, node in enumerate(nodes)}
    ordered = sorted(edges.values(), key=lambda e: (order[e.source], order[e.target]))
    return Drawing(tuple(nodes), tuple(ordered))


def to_mermaid(drawing: Drawing) -> str:
    """A flowchart that reads well on a light and on a dark page."""
    lines = ["flowchart TD"]
    lines += [f"    {_mermaid_node(n)}" for n in drawing.nodes if not n.group]
    for group in drawing.groups:
        lines.append(f'    subgraph {_id(group)}_steps["{group}"]')
        lines += [f"        {_mermaid_node(n)}" for n in drawing.nodes if n.group == group]
        lines.append("    end")
    for edge in drawing.edges:
        note = _NOTES.get((edge.source, edge.target))
        arrow = ("-.->" if edge.routed else "-->") + (f"|{note}|" if note else "")
        lines.append(f"    {_id(edge.source)} {arrow} {_id(edge.target)}")
    lines += [
        "    classDef step fill:#eef2f7,stroke:#64748b,color:#0f172a",
        "    classDef strategy fill:#ede9fe,stroke:#7c3aed,color:#1e1b4b",
        "    classDef end_ fill:#ffffff,stroke:#94a3b8,color:#334155",
    ]
    for group in drawing.groups:
        lines.append(f"    style {_id(group)}_steps fill:none,stroke:#7c3aed,stroke-dasharray:4 3")
    return "\n".join(lines) + "\n"


def to_dot(drawing: Drawing) -> str:
    """The same picture for Graphviz, in the same colours."""
    lines = ["digraph reason {", *_DOT_STYLE]
    lines += [f"    {_dot_node(n)}" for n in drawing.nodes if not n.group]
    for group in drawing.groups:
        lines.append(f"    subgraph {_quoted(f'cluster_{group}')} {{")
        lines.append(f"        label={_quoted(group)}; labeljust=l; margin=14")
        lines.append('        color="#7c3aed"; style="rounded,dashed"')
        lines += [f"        {_dot_node(n)}" for n in drawing.nodes if n.group == group]
        lines.append("    }")
    for edge in drawing.edges:
        note = _NOTES.get((edge.source, edge.target))
        label = f"label={_quoted(f'  {note}')}" if note else ""
        options = ", ".join(filter(None, ["style=dashed" if edge.routed else "", label]))
        arrow = f"{_quoted(edge.source)} -> {_quoted(edge.target)}"
        lines.append(f"    {arrow} [{options}]" if options else f"    {arrow}")
    return "\n".join([*lines, "}"]) + "\n"


_DOT_STYLE = """\
    graph [rankdir=TB, dpi=144, bgcolor=white, pad=0.3, nodesep=0.5, ranksep=0.5]
    graph [fontname="Helvetica", fontsize=11, fontcolor="#6d28d9"]
    node [shape=box, style="rounded,filled", penwidth=1.2, margin="0.2,0.08", height=0.4]
    node [fontname="Helvetica", fontsize=12]
    edge [color="#64748b", arrowsize=0.7]
    edge [fontname="Helvetica", fontsize=10, fontcolor="#475569"]""".splitlines()

Steps = dict[str, list[tuple[str, bool]]]
"""By node, in order: where it leads, and whether that is one of several ways."""


def _reason(xray: bool) -> Drawing:
    from reverie.graphs.reason import graph

    return drawing_of(graph, xray=xray)


def _steps(graph: PregelProtocol[Any, Any, Any, Any]) -> Steps:
    drawn = graph.get_graph()
    steps: Steps = {name: [] for name in drawn.nodes if not name.startswith(_ERROR_HANDLER)}
    for edge in drawn.edges:
        if edge.source in steps and edge.target in steps:
            steps[edge.source].append((edge.target, edge.conditional))
    return steps


def _named(steps: Steps) -> list[str]:
    return [name for name in steps if name not in (_START, _END)]


def _edges(plan: Steps, opened: Mapping[str, Steps]) -> Iterator[Edge]:
    """The outer edges, ending at and leaving from the steps of opened subgraphs; and the inner."""
    for name, steps in opened.items():
        for source in _named(steps):
            for target, routed in steps[source]:
                if target != _END:
                    yield Edge(f"{name}.{source}", f"{name}.{target}", routed)
    for source, targets in plan.items():
        for target, routed in targets:
            for leaving, optional in _exits(source, opened):
                for entering in _entries(target, opened):
                    yield Edge(leaving, entering, routed or optional)


def _entries(name: str, opened: Mapping[str, Steps]) -> list[str]:
    if name not in opened:
        return [name]
    return [f"{name}.{first}" for first, _ in opened[name][_START]]


def _exits(name: str, opened: Mapping[str, Steps]) -> list[tuple[str, bool]]:
    if name not in opened:
        return [(name, False)]
    return [
        (f"{name}.{source}", routed)
        for source, targets in opened[name].items()
        for target, routed in targets
        if target == _END
    ]


def _mermaid_node(node: Node) -> str:
    shape = f'(["{node.label}"])' if node.kind == "end" else f'("{node.label}")'
    return f"{_id(node.path)}{shape}:::{'end_' if node.kind == 'end' else node.kind}"


def _dot_node(node: Node) -> str:
    fill, line, text = {
        "end": ("#ffffff", "#94a3b8", "#334155"),
        "step": ("#eef2f7", "#64748b", "#0f172a"),
        "strategy": ("#ede9fe", "#7c3aed", "#1e1b4b"),
    }[node.kind]
    shape = ", shape=ellipse, style=filled" if node.kind == "end" else ""
    return (
        f"{_quoted(node.path)} [label={_quoted(node.label)}, "
        f'fillcolor="{fill}", color="{line}", fontcolor="{text}"{shape}]'
    )


def _id(path: str) -> str:
    """An identifier that Mermaid takes; ``end`` alone is a keyword there."""
    return {_START: "start_", _END: "end_"}.get(path, path.replace(".", "_"))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
