"""One process at a time writes to the library."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from reverie.errors import KnowledgeUnavailable


class IngestLock:
    """Held while documents are ingested or removed. It ends with its process, however that ends."""

    def __init__(self, home: Path) -> None:
        self._holder = home / ".library.pid"
        # Not bound to a thread: asyncio.to_thread picks another each time.
        self._lock = FileLock(home / ".library.lock", thread_local=False)
        self._home = home

    def acquire(self) -> None:
        """Blocks for a moment at most. Raises ``KnowledgeUnavailable`` when another process holds
        it, which it names.
        """
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._holder.write_text(str(os.getpid()), encoding="ascii")
        except Timeout as error:
            raise self._held() from error
        except OSError as error:
            self.release()
            raise KnowledgeUnavailable(
                f"the library cannot be kept in {self._home}: {error.strerror or error}",
                hint="Make that folder writable or free some space, or set REVERIE_HOME to "
                "another folder",
            ) from error

    def release(self) -> None:
        """A second call does nothing."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._holder.unlink(missing_ok=True)
            self._lock.release()

    def _held(self) -> KnowledgeUnavailable:
        try:
            pid = int(self._holder.read_text(encoding="ascii"))
        except (OSError, ValueError):  # it is about to write it, or to end
            who, hint = "another process", "Wait for it to end"
        else:
            who, hint = f"process {pid}", f"Wait for it, or end it (kill {pid}): it can be resumed"
        return KnowledgeUnavailable(f"{who} is writing to the library in {self._home}", hint=hint)
