"""The converted model on disk: whole or not there at all, made once.

The conversion itself is a stand-in here that writes small files; tests/live has the real one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reverie.errors import ConfigError, ModelUnavailable
from reverie.models.embedded import checkpoint
from reverie.models.embedded.checkpoint import FOLDER, Phase, prepare, prepared, verify

pytest.importorskip("torch", reason="the local extra is not installed")

WEIGHTS = b"weights" * 1000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model file that is there without a download."""

    def ensure(file: object, folder: Path, **kwargs: object) -> Path:
        (folder / "model.gguf").write_bytes(b"GGUF")
        return folder / "model.gguf"

    monkeypatch.setattr(checkpoint, "ensure", ensure)
    monkeypatch.setattr(checkpoint, "_CONVERTED_BYTES", 100_000)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conversions so far, each of which takes a moment."""
    done: list[str] = []

    def convert(module: str, arguments: list[str], *, log: Path) -> int:
        assert module == "reverie.models.embedded.convert"
        done.append(arguments[0])
        time.sleep(0.1)
        work = Path(arguments[1])
        (work / "config.json").write_text("{}")
        (work / "model.safetensors").write_bytes(WEIGHTS)
        return 0

    monkeypatch.setattr(checkpoint, "run_module", convert)
    return done


def fail_with(output: str) -> Callable[..., int]:
    def convert(module: str, arguments: list[str], *, log: Path) -> int:
        (Path(arguments[1]) / "model.safetensors").write_bytes(WEIGHTS[:10])
        log.write_text(output)
        return 1

    return convert


def phases(reports: list[object]) -> list[str]:
    return [report.text for report in reports if isinstance(report, Phase)]


def leftovers(cache: Path) -> list[str]:
    """What is in the cache beside the model and the lock."""
    return sorted(
        path.name for path in cache.iterdir() if path.name not in {FOLDER, f".{FOLDER}.lock"}
    )


def test_it_is_converted_once_and_the_gguf_given_up(cache: Path, conversions: list[str]) -> None:
    said: list[object] = []

    assert not prepared(cache)
    folder = prepare(cache, said.append)
    again = prepare(cache, said.append)

    assert folder == again == cache / FOLDER
    assert prepared(cache)
    assert verify(folder)
    assert len(conversions) == 1
    assert phases(said) == ["Converting the model's weights, once (about half a minute)"]
    assert leftovers(cache) == []


def flip_a_byte(folder: Path) -> None:
    path = folder / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


def cut_a_file(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(WEIGHTS[:100])


def lose_a_file(folder: Path) -> None:
    (folder / "config.json").unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def break_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"files": ')


def age_the_format(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 0}))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        cut_a_file,
        lose_a_file,
        lose_the_manifest,
        break_the_manifest,
        age_the_format,
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_model_is_set_aside_and_made_anew(
    cache: Path, conversions: list[str], damage: Callable[[Path], None]
) -> None:
    damage(prepare(cache))
    said: list[object] = []

    folder = prepare(cache, said.append)

    assert verify(folder)
    assert len(conversions) == 2
    (aside,) = cache.glob(f"{FOLDER}.damaged-*")
    assert (aside / "config.json").exists() or damage is lose_a_file
    assert aside.name in phases(said)[0]
    assert "was damaged" in phases(said)[0]


def test_a_failed_conversion_leaves_nothing_and_says_why(
    cache: Path, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = checkpoint.run_module
    monkeypatch.setattr(checkpoint, "run_module", fail_with("Traceback ...\nMemoryError: no more"))

    with pytest.raises(ModelUnavailable, match="MemoryError: no more") as caught:
        prepare(cache)

    assert "memory" in caught.value.hint
    assert not (cache / FOLDER).exists()
    assert leftovers(cache) == ["model.gguf"]  # not fetched again next time
    monkeypatch.setattr(checkpoint, "run_module", convert)
    assert verify(prepare(cache))


def test_raising_in_the_report_ends_the_work(cache: Path, conversions: list[str]) -> None:
    def refuse(report: object) -> None:
        raise InterruptedError("enough")

    with pytest.raises(ModelUnavailable, match="enough"):
        prepare(cache, refuse)

    assert conversions == []


def test_what_a_killed_process_left_is_removed(cache: Path, conversions: list[str]) -> None:
    half = cache / f".{FOLDER}.convert-abc" / FOLDER
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")

    prepare(cache)

    assert leftovers(cache) == []


def test_several_at_once_convert_once_and_the_others_are_told(
    cache: Path, conversions: list[str]
) -> None:
    said: list[object] = []
    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda: folders.append(prepare(cache, said.append)))
        for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert folders == [cache / FOLDER] * 3
    assert len(conversions) == 1
    assert phases(said).count("Another process is preparing the model; waiting for it") == 2


def test_without_the_extra_even_a_converted_model_cannot_be_run(
    cache: Path, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    prepare(cache)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match="the base install leaves out") as caught:
        prepare(cache)
    assert "reverie[local]" in caught.value.hint


# -- disks -----------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this machine lets us make one."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    try:
        run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not allowed here")
    yield mounted
    run("umount", str(mounted))


def run(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(program)
    subprocess.run([found, *arguments], check=True, capture_output=True)


def test_too_little_room_is_known_before_the_conversion(
    tiny_disk: Path, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_CONVERTED_BYTES", 280_000_000)

    with pytest.raises(ModelUnavailable, match="280 MB are needed") as caught:
        prepare(tiny_disk)

    assert "make room" in caught.value.hint
    assert conversions == []
    assert not (tiny_disk / FOLDER).exists()


def test_a_disk_that_fills_up_is_an_error_with_a_hint(
    tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(module: str, arguments: list[str], *, log: Path) -> int:
        try:
            (Path(arguments[1]) / "model.safetensors").write_bytes(bytes(2_000_000))
        except OSError:
            log.write_text("OSError: [Errno 28] No space left on device")
            return 1
        return 0

    monkeypatch.setattr(checkpoint, "run_module", convert)

    with pytest.raises(ModelUnavailable, match="No space left on device"):
        prepare(tiny_disk)

    assert leftovers(tiny_disk) == ["model.gguf"]


def test_a_read_only_cache_without_the_model_is_named(
    tiny_disk: Path, conversions: list[str]
) -> None:
    run("mount", "-o", "remount,ro", str(tiny_disk))

    with pytest.raises(ModelUnavailable, match="cannot be written to") as caught:
        prepare(tiny_disk)

    assert "model.cache" in caught.value.hint


def test_a_read_only_cache_with_the_model_is_enough(
    tiny_disk: Path, conversions: list[str]
) -> None:
    prepare(tiny_disk)
    run("mount", "-o", "remount,ro", str(tiny_disk))

    assert verify(prepare(tiny_disk))
    assert len(conversions) == 1


def test_a_cache_that_is_a_file_is_named(tmp_path: Path, conversions: list[str]) -> None:
    (tmp_path / "occupied").write_text("a file, not a folder")

    with pytest.raises(ModelUnavailable, match="occupied"):
        prepare(tmp_path / "occupied")
