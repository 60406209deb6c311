"""A run drawn with Rich. Text from outside is always ``Text``: no markup, no control codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reverie.cli import wording
from reverie.cli.partial import read_partial
from reverie.cli.samples import samples_view
from reverie.cli.steps import parts_view, tools_view
from reverie.cli.wording import Glyphs, clean

if TYPE_CHECKING:
    from reverie.cli.view import AttemptView, BranchView, RunView
    from reverie.graphs.records import Verdict

# Named colours, which every terminal's owner has chosen for their own background.
_WON = "green"
_FACT = "green"
_DREAMED = "magenta"
_FAILED = "red"
_WAITING = "yellow"

_LABEL = 9
"""Columns of the labels on the left."""
_FEWEST_LINES = 3
"""Lines inside a dream's panel from the start, so that it does not jump with every word."""


def across(width: int) -> int:
    """How many dreams stand side by side."""
    return 4 if width >= 120 else 2 if width >= 60 else 1


class RunPicture:
    """All of a run that is known, from the question to the cost."""

    def __init__(self, view: RunView, glyphs: Glyphs) -> None:
        self._view = view
        self._glyphs = glyphs

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        view = self._view
        yield Text(clean(view.question), "bold")
        for attempt in view.attempts:
            yield Text()
            yield from self._attempt(attempt, console, options)
        yield from self._end(options.max_width)

    # -- one attempt -----------------------------------------------------------------------

    def _attempt(
        self, attempt: AttemptView, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield self._labelled(attempt, options.max_width)
        if attempt.branches and attempt.dreams:
            yield Text()
            yield from self._dreams(attempt, console, options)
        elif attempt.branches:
            yield Text()
            yield from samples_view(attempt, self._glyphs)
        if attempt.text and not self._is_answer(attempt.text):
            yield Text()
            title = attempt.choice["strategy"] if attempt.choice else "answer"
            text = Text(clean(attempt.text, keep_lines=True).strip())
            yield _panel(text, Text(title), "dim")
        if attempt.verdict is not None and (attempt.dreams or not attempt.branches):
            yield Text()
            yield from self._verdict(attempt.verdict, attempt.branches)
        if attempt.form is not None:
            yield Text()
            yield Text(f"Waiting for a person: {clean(attempt.form['question'])}", _WAITING)
        if attempt.rejected:
            yield Text()
            yield Text(f"Not accepted: {clean(attempt.rejected)}", _FAILED)

    def _labelled(self, attempt: AttemptView, width: int) -> RenderableType:
        """What fits on lines with a label on their left."""
        labelled = Table.grid(padding=(0, 1))
        labelled.add_column(width=_LABEL)
        labelled.add_column()
        if attempt.choice is not None:
            labelled.add_row(Text("Strategy", "dim"), self._choice(attempt, width))
        if attempt.facts is not None:
            labelled.add_row(Text("Facts", "dim"), self._facts(attempt))
        if attempt.tools or attempt.calling:
            labelled.add_row(Text("Tools", "dim"), tools_view(attempt, self._glyphs))
        if attempt.parts:
            labelled.add_row(Text("Parts", "dim"), parts_view(attempt))
        return labelled

    def _choice(self, attempt: AttemptView, width: int) -> Text:
        choice = attempt.choice
        if choice is None:
            return Text()
        lines = Text.assemble(
            (clean(choice["strategy"]), "bold"),
            f" {self._glyphs.dot} {clean(choice['why'])}",
        )
        if choice["template"]:
            lines.append(f" {self._glyphs.dot} with the template {clean(choice['template'])}")
        history = wording.posteriors(choice)
        if history:
            means = ["posterior means:", *history]
            means[:2] = [" ".join(means[:2])]
            room = width - _LABEL - 1
            lines.append(f"\n{wording.joined(means, self._glyphs, room)}", "dim")
        return lines

    def _facts(self, attempt: AttemptView) -> RenderableType:
        if not attempt.facts:
            return Text(clean(attempt.note) or "none", "dim")
        grid = Table.grid(padding=(0, 1))
        grid.add_column()
        grid.add_column()
        for fact in attempt.facts:
            parts = (fact["what"], fact["action"], fact["result"])
            grid.add_row(
                Text(f"{fact['similarity']:.2f}", "dim"),
                Text(wording.triplet(parts, self._glyphs)),
            )
        return grid

    # -- dreams ----------------------------------------------------------------------------

    def _dreams(
        self, attempt: AttemptView, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        branches = [attempt.branches[key] for key in sorted(attempt.branches)]
        columns = min(across(options.max_width), len(branches))
        width = options.max_width // columns
        for start in range(0, len(branches), columns):
            row = branches[start : start + columns]
            bodies = [self._dream_body(branch) for branch in row]
            inside = options.update(width=max(width - 4, 1))
            lines = [len(console.render_lines(body, inside, pad=False)) for body in bodies]
            height = max(_FEWEST_LINES, *lines) + 2
            grid = Table.grid()
            for _ in row:
                grid.add_column(width=width)
            grid.add_row(
                *(
                    self._dream_panel(branch, body, attempt.verdict, height)
                    for branch, body in zip(row, bodies, strict=True)
                )
            )
            yield grid
        yield from self._legend(branches)

    def _dream_body(self, branch: BranchView) -> RenderableType:
        outcome = branch.outcome
        if outcome is not None and outcome["status"] == "failed":
            return Text(clean(outcome["error"]) or "failed", _FAILED)
        if outcome is not None:
            answer = clean(outcome["answer"])
            triplets = [
                ((t["what"], t["action"], t["result"]), t["origin"]) for t in branch.triplets
            ]
        else:
            partial = read_partial(branch.text)
            answer = clean(partial.answer)
            triplets = [(parts, "") for parts in partial.triplets]  # type: ignore[misc]
        if not answer:
            return Text(self._glyphs.ellipsis, "dim")
        steps = Table.grid(padding=(0, 1))
        steps.add_column()
        steps.add_column()
        for parts, origin in triplets:
            steps.add_row(self._mark(origin), Text(wording.triplet(parts, self._glyphs), "dim"))
        return Group(Text(answer), Text(), steps) if triplets else Text(answer)

    def _mark(self, origin: str) -> Text:
        if origin == "fact":
            return Text(self._glyphs.fact, _FACT)
        if origin == "dreamed":
            return Text(self._glyphs.dreamed, _DREAMED)
        return Text(self._glyphs.dot, "dim")

    def _dream_panel(
        self, branch: BranchView, body: RenderableType, verdict: Verdict | None, height: int
    ) -> Panel:
        outcome = branch.outcome
        title = Text(f"{branch.branch + 1} {clean(branch.label)}", "bold")
        note, style = "", "dim" if outcome is None else ""
        if outcome is not None and outcome["status"] == "failed":
            note, style = "failed", _FAILED
        elif verdict is not None:
            mine = [c for c in verdict["candidates"] if c["branch"] == branch.branch]
            note = wording.standing(mine[0], verdict) if mine else ""
            style = _WON if note == "winner" else style
        return _panel(body, title, style, note=note, height=height)

    def _legend(self, branches: Sequence[BranchView]) -> Iterator[Text]:
        origins = {t["origin"] for branch in branches for t in branch.triplets}
        parts: list[tuple[str, str]] = []
        if "fact" in origins:
            parts += [(f"{self._glyphs.fact} ", _FACT), ("fact from the store   ", "dim")]
        if "dreamed" in origins:
            parts += [(f"{self._glyphs.dreamed} ", _DREAMED), ("dreamed", "dim")]
        if parts:
            yield Text.assemble("  ", *parts)

    # -- verdict and end -------------------------------------------------------------------

    def _verdict(
        self, verdict: Verdict, branches: dict[int, BranchView]
    ) -> Iterator[RenderableType]:
        names = wording.scorers(verdict)
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        table.add_column("Verdict", no_wrap=True)
        for name in names:
            table.add_column(clean(name), justify="right", min_width=4, no_wrap=True)
        table.add_column("total", justify="right", min_width=4, no_wrap=True)
        table.add_column("", no_wrap=True, min_width=len("dissents"))
        scored = {candidate["branch"]: candidate for candidate in verdict["candidates"]}
        for branch in sorted({*scored, *branches}):
            candidate = scored.get(branch)
            if candidate is None:
                row = [f"{branch + 1} {clean(branches[branch].label)}"]
                row += [self._glyphs.none] * (len(names) + 1)
                table.add_row(*row, "failed", style=_FAILED)
                continue
            mark = wording.standing(candidate, verdict)
            won = mark == "winner"
            table.add_row(
                f"{candidate['branch'] + 1} {clean(candidate['label'])}",
                *(wording.number(candidate["scores"].get(n), self._glyphs) for n in names),
                Text(f"{candidate['total']:.2f}", "bold" if won else ""),
                Text(mark),
                style=f"bold {_WON}" if won else None,
            )
        if verdict["weights"]:
            weights = (wording.number(verdict["weights"].get(n), self._glyphs) for n in names)
            table.add_row("weight", *weights, "", "", style="dim")
        yield table
        yield Text(clean(verdict["why"]), "dim")

    def _end(self, width: int) -> Iterator[RenderableType]:
        view = self._view
        if view.answer is not None:
            yield Text()
            if view.answer["status"] == "answered":
                text = Text(clean(view.answer["text"], keep_lines=True).strip(), "bold")
                yield _panel(text, Text("Answer", "bold"), _WON)
            elif view.result is not None:
                text = Text(wording.why_abstained(view.result))
                yield _panel(text, Text("No answer", "bold"), _FAILED)
        if view.cost is not None:
            yield Text(wording.joined(wording.cost_parts(view.cost), self._glyphs, width))
        if view.result is not None:
            yield self._closing(width)
        for notice in view.notices:
            yield Text(f"note: {clean(notice)}")

    def _closing(self, width: int) -> Text:
        result = self._view.result
        if result is None:
            return Text()
        text = Text(style="dim")
        if result.stopped:
            text.append(f"stopped early: {clean(result.stopped)}\n")
        backends = wording.answered_by(result)
        if backends:
            text.append(f"answered by {backends}\n")
        parts = [wording.confidence_text(result)] if result.status == "answered" else []
        parts.append(f"score it: reverie feedback {result.run_id} 1 (right) or 0 (wrong)")
        text.append(wording.joined(parts, self._glyphs, width))
        return text

    def _is_answer(self, text: str) -> bool:
        """Whether the answer's own panel says the same."""
        answer = self._view.answer
        return answer is not None and answer["text"].strip() == text.strip()


def _panel(
    body: RenderableType, title: Text, style: str, *, note: str = "", height: int | None = None
) -> Panel:
    return Panel(
        body,
        box=box.ROUNDED,
        title=title,
        title_align="left",
        subtitle=Text(note) if note else None,
        subtitle_align="right",
        border_style=style or "none",
        height=height,
        expand=True,
    )
