"""What the strategies at work have charged so far, beside the graph's state.

A strategy's own state is lost when it raises, runs out of time, or goes round in circles, and with
it the ledger entries of what it had finished. They are noted here as they are made, by run, so that
assess can charge them all the same.

Model calls are noted only where no call journal knows the run, as in Studio: where one does, it has
them, also those of ended processes (``graphs.lost``), and noting them here might charge them twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from reverie.graphs.budget import Entry, merge_entries

_MOST_RUNS = 1024


class Meter:
    """Ledger entries by run id, kept until the strategy that made them has ended."""

    def __init__(self) -> None:
        self._entries: dict[str, list[Entry]] = {}
        self._lock = Lock()  # runs of several event loops, in threads of their own, share it

    def note(self, run_id: str, entries: Iterable[Entry]) -> None:
        """Keep ``entries``; those of no run are nobody's to ask for."""
        if run_id:
            with self._lock:
                kept = self._entries.pop(run_id, ())
                self._entries[run_id] = merge_entries(kept, list(entries))
                while len(self._entries) > _MOST_RUNS:  # the oldest were left in the middle
                    del self._entries[next(iter(self._entries))]

    def take(self, run_id: str) -> list[Entry]:
        """What was noted since the last time, forgetting it."""
        with self._lock:
            return self._entries.pop(run_id, [])
