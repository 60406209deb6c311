"""What a strategy did on its way to the answer: tool calls, and parts of the question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from reverie.cli import wording
from reverie.cli.wording import Glyphs, clean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reverie.cli.view import AttemptView

_FAILED = "red"


def tools_view(attempt: AttemptView, glyphs: Glyphs) -> RenderableType:
    """Every call, and what came of it."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for use in attempt.tools:
        call = wording.tool_call(use["tool"], use["arguments"], glyphs)
        result = wording.tool_result(use, glyphs)
        grid.add_row(
            Text(call, "dim"),
            Text(f"{glyphs.arrow} {result}", _FAILED if use["error"] else ""),
        )
    if attempt.calling is not None:
        calling = attempt.calling
        call = wording.tool_call(calling["tool"], calling["arguments"], glyphs)
        grid.add_row(Text(call, "dim"), Text(glyphs.ellipsis, "dim"))
    return grid


def parts_view(attempt: AttemptView) -> RenderableType:
    """The parts of the question, each above its answer."""
    lines = Table.grid(padding=(0, 1))
    lines.add_column()
    lines.add_column(overflow="fold")
    for number, part in enumerate(attempt.parts, 1):
        lines.add_row(Text(f"{number}", "dim"), Text(clean(part["question"]), "dim"))
        lines.add_row(Text(), Text(clean(part["answer"])))
    return lines
