"""Which rows hold which metadata, so that a filter need not look at every record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reverie.knowledge.vectors.store import Value


class Postings:
    """Rows by key and value."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, bool, Value], set[int]] = {}

    def add(self, row: int, metadata: Mapping[str, Value]) -> None:
        for key, value in metadata.items():
            self._rows.setdefault(_place(key, value), set()).add(row)

    def remove(self, row: int, metadata: Mapping[str, Value]) -> None:
        for key, value in metadata.items():
            rows = self._rows[_place(key, value)]
            rows.discard(row)
            if not rows:
                del self._rows[_place(key, value)]

    def matching(self, wanted: Mapping[str, Sequence[Value]]) -> set[int]:
        """Rows that hold for every key one of its values. ``wanted`` is not empty."""
        by_key = [
            set[int]().union(*(self._rows.get(_place(key, value), ()) for value in values))
            for key, values in wanted.items()
        ]
        return set.intersection(*by_key)


def _place(key: str, value: Value) -> tuple[str, bool, Value]:
    """Apart for truth values, which to Python are the numbers 0 and 1."""
    return key, isinstance(value, bool), value
