"""``reverie graph``: the reason graph, drawn from the code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.options import AsJson
from reverie.errors import ConfigError, ReverieError

_SECONDS_TO_DRAW = 60


def graph(
    png: Annotated[
        Path | None,
        typer.Option(help="Draw a picture into this file, with Graphviz.", metavar="FILE"),
    ] = None,
    xray: Annotated[
        bool, typer.Option("--xray/--no-xray", help="Show the steps inside the strategies.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Print the drawing of the reason graph, as Mermaid, or draw it as a picture, offline.

    Example: reverie graph --no-xray

    Example: reverie graph --png reason.png
    """
    from reverie.graphs import drawing

    if png is None:
        text = drawing.mermaid(xray)
        print(json.dumps({"mermaid": text}, indent=2) if as_json else text, end="\n" * as_json)
        return
    _draw(drawing.dot(xray), png)
    print(json.dumps({"png": str(png)}, indent=2) if as_json else f"Drawn: {png}")


def _draw(source: str, target: Path) -> None:
    """Have Graphviz draw ``source`` into ``target``, which is there whole or not at all."""
    program = shutil.which("dot")
    if program is None:
        raise ReverieError(
            "drawing a PNG needs Graphviz, and its program `dot` is not on this machine",
            hint="Install it (apt install graphviz, brew install graphviz), or leave out --png: "
            "GitHub and https://mermaid.live draw Mermaid",
        )
    if target.is_dir():
        raise ConfigError(f"{target} is a folder", hint="Name a file, as in --png reason.png")
    try:
        handle, part = tempfile.mkstemp(prefix=".reverie-", suffix=".png", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        with os.fdopen(handle, "wb") as sink:
            drawn = subprocess.run(
                [program, "-Tpng"],
                input=source.encode(),
                stdout=sink,
                stderr=subprocess.PIPE,
                timeout=_SECONDS_TO_DRAW,
                check=False,
            )
        if drawn.returncode != 0 or not Path(part).stat().st_size:
            said = drawn.stderr.decode(errors="replace").strip()
            raise ReverieError(f"Graphviz could not draw the graph: {said or 'it said nothing'}")
        Path(part).chmod(0o644)
        Path(part).replace(target)
    except subprocess.TimeoutExpired as error:
        raise ReverieError(f"Graphviz took more than {_SECONDS_TO_DRAW} seconds") from error
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        Path(part).unlink(missing_ok=True)


def _unwritable(target: Path, error: OSError) -> ReverieError:
    return ConfigError(
        f"cannot write {target}: {error.strerror or error}",
        hint="Name a file in a folder that exists and that you may write to",
    )
