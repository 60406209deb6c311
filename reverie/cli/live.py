"""A run growing on a terminal, redrawn in place; what it has come to stays on the screen."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import SegmentLines
from rich.spinner import Spinner
from rich.text import Text

from reverie.cli.panels import RunPicture
from reverie.cli.progress import Loading, loading_view
from reverie.cli.wording import clean, glyphs_for

if TYPE_CHECKING:
    from reverie.agents.result import Result
    from reverie.cli.interrupt import Stop
    from reverie.cli.view import RunView
    from reverie.graphs.events import Event

_WIDEST: Final = 160
"""Columns used at most: longer lines are hard to read."""


class LiveRun:
    """Shows a run while it is going on. A context manager; ``tick`` redraws."""

    def __init__(self, view: RunView, console: Console, stop: Stop) -> None:
        self._view = view
        self._console = console
        self.report = Loading(stop.check)
        self._picture = RunPicture(view, glyphs_for(console.encoding))
        self._spinner = Spinner("dots" if console.encoding.startswith("utf") else "line")
        self._open = True
        self._whole = False
        # Redrawn by tick, in the loop's own thread: nothing changes while it is being drawn.
        self._live = Live(
            self,
            console=console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stderr=sys.stderr.isatty(),  # a file given for it still gets it
        )

    def __enter__(self) -> Self:
        before = sys.stderr
        self._live.start(refresh=True)
        _move_log(before, sys.stderr)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._whole = kind is None
        self.close()

    def close(self) -> None:
        """Draw it a last time and give the terminal back; a second call does nothing."""
        self._open = False
        before = sys.stderr
        self._live.stop()
        _move_log(before, sys.stderr)

    def take(self, item: Event | Result) -> None:
        self._view.take(item)

    def tick(self) -> None:
        if self._open:
            self._live.refresh()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Everything, once it is over; until then as much of its end as the terminal shows."""
        options = options.update(max_width=min(options.max_width, _WIDEST), height=None)
        parts: list[RenderableType] = []
        if self._open and not self._view.attempts:
            parts += loading_view(self.report, options.max_width)
        parts.append(self._picture)
        if self._open and self._view.stage:
            parts += [Text(), self._status()]
        lines = console.render_lines(Group(*parts), options, pad=False)
        if not self._whole:
            lines = lines[-max(console.size.height - 1, 1) :]
        yield SegmentLines(lines, new_lines=True)

    def _status(self) -> RenderableType:
        loading = self.report.phase if not self._view.attempts else ""
        self._spinner.update(text=Text(clean(loading or self._view.stage), "dim"))
        return self._spinner


def _move_log(before: object, now: TextIO) -> None:
    """Let what is logged to standard error go where that goes now: above the picture, with -v."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is before:
            handler.setStream(now)
