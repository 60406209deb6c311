"""The bytes of a file, read so that nothing else than an ordinary file of moderate size is."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from reverie.errors import DocumentUnreadable

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_REASONS: Final = {
    errno.ENOENT: ("is not there", "It may have been removed meanwhile"),
    errno.ENOTDIR: ("is not there", "It may have been removed meanwhile"),
    errno.EACCES: ("may not be read", "Grant yourself permission to read it"),
    errno.EPERM: ("may not be read", "Grant yourself permission to read it"),
    errno.ELOOP: ("is a link that leads to itself", "Remove the link"),
    errno.ENAMETOOLONG: ("has a name that is too long", "Give it a shorter one"),
}


def read_bytes(path: Path, name: str, most_bytes: int) -> bytes:
    """What the file holds. Raises DocumentUnreadable, which calls it ``name``.

    The size is checked before anything is read, and pipes and devices are never waited for.
    """
    try:
        _check(os.stat(path), name, most_bytes)  # noqa: PTH116 takes names that are no text too
        # Should it have become a pipe since, opening must not wait for a writer.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            _check(os.fstat(file.fileno()), name, most_bytes)
            data = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else errno.ENOENT
        reason, hint = _REASONS.get(code or 0, (f"cannot be read: {error}", "Check the file"))
        raise DocumentUnreadable(f"{name} {reason}", hint=hint) from error
    if len(data) > most_bytes:  # it grew
        raise _too_large(name, len(data), most_bytes)
    return data


def _check(status: os.stat_result, name: str, most_bytes: int) -> None:
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise DocumentUnreadable(
                f"{name} is {kind}, not a file", hint="Only ordinary files are read"
            )
    if status.st_size > most_bytes:
        raise _too_large(name, status.st_size, most_bytes)


def _too_large(name: str, size: int, most_bytes: int) -> DocumentUnreadable:
    return DocumentUnreadable(
        f"{name} has {size / 1e6:,.1f} MB, more than the {most_bytes / 1e6:,.1f} MB that are read",
        hint="Raise ingest.most_megabytes, or split the file",
    )
