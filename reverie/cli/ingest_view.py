"""What an ingest has come to: counted, shown while it works, and summed up."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reverie.cli.progress import Loading
from reverie.cli.wording import Glyphs, clean, counted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from reverie.cli.interrupt import Stop
    from reverie.knowledge.library import Failed, IngestEvent

_MOST_FAILED: Final = 20
"""Failed files that are named below the bar and in the summary; --json names all."""
_WINDOW: Final = 10.0
"""Seconds over which the speed is taken."""
_QUIET: Final = 5.0
"""Seconds between lines where nothing can be redrawn."""


@dataclass(slots=True)
class IngestTally:
    """Counts what an ingest tells."""

    files: int = 0
    changed: int = 0
    read: int = 0
    replaced: int = 0
    skipped: int = 0
    removed: int = 0
    chunks: int = 0
    written: int = 0
    embedded: int = 0
    now: str = ""
    failed: list[Failed] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)
    """Files and what was odd about them."""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _to_read: int = 0

    @property
    def looked_into(self) -> int:
        """Of the changed files, those that are over with."""
        return self.read + self.replaced + len(self.failed) + max(0, self.skipped - self._same)

    @property
    def _same(self) -> int:
        return self.files - self.changed

    @property
    def read_nothing(self) -> bool:
        """Whether nothing that was named could be read."""
        return not (self.read or self.replaced or self.skipped or self.removed)

    @property
    def speed(self) -> float:
        """Chunks embedded per second, of late."""
        if not self._recent:
            return 0.0
        since = self._recent[0][0]
        return sum(count for _, count in self._recent) / max(time.monotonic() - since, 0.5)

    def take(self, event: IngestEvent) -> None:
        match event.type:
            case "found":
                self.files, self.changed = event.files, event.changed
            case "reading":
                self.now = event.path
            case "embedded":
                self._count(event.texts)
            case "done":
                self.read += not event.replaced
                self.replaced += event.replaced
                self.chunks += event.chunks
                self.written += event.written
                self.odd += [(event.path, notice) for notice in event.notices]
            case "skipped":
                self.skipped += 1
            case "removed":
                self.removed += 1
            case "failed":
                self.failed.append(event)
            case "warned":
                self.warnings.append(event.message)
            case "ended":
                self.seconds, self.parts, self.now = event.seconds, event.parts, ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "files": self.files,
            "read": self.read,
            "replaced": self.replaced,
            "skipped": self.skipped,
            "removed": self.removed,
            "chunks": self.chunks,
            "written": self.written,
            "embedded": self.embedded,
            "failed": [{"path": f.path, "reason": f.reason, "hint": f.hint} for f in self.failed],
            "odd": [{"path": path, "notice": notice} for path, notice in self.odd],
            "warnings": [*self.notices, *self.warnings],
            "seconds": round(self.seconds, 3),
            "parts": {name: round(value, 3) for name, value in self.parts.items()},
        }

    def _count(self, texts: int) -> None:
        now = time.monotonic()
        self.embedded += texts
        self._recent.append((now, texts))
        while self._recent and self._recent[0][0] < now - _WINDOW:
            self._recent.popleft()


def summary(tally: IngestTally, glyphs: Glyphs) -> str:
    """What it came to, in some lines."""
    lines = [f"warning: {clean(from_here(warning))}" for warning in tally.warnings]
    for path, notice in tally.odd[:_MOST_FAILED]:
        lines.append(f"odd: {clean(from_here(path))}: {clean(notice)}")
    for failed in tally.failed[:_MOST_FAILED]:
        hint = f" ({clean(failed.hint)})" if failed.hint else ""
        lines.append(f"failed: {clean(from_here(failed.reason))}{hint}")
    if len(tally.failed) > _MOST_FAILED:
        lines.append(f"failed: {len(tally.failed) - _MOST_FAILED:,} more; --json names all")
    if tally.read_nothing:
        return "\n".join([*lines, "nothing could be read"])
    parts = [
        f"{counted(tally.read, 'file')} read",
        f"{tally.replaced:,} replaced",
        f"{tally.skipped:,} skipped",
        f"{tally.removed:,} removed",
        f"{len(tally.failed):,} failed",
    ]
    done = f"{counted(tally.chunks, 'chunk')}, {tally.embedded:,} embedded"
    if tally.embedded and tally.parts.get("embed"):
        done += f" ({tally.embedded / tally.parts['embed']:.0f}/s)"
    return "\n".join([*lines, ", ".join(parts), f"{done} {glyphs.dot} {tally.seconds:.1f} s"])


def from_here(text: str) -> str:
    """``text`` without the current folder, where it begins with a path below that: to be shown.
    What is stored, and what --json prints, is absolute.
    """
    from reverie.knowledge.read import path_name

    try:
        here = path_name(Path())
    except OSError:  # it was removed
        return text
    return text.removeprefix(f"{here}/")


@contextlib.contextmanager
def ingest_display(tally: IngestTally, stop: Stop, *, as_json: bool) -> Iterator[Loading]:
    """A bar on a terminal; elsewhere a line now and then, with ``--json`` none. What is yielded
    hears of downloads.
    """
    from rich.console import Console

    from reverie.cli.progress import write_line

    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        speak = sys.stderr.isatty() or not as_json
        loading = Loading(stop.check, write_line(sys.stderr) if speak else None)
        with _lines(tally) if speak else contextlib.nullcontext():
            yield loading
        return
    from rich.live import Live

    loading = Loading(stop.check)
    bar = _Bar(tally, loading, console)
    live = Live(
        console=console,
        get_renderable=bar.picture,
        refresh_per_second=8,  # by a thread of Rich's own
        transient=True,  # the summary says it all
        vertical_overflow="crop",
    )
    stop.close_display = live.stop
    live.start(refresh=True)
    try:
        yield loading
    finally:
        live.stop()


@contextlib.contextmanager
def _lines(tally: IngestTally) -> Iterator[None]:
    """Says how far it is every few seconds, on standard error."""
    import threading

    over = threading.Event()

    def say() -> None:
        while not over.wait(_QUIET):
            with contextlib.suppress(OSError, ValueError):
                print(_standing(tally), file=sys.stderr, flush=True)

    threading.Thread(target=say, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _standing(tally: IngestTally) -> str:
    line = f"{tally.looked_into:,} of {counted(tally.changed, 'file')}"
    if tally.embedded:
        line += f", {counted(tally.embedded, 'chunk')} embedded, {tally.speed:.0f}/s"
    return line


class _Bar:
    """How far an ingest is, in three lines."""

    def __init__(self, tally: IngestTally, loading: Loading, console: Console) -> None:
        from rich.spinner import Spinner

        self._tally = tally
        self._loading = loading
        self._console = console
        self._spinner = Spinner("dots" if console.encoding.startswith("utf") else "line")

    def picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        from reverie.cli.progress import loading_view

        tally, width = self._tally, self._console.width
        if not tally.files:
            parts = loading_view(self._loading, width)
            self._spinner.update(text=Text("listing files" if not parts else "loading"))
            return Group(*parts, self._spinner)
        standing = Text(_standing(tally), no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(
            max(tally.changed, 1),
            tally.looked_into,
            width=max(8, min(40, width - len(standing) - 2)),
            complete_style="magenta",
            finished_style="green",
        )
        row = Table.grid(padding=(0, 2))
        row.add_row(bar, standing)
        # The end of a path says more than its beginning.
        name = clean(from_here(tally.now)) or "finishing"
        room = max(width - 3, 8)
        self._spinner.update(text=Text(name if len(name) <= room else f"..{name[2 - room :]}"))
        lines: list[RenderableType] = [row]
        if tally.failed:
            lines.append(Text(f"{len(tally.failed):,} failed", "yellow"))
        return Group(*lines, self._spinner)
