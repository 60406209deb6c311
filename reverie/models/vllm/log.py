"""A server's log: the file it goes to, and reading it while it grows."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import BinaryIO

KEPT = 5
"""Logs of earlier servers on the same port."""

_MOST = 1 << 20
"""Bytes read at once, and kept in memory of a long log."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def open_log(folder: Path, port: int) -> tuple[Path, BinaryIO]:
    """An empty ``vllm-PORT.log`` in ``folder``; earlier ones are now ``vllm-PORT.1.log``, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [folder / f"vllm-{port}{f'.{n}' if n else ''}.log" for n in range(KEPT + 1)]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        with contextlib.suppress(FileNotFoundError):
            newer.replace(older)
    descriptor = names[0].open("wb")
    names[0].chmod(0o600)  # it may quote prompts
    return names[0], descriptor


class LogReader:
    """What has been added to a log since it was last looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = ""

    def lines(self) -> list[str]:
        """The new lines, without colours. A progress bar's states are lines of their own."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._position)
                new = log.read(_MOST)
        except OSError:
            return []
        self._position += len(new)
        text = self._rest + _ESCAPES.sub("", new.decode("utf-8", "replace"))
        *whole, self._rest = re.split(r"[\r\n]+", text)
        return whole


def tail(path: Path) -> list[str]:
    """The last lines of a log, without colours."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _MOST))
            text = log.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in re.split(r"[\r\n]+", _ESCAPES.sub("", text)) if line.strip()]
