"""A copy of the index files of a Chroma folder, from which a torn write of them is mended.

Chroma keeps records in SQLite, where a killed process leaves nothing half written, and its
nearest-neighbour index in files that it overwrites in place, after every some hundred records. A
process killed in that moment leaves files that cannot be read. SQLite then still has every record
since the last complete write of the files. So a copy of the complete files is kept beside the
folder: put back, they and SQLite's log make the index whole.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any, Final

_TOLD: Final = "snapshot.json"

_log = logging.getLogger(__name__)

_SEGMENT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What Chroma calls an index and the folder of its files."""

Progress = dict[str, int]
"""By index (Chroma's id of the segment) the number of the latest record in its files; 0 for none.
"""


def remove_dead_indexes(folder: Path) -> None:
    """Removes the index files of collections that are gone, which Chroma leaves behind. Whoever
    calls it holds the folder's lock.
    """
    progress = _progress(folder)
    if progress is None:
        return
    for path in folder.iterdir():
        if _SEGMENT.fullmatch(path.name) and path.name not in progress:
            shutil.rmtree(path, ignore_errors=True)


class IndexSnapshot:
    """The copy that belongs to a folder. Whoever calls it holds the folder's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copy = folder.with_name(f".{folder.name}.copy")

    def refresh(self) -> None:
        """Copies the files if they were written since. Nothing is being written to them."""
        files = self._files()
        if not files or self._told().get("files") == files:
            return
        progress = _progress(self._folder)
        if progress is None:
            return
        fresh = self._copy.with_name(f"{self._copy.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        for segment in progress:
            if (self._folder / segment).is_dir():
                shutil.copytree(self._folder / segment, fresh / segment)
        fresh.mkdir(exist_ok=True)
        told = json.dumps({"files": files, "progress": progress})
        (fresh / _TOLD).write_text(told, encoding="utf-8")
        shutil.rmtree(self._copy, ignore_errors=True)
        fresh.replace(self._copy)

    def restore(self) -> None:
        """After a process was killed while it wrote: puts the copy in place of files that it may
        have left half written. Files whose writing SQLite has noted are whole, and stay.
        """
        noted = self._told().get("progress", {})
        progress = _progress(self._folder) or {}
        for segment, latest in progress.items():
            if noted.get(segment) == latest and (self._copy / segment).is_dir():
                _log.info("%s: the index is put back as it was last written", self._folder)
                shutil.rmtree(self._folder / segment, ignore_errors=True)
                shutil.copytree(self._copy / segment, self._folder / segment)

    def remove(self) -> None:
        """Forgets the copy: the folder is begun anew."""
        shutil.rmtree(self._copy, ignore_errors=True)

    def _files(self) -> dict[str, list[int]]:
        """Size and time of every index file, by its path in the folder."""
        files: dict[str, list[int]] = {}
        for path in sorted(self._folder.glob("*/*")):
            about = path.stat()
            files[path.relative_to(self._folder).as_posix()] = [about.st_size, about.st_mtime_ns]
        return files

    def _told(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self._copy / _TOLD).read_bytes()))
        return {}


def _progress(folder: Path) -> Progress | None:
    """None where the database is damaged, or of a version that notes it elsewhere."""
    try:
        uri = f"{(folder / 'chroma.sqlite3').as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            rows = connection.execute(
                "SELECT s.id, coalesce(m.seq_id, 0) FROM segments s "
                "LEFT JOIN max_seq_id m ON m.segment_id = s.id WHERE s.scope = 'VECTOR'"
            ).fetchall()
        return {str(segment): int(latest) for segment, latest in rows}
    except (sqlite3.Error, ValueError, TypeError):
        return None
