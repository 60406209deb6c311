"""Which process this is, and whether another one is still alive."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process. Numbers are used again, so ``born`` tells it from a later one of its number; it is
    empty where the platform does not say.
    """

    pid: int
    born: str
    host: str
    """The machine, and where it has them, its namespace of process numbers."""

    def gone(self) -> bool:
        """Whether it has certainly ended. One on another host never has."""
        if self.host != _host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's
        state, born = _stat(self.pid)
        return state in ("Z", "X") or bool(self.born and born and born != self.born)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('/')[0]}"


def this_process() -> Process:
    """The process that asks."""
    return Process(os.getpid(), _stat(os.getpid())[1], _host())


def _host() -> str:
    try:
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:  # not Linux
        return platform.node()
    return f"{platform.node()}/{space}"


def _stat(pid: int) -> tuple[str, str]:
    """State letter and start time in ticks since boot; empty where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "", ""
    # The name in parentheses may hold anything, also spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[19]
