"""A part of the graph as a picture: in Graphviz's language, and as a web page of its own."""

from __future__ import annotations

import html
import textwrap
from typing import TYPE_CHECKING, Final

from reverie.cli.wording import clean

if TYPE_CHECKING:
    from reverie.cli.graphviz import Layout
    from reverie.knowledge.graph.records import Edge, Subgraph

_COLOURS: Final = {
    "entity": "#cfe3f7",
    "action": "#fbe3c0",
    "outcome": "#d5efcf",
    "document": "#e6e0f5",
    "chunk": "#f2f2f2",
    "sop": "#fbd9e3",
    "strategy": "#d8f1ee",
    "run": "#f6f0c4",
}
_LINE: Final = 28
_LINES: Final = 3
"""Characters and lines of a label in the picture; the tooltip has all of it."""
_MOST_RANKED: Final = 40
"""Nodes up to which they are drawn in ranks."""


_NODES: Final = (
    '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, '
    'color="#7a7a7a", margin="0.12,0.06"];'
)


def as_dot(found: Subgraph, start: str) -> str:
    """The nodes and edges in Graphviz's language, ``start`` with a thick border."""
    lines = [
        "digraph knowledge {",
        "  graph [rankdir=LR, overlap=prism, splines=true, sep=0.25, nodesep=0.15];",
        _NODES,
        '  edge [fontname="Helvetica", fontsize=9, color="#9a9a9a", fontcolor="#444444"];',
    ]
    names = {node: f"n{number}" for number, node in enumerate(found.nodes)}
    for identity, node in found.nodes.items():
        thick = ", penwidth=2.5, color=black" if identity == start else ""
        lines.append(
            f"  {names[identity]} [label={_wrapped(node.label)}, "
            f"tooltip={_quoted(f'{node.kind}: {clean(node.label)}')}, "
            f'fillcolor="{_COLOURS[node.kind]}"{thick}];'
        )
    for edge in found.edges:
        if edge.start not in names or edge.end not in names:
            continue
        dashed = ", style=dashed" if edge.status == "hypothesis" else ""
        lines.append(
            f"  {names[edge.start]} -> {names[edge.end]} [label={_wrapped(_said(edge))}, "
            f"tooltip={_quoted(_told(edge))}, labeltooltip={_quoted(_told(edge))}{dashed}];"
        )
    return "\n".join([*lines, "}", ""])


def as_page(found: Subgraph, start: str, svg: str) -> str:
    """A web page that needs nothing else: the picture, to be moved and magnified, and the edges
    with where they are from.
    """
    title = html.escape(clean(found.nodes[start].label))
    kinds = "".join(
        f'<span class="kind"><i style="background:{colour}"></i>{kind}</span>'
        for kind, colour in _COLOURS.items()
        if any(node.kind == kind for node in found.nodes.values())
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{html.escape(clean(text))}</td>"
            for text in (
                edge.start_label or edge.start,
                _said(edge),
                edge.end_label or edge.end,
                edge.status,
                str(edge.span) if edge.span is not None else edge.source,
            )
        )
        + "</tr>"
        for edge in found.edges
    )
    drawing = svg[svg.index("<svg") :]
    return _PAGE.format(title=title, kinds=kinds, svg=drawing, rows=rows)


def _said(edge: Edge) -> str:
    return edge.text or edge.relation.replace("_", " ")


def _told(edge: Edge) -> str:
    """What the tooltip of an edge says."""
    parts = [edge.relation, edge.status, str(edge.span) if edge.span is not None else edge.source]
    return clean(" | ".join(part for part in parts if part))


def layout_of(found: Subgraph) -> Layout:
    """From left to right, where every label has room; a large graph around its middle."""
    return "dot" if len(found.nodes) <= _MOST_RANKED else "sfdp"


def _wrapped(text: str) -> str:
    """As a label: in lines, and cut off when it is long."""
    lines = textwrap.wrap(clean(text), _LINE, max_lines=_LINES, placeholder="...")
    return '"' + "\\n".join(_quoted(line)[1:-1] for line in lines or [""]) + '"'


def _quoted(text: str) -> str:
    """As Graphviz reads a string: backslashes would be escapes of its own."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  body {{ margin: 0; font: 14px/1.4 system-ui, sans-serif; color: #222; background: #fff; }}
  header {{ padding: 10px 16px; border-bottom: 1px solid #ddd; }}
  h1 {{ font-size: 17px; margin: 0 0 4px; }}
  .kind {{ margin-right: 14px; white-space: nowrap; }}
  .kind i {{ display: inline-block; width: 12px; height: 12px; border: 1px solid #7a7a7a;
    border-radius: 3px; margin-right: 5px; vertical-align: -2px; }}
  #view {{ height: 68vh; overflow: hidden; cursor: grab; touch-action: none; }}
  #view svg {{ width: 100%; height: 100%; }}
  table {{ border-collapse: collapse; margin: 8px 16px 24px; }}
  td, th {{ text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid #eee;
    vertical-align: top; }}
</style></head><body>
<header><h1>{title}</h1>{kinds}<span class="kind">drag to move, wheel to magnify</span></header>
<div id="view">{svg}</div>
<table><thead><tr><th>from</th><th>what</th><th>to</th><th>status</th><th>source</th></tr></thead>
<tbody>{rows}</tbody></table>
<script>
  const svg = document.querySelector("#view svg"), box = svg.viewBox.baseVal;
  svg.removeAttribute("width"); svg.removeAttribute("height");
  const scale = () => Math.max(box.width / svg.clientWidth, box.height / svg.clientHeight);
  svg.addEventListener("wheel", event => {{
    event.preventDefault();
    const by = event.deltaY > 0 ? 1.15 : 1 / 1.15, point = svg.createSVGPoint();
    point.x = event.clientX; point.y = event.clientY;
    const at = point.matrixTransform(svg.getScreenCTM().inverse());
    box.x = at.x - (at.x - box.x) * by; box.y = at.y - (at.y - box.y) * by;
    box.width *= by; box.height *= by;
  }}, {{ passive: false }});
  svg.addEventListener("pointermove", event => {{
    if (!event.buttons) return;
    box.x -= event.movementX * scale(); box.y -= event.movementY * scale();
  }});
</script>
</body></html>
"""
