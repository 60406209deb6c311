"""Traces on disk: one JSON Lines file per run, under ``home/traces``.

Each line is an event of the run: model calls with their messages, tokens, log-probabilities and
cost, and every decision. Pieces of text are left out, since the calls hold them whole.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from reverie.graphs.events import Event
    from reverie.settings import Settings

BLOTTED: Final = "[redacted]"

_LEFT_OUT: Final = frozenset({"token", "taken_back"})
_WORDS: Final = frozenset({"messages", "text", "tool_calls", "tokens", "prefill"})
"""What of a call is left out where traces hold no prompts."""


class TraceFile:
    """Writes one run's trace. A file that cannot be written becomes a notice, never an error."""

    def __init__(self, path: Path, *, prompts: bool, redact: Sequence[str]) -> None:
        self.path = path
        self._prompts = prompts
        self._redact = [re.compile(pattern) for pattern in redact]
        self._failed = False

    async def take(self, event: Event) -> str:
        """Write an event; returns why the trace could not be written, once, else nothing."""
        if self._failed or event["type"] in _LEFT_OUT:
            return ""
        line = json.dumps(self._record(event), ensure_ascii=False, default=str)
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            self._failed = True
            return f"the trace cannot be written to {self.path}: {error.strerror or error}"
        return ""

    def _record(self, event: Event) -> dict[str, Any]:
        record: dict[str, Any] = {"at": round(time.time(), 3), **event}
        if event["type"] == "called" and not self._prompts:
            call = event["call"]
            record["call"] = {key: value for key, value in call.items() if key not in _WORDS}
        return dict(self._blotted(record)) if self._redact else record

    def _blotted(self, value: Any) -> Any:
        if isinstance(value, str):
            for pattern in self._redact:
                value = pattern.sub(BLOTTED, value)
            return value
        if isinstance(value, Mapping):
            blotted = {key: self._blotted(inner) for key, inner in value.items()}
            if "tokens" in value and "text" in value and blotted["text"] != value["text"]:
                blotted["tokens"] = []  # single tokens would still spell it
            return blotted
        if isinstance(value, list | tuple):
            return [self._blotted(inner) for inner in value]
        return value

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Opened anew for each line: a run that is killed leaves whole lines, and resuming goes on.
        with self.path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(line + "\n")


def open_trace(settings: Settings, run_id: str) -> TraceFile | None:
    """Where the run's trace goes; None when none is kept."""
    trace = settings.trace
    if trace.keep == 0:
        return None
    path = trace_path(settings.home, run_id)
    return TraceFile(path, prompts=trace.prompts, redact=trace.redact)


def trace_path(home: Path, run_id: str) -> Path:
    """The file of a run's trace."""
    return home / "traces" / f"{run_id}.jsonl"


def read_trace(home: Path, run_id: str) -> Iterator[dict[str, Any]]:
    """The records of a run, in order; a last line that was cut off is left out. Blocks."""
    with suppress(FileNotFoundError), trace_path(home, run_id).open(encoding="utf-8") as file:
        for line in file:
            with suppress(ValueError):
                yield json.loads(line)


def prune_traces(home: Path, keep: int) -> int:
    """Delete all but the ``keep`` traces written last; returns how many. Blocks."""
    files = []
    for path in (home / "traces").glob("*.jsonl"):
        with suppress(OSError):  # another process may be pruning too
            files.append((path.stat().st_mtime_ns, path))
    gone = sorted(files)[: max(0, len(files) - keep)]
    for _, path in gone:
        path.unlink(missing_ok=True)
    return len(gone)
