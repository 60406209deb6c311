"""``reverie graph``: the reason graph, drawn from the code; and what the graph store knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.graph_copy import copy
from reverie.cli.graph_show import find, path, show, size
from reverie.cli.options import AsJson

graph = typer.Typer(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
graph.command()(show)
graph.command()(find)
graph.command()(path)
graph.command()(size)
graph.command()(copy)


@graph.callback()
def reason_graph(
    context: typer.Context,
    png: Annotated[
        Path | None,
        typer.Option(help="Draw a picture into this file, with Graphviz.", metavar="FILE"),
    ] = None,
    xray: Annotated[
        bool, typer.Option("--xray/--no-xray", help="Show the steps inside the strategies.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Draw the reason graph; or, with a command, look at what the graph store knows.

    Without a command it prints the drawing of the reason graph as Mermaid, or draws it as a
    picture, offline.

    Example: reverie graph --no-xray

    Example: reverie graph --png reason.png

    Example: reverie graph show "a ball" --hops 2
    """
    if context.invoked_subcommand is not None:
        return
    from reverie.cli.graphviz import draw_png
    from reverie.graphs import drawing

    if png is None:
        text = drawing.mermaid(xray)
        print(json.dumps({"mermaid": text}, indent=2) if as_json else text, end="\n" * as_json)
        return
    draw_png(drawing.dot(xray), png)
    print(json.dumps({"png": str(png)}, indent=2) if as_json else f"Drawn: {png}")
