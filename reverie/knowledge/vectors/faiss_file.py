"""A FAISS index and its records in a folder: FAISS's own format and JSON lines, no pickle.

A save writes two new files and then, in one step, the small file that names them with their
checksums. So a save that is killed leaves what was there before. Several processes may use one
folder: they save one after the other, and the last one's stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.vectors.store import VectorRecord

MANIFEST: Final = "vectors.json"
"""Names the two files that belong together."""

_LOCK: Final = ".vectors.lock"
_WAIT_SECONDS: Final = 60.0
"""How long to wait for another process that saves."""
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Saved:
    """What is saved beside the index; ``records`` are in its order."""

    kind: str
    embedder: str
    dimension: int
    epoch: str
    records: list[VectorRecord]


def save_index(folder: Path, saved: Saved, index: bytes) -> None:
    """Writes both into ``folder``. Raises ``KnowledgeUnavailable``."""
    lines = (
        json.dumps({"id": record.id, "text": record.text, "metadata": dict(record.metadata)})
        for record in saved.records
    )
    records = "".join(f"{line}\n" for line in lines).encode()
    stamp = uuid.uuid4().hex[:12]
    contents = {f"index-{stamp}.faiss": index, f"records-{stamp}.jsonl": records}
    manifest = {
        "format": _FORMAT,
        "kind": saved.kind,
        "embedder": saved.embedder,
        "dimension": saved.dimension,
        "epoch": saved.epoch,
        "files": {name: hashlib.sha256(held).hexdigest() for name, held in contents.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=_WAIT_SECONDS):
            for name, held in contents.items():
                _write(folder / name, held)
            fresh = folder / f"{MANIFEST}.{stamp}"
            _write(fresh, json.dumps(manifest, indent=1).encode())
            fresh.replace(folder / MANIFEST)
            _remove_older(folder, set(contents))
    except OSError as error:
        for name in (*contents, f"{MANIFEST}.{stamp}"):
            with contextlib.suppress(OSError):
                (folder / name).unlink()
        raise KnowledgeUnavailable(
            f"Vectors cannot be saved in {folder}: {error.strerror or error}",
            hint="Make that folder writable, or free some space",
        ) from error


def load_index(folder: Path) -> tuple[Saved, bytes]:
    """What was saved in ``folder``, and the index as FAISS serialised it. Raises
    ``KnowledgeUnavailable``.
    """
    try:
        told = (folder / MANIFEST).read_bytes()
        manifest = json.loads(told)
        try:
            index, records = (
                _checked(folder, name, digest) for name, digest in manifest["files"].items()
            )
        except FileNotFoundError:
            if (folder / MANIFEST).read_bytes() == told:
                raise
            return load_index(folder)  # another process has saved meanwhile
        saved = Saved(
            str(manifest["kind"]),
            str(manifest["embedder"]),
            int(manifest["dimension"]),
            str(manifest["epoch"]),
            [_record(json.loads(line)) for line in records.splitlines()],
        )
    except FileNotFoundError as error:
        raise KnowledgeUnavailable(
            f"There are no saved vectors in {folder}: {Path(error.filename).name} is missing",
            hint="Save them first",
        ) from error
    except OSError as error:
        raise KnowledgeUnavailable(
            f"The saved vectors in {folder} cannot be read: {error.strerror or error}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KnowledgeUnavailable(
            f"The saved vectors in {folder} are damaged: {error}",
            hint="Remove that folder and save them again",
        ) from error
    return saved, index


def _write(path: Path, held: bytes) -> None:
    with path.open("wb") as file:
        file.write(held)
        file.flush()
        os.fsync(file.fileno())


def _remove_older(folder: Path, kept: set[str]) -> None:
    for pattern in ("index-*.faiss", "records-*.jsonl", f"{MANIFEST}.*"):
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _checked(folder: Path, name: str, digest: str) -> bytes:
    held = (folder / Path(name).name).read_bytes()
    if hashlib.sha256(held).hexdigest() != digest:
        raise ValueError(f"{name} is not what was saved")
    return held


def _record(told: dict[str, Any]) -> VectorRecord:
    return VectorRecord(str(told["id"]), str(told["text"]), dict(told["metadata"]))
