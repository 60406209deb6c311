"""What the doctor found, on a terminal or as plain text, and how far it is meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from reverie.cli.wording import clean, counted, glyphs_for

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from reverie.models.doctor.examination import Examination, Finding, Step, Verdict

_STYLES: dict[Verdict, str] = {"yes": "green", "no": "yellow", "unknown": "magenta"}
_SIGNS: dict[Verdict, str] = {"yes": "✓", "no": "✗", "unknown": "?"}
_ASCII_SIGNS: dict[Verdict, str] = {"yes": "+", "no": "-", "unknown": "?"}

_WIDE = 110
"""Columns from which on the remedies have a column of their own."""
_TITLES = 22
_VERDICTS = 9


def print_examination(examination: Examination, console: Console, path: Path | None) -> None:
    """Print everything: a table on a terminal, aligned text elsewhere."""
    if console.is_terminal:
        _print_tables(examination, console, path)
    else:
        for line in _lines(examination, path):
            console.print(line, markup=False, soft_wrap=True)


class ProbeProgress:
    """What is being probed, in one line that is redrawn on a terminal and gone afterwards."""

    def __init__(self, console: Console, address: str) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        dots = glyphs_for(console.encoding).arrow != "->"
        self._spinner = Spinner("dots" if dots else "line")
        self._console = console
        self._address = address
        self._step: Step | None = None
        self._live = Live(
            console=console,
            get_renderable=self._picture,
            refresh_per_second=8,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *ending: object) -> None:
        self.close()

    def report(self, step: Step) -> None:
        """Show how far it is."""
        self._step = step

    def close(self) -> None:
        """Give the terminal back; a second call does nothing."""
        self._live.stop()

    def _picture(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        step = self._step
        total, done = (step.total, step.done) if step else (1, 0)
        doing = ", ".join(step.titles) if step else ""
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(width=1, no_wrap=True)
        row.add_column(width=20, no_wrap=True)
        row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total, done, width=20, complete_style="magenta", finished_style="green")
        text = f"{done} of {total}  {doing}" if step else f"Asking {clean(self._address)}"
        row.add_row(self._spinner, bar, Text(text))
        return row


def _heading(examination: Examination) -> str:
    server = f"{examination.server} {examination.version}".strip() or "an unknown server"
    others = len(examination.models) - 1
    more = f" ({counted(others, 'other model')} there)" if others > 0 else ""
    return f"{clean(examination.model)} by {clean(server)} at {clean(examination.address)}{more}"


def _seen(finding: Finding) -> str:
    return clean("; ".join(part for part in (finding.value, finding.evidence) if part))


def _costs(examination: Examination) -> str:
    costs = examination.costs
    tokens = f"{costs.prompt_tokens:,} tokens in and {costs.completion_tokens:,} out"
    told = tokens if costs.prompt_tokens else "tokens that the server does not count"
    return f"{counted(costs.requests, 'request')}, {told}, {costs.seconds:.0f} s"


def _where(path: Path | None) -> str:
    return f"The profile is stored in {path}" if path else "The profile was not stored (--no-save)"


def _lines(examination: Examination, path: Path | None) -> list[str]:
    lines = [_heading(examination), *(f"note: {clean(n)}" for n in examination.notices), ""]
    indent = " " * (_TITLES + _VERDICTS)
    for finding in examination.findings:
        lines.append(f"{finding.title:<{_TITLES}}{finding.verdict:<{_VERDICTS}}{_seen(finding)}")
        if finding.remedy:
            lines.append(f"{indent}{finding.remedy}")
    if examination.speeds:
        lines += ["", "at a time   first token   tokens per second"]
        lines += [
            f"{speed.concurrent:>9}{_first(speed.first_token_seconds):>14}"
            f"{speed.tokens_per_second:>20.1f}"
            for speed in examination.speeds
        ]
    return [*lines, "", _costs(examination), _where(path)]


def _print_tables(examination: Examination, console: Console, path: Path | None) -> None:
    from rich.text import Text

    console.print(Text(_heading(examination), "bold"))
    for notice in examination.notices:
        console.print(Text(f"note: {clean(notice)}", "yellow"))
    console.print()
    console.print(_abilities(examination, console))
    if examination.speeds:
        console.print()
        console.print(_speeds(examination))
    console.print()
    console.print(Text(_costs(examination), "dim"))
    console.print(Text(_where(path)), soft_wrap=True)


def _abilities(examination: Examination, console: Console) -> Table:
    from rich.table import Table
    from rich.text import Text

    wide = console.width >= _WIDE
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("ability", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what was seen", ratio=5)
    if wide:
        table.add_column("what Reverie does about it", ratio=4, style="cyan")
    signs = _SIGNS if glyphs_for(console.encoding).arrow != "->" else _ASCII_SIGNS
    for finding in examination.findings:
        verdict = Text(f"{signs[finding.verdict]} {finding.verdict}", _STYLES[finding.verdict])
        seen = _seen_text(finding)
        row = [Text(finding.title), verdict, seen]
        if wide:
            row.append(Text(finding.remedy))
        elif finding.remedy:
            seen.append(f"\n{finding.remedy}", "cyan")
        table.add_row(*row)
    return table


def _seen_text(finding: Finding) -> Text:
    from rich.text import Text

    text = Text(clean(finding.value), "bold")
    if finding.value and finding.evidence:
        text.append("; ", "none")
    return text.append(clean(finding.evidence), "none")


def _speeds(examination: Examination) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("at a time", "first token", "tokens per second"):
        table.add_column(title, justify="right")
    for speed in examination.speeds:
        first = _first(speed.first_token_seconds)
        table.add_row(str(speed.concurrent), first, f"{speed.tokens_per_second:.1f}")
    return table


def _first(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
