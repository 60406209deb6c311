"""A run as plain text, for a pipe: no control codes, no columns that depend on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from reverie.cli import wording
from reverie.cli.progress import Loading
from reverie.cli.wording import Glyphs, clean

if TYPE_CHECKING:
    from reverie.agents.result import Result
    from reverie.cli.interrupt import Stop
    from reverie.cli.view import AttemptView, BranchView, RunView
    from reverie.graphs.events import Event
    from reverie.graphs.records import Verdict

_PATIENCE: Final = 2.0
"""Seconds after which a silent stage is named."""


class SilentRun:
    """Follows a run without drawing it; tells ``heard``, if given, what takes long."""

    def __init__(
        self, view: RunView, stop: Stop, heard: Callable[[str], None] | None = None
    ) -> None:
        self._view = view
        self._heard = heard
        self.report = Loading(stop.check, self._loading)
        self._stage = ""
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return

    def take(self, item: Event | Result) -> None:
        self._view.take(item)

    def close(self) -> None:
        """Nothing was drawn."""

    def tick(self) -> None:
        """Name the stage once it has lasted two seconds."""
        now = time.monotonic()
        if self._view.stage != self._stage:
            self._stage, self._since = self._view.stage, now
        elif self._stage and self._heard and now - self._since >= _PATIENCE:
            self._heard(clean(self._stage))
            self._since = float("inf")

    def _loading(self, line: str) -> None:
        if self._heard:
            self._heard(line)
        # It has spoken: the stage around it need not.
        self._since = time.monotonic()


def plain_text(view: RunView, glyphs: Glyphs) -> str:
    """The whole run: question, strategy, facts, dreams, verdict, answer, cost."""
    return "\n".join(_lines(view, glyphs)) + "\n"


def _lines(view: RunView, glyphs: Glyphs) -> Iterator[str]:
    yield f"question: {clean(view.question)}"
    for attempt in view.attempts:
        yield from _attempt(attempt, glyphs)
    result = view.result
    if result is None:
        return
    if result.status == "answered":
        yield f"answer: {clean(result.answer, keep_lines=True).strip()}"
    else:
        yield f"no answer: {wording.why_abstained(result)}"
    backends = wording.answered_by(result)
    if backends:
        yield f"answered by: {backends}"
    yield f"cost: {wording.joined(wording.cost_parts(result.cost), glyphs)}"
    if result.status == "answered":
        yield f"confidence: {wording.confidence_text(result).removeprefix('confidence ')}"
    if result.stopped:
        yield f"stopped early: {clean(result.stopped)}"
    yield f"run: {result.run_id}"
    for notice in view.notices:
        yield f"note: {clean(notice)}"


def _attempt(attempt: AttemptView, glyphs: Glyphs) -> Iterator[str]:
    yield from _choice(attempt, glyphs)
    if attempt.facts is not None:
        yield "facts:" if attempt.facts else f"facts: {clean(attempt.note) or 'none'}"
        for fact in attempt.facts:
            parts = (fact["what"], fact["action"], fact["result"])
            yield f"  {fact['similarity']:.2f}  {wording.triplet(parts, glyphs)}"
    yield from _means(attempt, glyphs)
    branches = [b for _, b in sorted(attempt.branches.items()) if b.outcome is not None]
    if branches:
        yield "dreams:" if attempt.dreams else "samples:"
    for branch in branches:
        yield from _branch(branch, glyphs, numbered=attempt.dreams)
    if attempt.verdict is not None:
        yield "verdict:"
        yield from _verdict(attempt.verdict, branches, glyphs, dreams=attempt.dreams)
    if attempt.form is not None:
        yield f"waiting for a person: {clean(attempt.form['question'])}"
    if attempt.rejected:
        yield f"not accepted: {clean(attempt.rejected)}"


def _choice(attempt: AttemptView, glyphs: Glyphs) -> Iterator[str]:
    if attempt.choice is not None:
        yield f"strategy: {clean(attempt.choice['strategy'])} ({clean(attempt.choice['why'])})"
        if attempt.choice["template"]:
            yield f"template: {clean(attempt.choice['template'])}"
        history = wording.posteriors(attempt.choice)
        if history:
            yield f"posterior means: {wording.joined(history, glyphs)}"


def _means(attempt: AttemptView, glyphs: Glyphs) -> Iterator[str]:
    if attempt.tools:
        yield "tools:"
    for use in attempt.tools:
        call = wording.tool_call(use["tool"], use["arguments"], glyphs)
        yield f"  {call} {glyphs.arrow} {wording.tool_result(use, glyphs)}"
    if attempt.parts:
        yield "parts:"
    for number, part in enumerate(attempt.parts, 1):
        yield f"  {number} {clean(part['question'])}"
        yield f"    {clean(part['answer'])}"


def _branch(branch: BranchView, glyphs: Glyphs, *, numbered: bool) -> Iterator[str]:
    name = f"  {_name(branch.branch, branch.label, numbered=numbered)}"
    outcome = branch.outcome
    if outcome is None:
        return
    if outcome["status"] == "failed":
        yield f"{name} failed: {clean(outcome['error'])}"
        return
    yield f"{name}: {clean(outcome['answer'])}"
    for t in branch.triplets:
        parts = (t["what"], t["action"], t["result"])
        yield f"      {t['origin']}: {wording.triplet(parts, glyphs)}"


def _name(branch: int, label: str, *, numbered: bool) -> str:
    """A branch by its label. Several dreams may have one, and are told apart by their number."""
    return f"{branch + 1} {clean(label)}" if numbered else clean(label)


def _verdict(
    verdict: Verdict, branches: list[BranchView], glyphs: Glyphs, *, dreams: bool
) -> Iterator[str]:
    names = wording.scorers(verdict)
    rows = [["dream" if dreams else "sample", *map(clean, names), "total", ""]]
    failed = [b for b in branches if b.outcome is not None and b.outcome["status"] == "failed"]
    for c in verdict["candidates"]:
        scores = [wording.number(c["scores"].get(name), glyphs) for name in names]
        mark = wording.standing(c, verdict)
        name = _name(c["branch"], c["label"], numbered=dreams)
        rows.append([name, *scores, f"{c['total']:.2f}", mark])
    for b in failed:
        empty = [glyphs.none] * (len(names) + 1)
        rows.append([_name(b.branch, b.label, numbered=dreams), *empty, "failed"])
    if verdict["weights"]:
        weights = (wording.number(verdict["weights"].get(n), glyphs) for n in names)
        rows.append(["weight", *weights, "", ""])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        yield f"  {'  '.join([*cells, row[-1]])}".rstrip()
    yield f"  {clean(verdict['why'])}"
