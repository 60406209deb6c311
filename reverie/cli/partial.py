"""Reading a dream's JSON while it is still being written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_ANSWER = re.compile(r'"answer"\s*:\s*"')
_TRIPLETS = re.compile(r'"triplets"\s*:\s*\[')
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
# Ends before an escape that has not arrived whole.
_OPEN_STRING = re.compile(r'(?:[^"\\]|\\[^u]|\\u[0-9a-fA-F]{4})*', re.DOTALL)


@dataclass(frozen=True, slots=True)
class PartialDream:
    """As much of a dream as can be read so far."""

    answer: str
    triplets: list[tuple[str, str, str]]


def read_partial(text: str) -> PartialDream:
    """What ``{"answer": ..., "triplets": [[...]]}`` says so far; other text is its own answer."""
    if not text.lstrip().startswith("{"):
        return PartialDream(text, [])
    found = _ANSWER.search(text)
    if found is None:
        return PartialDream("", [])
    body = _OPEN_STRING.match(text, found.end())
    written = body[0] if body else ""
    end = found.end() + len(written)
    triplets = _TRIPLETS.search(text, end)
    parts = [_decoded(s) for s in _STRING.findall(text, triplets.end())] if triplets else []
    whole = len(parts) - len(parts) % 3
    return PartialDream(
        _decoded(written), [(parts[i], parts[i + 1], parts[i + 2]) for i in range(0, whole, 3)]
    )


def _decoded(written: str) -> str:
    """What is inside a JSON string, without the first half of a surrogate pair at its end."""
    try:
        text = str(json.loads(f'"{written}"', strict=False))
    except ValueError:
        return written
    return text[:-1] if text and "\ud800" <= text[-1] <= "\udbff" else text
