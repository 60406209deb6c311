"""Samples of one answer, as a table: what each says, and how much it weighs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from reverie.cli import wording
from reverie.cli.wording import Glyphs, clean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reverie.cli.view import AttemptView, BranchView

_WON = "green"
_FAILED = "red"


def samples_view(attempt: AttemptView, glyphs: Glyphs) -> Iterator[RenderableType]:
    """One row per sample, with its answer and every number that the verdict rests on."""
    verdict = attempt.verdict
    branches = [attempt.branches[key] for key in sorted(attempt.branches)]
    scored = {c["branch"]: c for c in verdict["candidates"]} if verdict else {}
    names = wording.scorers(verdict) if verdict else []
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("Samples", no_wrap=True)
    table.add_column("", ratio=1)
    for name in names or ["confidence"]:
        table.add_column(clean(name), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=len("dissents"))
    for branch in branches:
        candidate = scored.get(branch.branch)
        mark = wording.standing(candidate, verdict) if candidate and verdict else ""
        if candidate is not None:
            numbers = [candidate["scores"].get(name) for name in names]
        elif names:
            numbers = [None] * len(names)
        else:
            numbers = [None if branch.outcome is None else branch.outcome["confidence"]]
        failed = branch.outcome is not None and branch.outcome["status"] == "failed"
        table.add_row(
            clean(branch.label),
            _body(branch, glyphs),
            *(wording.number(value, glyphs) for value in numbers),
            "failed" if failed else mark,
            style=_FAILED if failed else f"bold {_WON}" if mark == "winner" else None,
        )
    yield table
    if verdict is not None:
        yield Text(clean(verdict["why"]), "dim")


def _body(branch: BranchView, glyphs: Glyphs) -> Text:
    outcome = branch.outcome
    if outcome is not None:
        return Text(clean(outcome["answer"] or outcome["error"]))
    # The line that is being written: samples grow side by side.
    last = clean(branch.text.rstrip().rpartition("\n")[2])
    return Text(last or glyphs.ellipsis, "dim", no_wrap=True, overflow="ellipsis")
