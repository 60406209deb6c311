"""What one model call does while it goes on, as events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Write = Callable[[Any], None]
"""Takes an event, as a graph's stream writer does."""


class CallEvents:
    """Writes a call's text as it arrives, and takes it back when the call has to begin again."""

    def __init__(self, write: Write, branch: int | None = None, *, hidden: str = "") -> None:
        """``hidden`` is how the text may begin without being shown: it was shown before."""
        self._write = write
        self._branch = branch
        self._hides = hidden
        self._hidden = hidden
        self._shown = 0

    def text(self, text: str) -> None:
        """A piece of the reply."""
        if self._hidden:
            text, self._hidden = text.removeprefix(self._hidden), ""
        if text:
            self._shown += len(text)
            self._write({"type": "token", "branch": self._branch, "text": text})

    def begin_again(self, why: str) -> None:
        """Take back all that was written."""
        self._write(
            {
                "type": "taken_back",
                "branch": self._branch,
                "characters": self._shown,
                "why": why,
            }
        )
        self._hidden, self._shown = self._hides, 0

    def notice(self, text: str) -> None:
        """Something a person should know of the call."""
        self._write({"type": "notice", "text": text})


def passed_over(name: str, why: str) -> str:
    """The notice of a backend that another one answered instead of."""
    return f"{name} was passed over: {why}"
