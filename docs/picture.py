# ruff: noqa: INP001  # a script beside the pages it draws for
"""Draw docs/demo.svg: what a terminal shows after a real run. Needs tmux.

.venv/bin/python docs/picture.py
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COMMAND = 'reverie ask "What happens when you drop a ball?" --strategy dream'
WIDTH, HEIGHT = 124, 60
SESSION = "reverie-picture"


def screen() -> str:
    """The screen, with its colours, after the command has ended in a fresh terminal."""
    program = Path(sys.executable).with_name("reverie")
    line = COMMAND.replace("reverie", shlex.quote(str(program)), 1) + '; touch "$DONE"; sleep 60'
    done = Path(f"/tmp/{SESSION}-{time.time_ns()}")  # noqa: S108  # gone in a moment
    tmux(
        "new-session",
        "-d",
        "-s",
        SESSION,
        "-x",
        str(WIDTH),
        "-y",
        str(HEIGHT),
        "-e",
        f"DONE={done}",
        "-e",
        "COLORTERM=truecolor",
        "sh",
        "-c",
        line,
    )
    try:
        while not done.exists():
            time.sleep(0.2)
        done.unlink()
        return tmux("capture-pane", "-p", "-e", "-t", SESSION)
    finally:
        tmux("kill-session", "-t", SESSION)


def tmux(*arguments: str) -> str:
    """One tmux command's output."""
    return subprocess.run(["tmux", *arguments], check=True, capture_output=True, text=True).stdout  # noqa: S607  # found on the PATH


def main() -> None:
    """Write the picture beside this file."""
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text.from_ansi(f"$ {COMMAND}\n{screen().rstrip()}"))
    svg = console.export_svg(title="reverie", theme=MONOKAI)
    # Any monospaced font will do: a picture should not call a font server.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(__file__).with_name("demo.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
