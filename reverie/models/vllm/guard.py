"""The process between Reverie and a server, which ends the server's whole tree of processes.

Run as ``python -I -S guard.py COMMAND...``, with a pipe from Reverie as standard input, a pipe to
Reverie as standard output, and the log as standard error. The server begins a session of its own.
Its process id is written to standard output as one line. Then:

* Reverie writes a byte: the server gets SIGTERM, time to finish, and then SIGKILL.
* The pipe closes, as it does however Reverie ends (kill -9 too): SIGKILL at once.
* The server ends by itself: what is left of its processes gets SIGKILL.

On Linux this process adopts every orphan of the server, so that nothing escapes by changing its
group or by losing its parent. Only the standard library is used, since this runs without packages.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE = 6.0
"""Seconds for the server to end by itself once it was asked to."""
INSIST = 3.0
"""Seconds in which killed processes have to be gone."""

TIDYING = 2.0
"""Of these, seconds for removing the shared memory that killed processes leave."""

_POLL = 0.05
_PROC = Path("/proc")
_PARENT = 0
_SET_PARENT_DEATH_SIGNAL = 1  # of prctl(2)
_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Run ``command`` until it ends or Reverie does; its exit code, or 128 + its signal."""
    asked = _Asked()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, asked.by_signal)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    server = _Server(command)
    os.write(1, f"{server.pid}\n".encode())
    parent = os.getppid()
    while not server.ended():
        ready, _, _ = select.select([_PARENT], [], [], _POLL)
        if ready:
            asked.finish = bool(os.read(_PARENT, 1))
            asked.kill = not asked.finish
        if asked.finish:
            server.finish()
        if asked.finish or asked.kill or os.getppid() != parent:
            break
    server.kill()
    return server.code


class _Asked:
    """What Reverie or a signal wants."""

    def __init__(self) -> None:
        self.finish = False
        self.kill = False

    def by_signal(self, _number: int, _frame: object) -> None:
        self.finish = True


class _Server:
    """The server and everything that descends from it."""

    def __init__(self, command: list[str]) -> None:
        self._status: int | None = None
        guard = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, guard)

    @property
    def code(self) -> int:
        code = os.waitstatus_to_exitcode(self._status or 0)
        return code if code >= 0 else 128 - code

    def ended(self) -> bool:
        """Whether the server's first process is gone. Buries every other that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # none is left, not even of those that were adopted
                return True
            if pid == self.pid:
                self._status = status
            if pid == 0:
                return self._status is not None

    def finish(self) -> None:
        """Ask it to end, and wait. Reverie's death shortens the wait."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while not self.ended() and time.monotonic() < until:
            ready, _, _ = select.select([_PARENT], [], [], _POLL)
            if ready:  # a second byte, or the end of the pipe
                return

    def kill(self) -> None:
        """End every process of the server that there still is."""
        began = time.monotonic()
        while time.monotonic() < began + INSIST:
            tidying = time.monotonic() < began + TIDYING
            alive = list(_members(self.pid)) if _PROC.is_dir() else []
            for pid in alive:
                if not (tidying and _tidies_up(pid)):
                    _kill(os.kill, pid)
            if not _PROC.is_dir():
                _kill(os.killpg, self.pid)
            if self.ended() and not alive:
                return
            time.sleep(_POLL)


def _become(command: list[str], guard: int) -> None:
    """Turn this forked process into the server. Does not return."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != guard:  # it ended before the line above
            os._exit(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.execv(command[0], command)  # noqa: S606  # without a shell, on purpose
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _kill(how: Callable[[int, int], None], number: int) -> None:
    # PermissionError: on macOS, when only the dead are left of a group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        how(number, signal.SIGKILL)


def _members(session: int) -> Iterator[int]:
    """The living processes of a session, and those that this process has adopted."""
    own = str(os.getpid())
    for entry in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            # pid (name, which may hold anything) state parent group session ...
            fields = entry.read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
            state, parent, family = fields[0], fields[1], fields[3]
            if state not in "ZX" and (family == str(session) or parent == own):
                yield int(entry.parent.name)


def _tidies_up(pid: int) -> bool:
    """Whether a process is Python's resource tracker: it removes the shared memory of the others
    when they are gone, and then ends.
    """
    try:
        return b"resource_tracker" in (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):  # a libc without prctl
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
