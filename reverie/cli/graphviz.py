"""Having Graphviz draw."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Literal

from reverie.cli.whole_file import write_whole
from reverie.errors import ReverieError

Layout = Literal["dot", "sfdp"]
"""``dot`` draws from top to bottom, ``sfdp`` around a middle."""

_SECONDS_TO_DRAW = 60


def draw_png(source: str, target: Path, *, layout: Layout = "dot") -> None:
    """Draws ``source``, in Graphviz's language, into the file ``target``."""
    write_whole(target, _drawn(source, "png", layout))


def svg(source: str, *, layout: Layout = "dot") -> str:
    """The picture of ``source`` as SVG."""
    return _drawn(source, "svg", layout).decode()


def _drawn(source: str, form: str, layout: Layout) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise ReverieError(
            "drawing needs Graphviz, and its program `dot` is not on this machine",
            hint="Install it (apt install graphviz, brew install graphviz), or do without: "
            "GitHub and https://mermaid.live draw Mermaid",
        )
    try:
        drawn = subprocess.run(
            [program, f"-K{layout}", f"-T{form}"],
            input=source.encode(),
            capture_output=True,
            timeout=_SECONDS_TO_DRAW,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReverieError(f"Graphviz took more than {_SECONDS_TO_DRAW} seconds") from error
    except OSError as error:
        raise ReverieError(f"Graphviz cannot be run: {error.strerror or error}") from error
    if drawn.returncode != 0 or not drawn.stdout:
        said = drawn.stderr.decode(errors="replace").strip()
        raise ReverieError(f"Graphviz could not draw the graph: {said or 'it said nothing'}")
    return drawn.stdout
