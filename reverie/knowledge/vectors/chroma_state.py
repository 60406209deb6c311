"""The small file beside a Chroma folder that says which write was the latest, and who writes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FolderState:
    """What the file says."""

    generation: str = ""
    """Another one after every write."""
    writer: int = 0
    """The process that writes or opens, or that was killed while it did; 0 for none."""
    version: str = ""
    """Of the chromadb that wrote last."""


class StateFile:
    """Reads and writes it. Raises ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder.with_name(f".{folder.name}.json")

    def read(self) -> FolderState:
        """What it says; nothing when it is not there, or was cut off by a crash of the machine."""
        try:
            told = json.loads(self._path.read_bytes())
            return FolderState(str(told["generation"]), int(told["writer"]), str(told["version"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError, OverflowError):
            return FolderState()

    def write(self, state: FolderState) -> None:
        """In one step. The caller holds the folder's lock."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(state)), encoding="utf-8")
        fresh.replace(self._path)
