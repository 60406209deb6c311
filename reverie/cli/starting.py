"""A server coming up, step by step: on a terminal with the time that each takes, else in lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from reverie.cli.wording import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from reverie.models.embedded.checkpoint import Phase
    from reverie.models.packaged import FetchProgress


class StepLines:
    """Every step as a line; for a pipe or a log."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._told = ""

    def report(self, item: Phase | FetchProgress) -> None:
        text = clean(getattr(item, "text", ""))
        subject = text.partition(":")[0]
        if subject != self._told:  # progress within a step is for those who watch
            self._told = subject
            self._heard(subject)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        return


class StepBoard:
    """The steps below each other, the current one turning."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        unicode = console.encoding.startswith("utf")
        self._sign = "✓" if unicode else "+"
        self._spinner = Spinner("dots" if unicode else "line")
        self._done: list[tuple[str, float]] = []
        self._step = ""
        self._text = ""
        self._began = time.monotonic()
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=8)

    def report(self, item: Phase | FetchProgress) -> None:
        """Note what is going on now. ``Loading: 30 %`` goes on with the step ``Loading``."""
        text = clean(getattr(item, "text", ""))
        step = text.partition(":")[0]
        if step != self._step:
            self._finish()
            self._step, self._began = step, time.monotonic()
        self._text = text

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, kind: object, *ending: object) -> None:
        if kind is None:
            self._finish()
        self._step = ""
        self._live.stop()

    def _finish(self) -> None:
        if self._step:
            self._done.append((self._step, time.monotonic() - self._began))
        self._step = ""

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        for step, seconds in self._done:
            sign = Text(self._sign, "green")
            table.add_row(sign, Text(step), Text(f"{seconds:.0f} s", "dim"))
        if not self._step:
            return Group(table)
        seconds = time.monotonic() - self._began
        table.add_row(self._spinner, Text(self._text), Text(f"{seconds:.0f} s", "dim"))
        return Group(table)
