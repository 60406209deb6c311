"""Strings that mean something in a reply's text, found although they come in parts."""

from __future__ import annotations

from collections.abc import Iterable


class Markers:
    """Some strings to look for, of which the empty ones are left out."""

    __slots__ = ("_firsts", "_longest", "_markers")

    def __init__(self, markers: Iterable[str]) -> None:
        self._markers = tuple(dict.fromkeys(marker for marker in markers if marker))
        self._longest = max(map(len, self._markers), default=0)
        self._firsts = frozenset(marker[0] for marker in self._markers)

    def __bool__(self) -> bool:
        return bool(self._markers)

    def find(self, text: str) -> tuple[int, int] | None:
        """Begin and end of the marker that is complete first; of two that end there, the longer.

        So the answer is the same however the text comes in.
        """
        found: tuple[int, int] | None = None
        for marker in self._markers:
            begin = text.find(marker)
            if begin >= 0:
                end = begin + len(marker)
                if found is None or (end, begin) < (found[1], found[0]):
                    found = (begin, end)
        return found

    def begun(self, text: str) -> int:
        """Where the end of ``text`` may be the beginning of a marker; its length if nowhere."""
        for place in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[place] in self._firsts:
                rest = text[place:]
                if any(marker.startswith(rest) for marker in self._markers):
                    return place
        return len(text)
