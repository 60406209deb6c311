"""The server in a process of its own, for benchmarks."""

from __future__ import annotations

import subprocess
import sys
from typing import Self

from reverie.evals.quirks.behaviour import Quirks

_END_SECONDS = 10.0


class QuirkProcess:
    """``python -m reverie.evals.quirks`` as a context manager. It ends with this process, however
    this one ends.
    """

    address: str
    """Ends in ``/v1``. Known inside the ``with`` block."""

    def __init__(self, quirks: Quirks | None = None) -> None:
        self._quirks = quirks or Quirks()
        self._child: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Of the running server."""
        if self._child is None:
            raise RuntimeError("the server is not running")
        return self._child.pid

    def __enter__(self) -> Self:
        quirks = self._quirks.to_json()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "reverie.evals.quirks", "--with-parent", "--quirks", quirks],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self._child.stdout.readline() if self._child.stdout is not None else ""
        if not line.startswith("ready "):
            self.__exit__()
            raise RuntimeError("the quirk server did not start; what it says is above")
        self.address = line.split()[1]
        return self

    def __exit__(self, *_: object) -> None:
        child, self._child = self._child, None
        if child is not None:
            try:
                # Closes the pipe that the server watches, waits for its end, closes the others.
                child.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
