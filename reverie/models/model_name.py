"""What the name of a model tells of it."""

from __future__ import annotations

import re

_NO_CHAT = re.compile(
    r"embed|rerank|whisper|tts|dall-e|moderation|transcri|realtime|audio|image|sora", re.IGNORECASE
)
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([MBT])(?![A-Za-z])", re.IGNORECASE)
_UNITS = {"m": 10**6, "b": 10**9, "t": 10**12}


def may_chat(name: str) -> bool:
    """Whether nothing in the name says that the model does something else."""
    return _NO_CHAT.search(name) is None


def parameters_in(name: str) -> int | None:
    """The number of weights that a name tells: 135M, 7B, 0.5b, 8x7B; None when it tells none."""
    found = _SIZE.search(name.rpartition("/")[2])
    if found is None:
        return None
    return int(int(found[1] or 1) * float(found[2]) * _UNITS[found[3].lower()])
