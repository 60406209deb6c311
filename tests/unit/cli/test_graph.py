"""``reverie graph``: the drawing as text and, where Graphviz is, as a picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reverie.cli import main
from reverie.graphs import drawing

PNG = b"\x89PNG\r\n\x1a\n"

needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")


@pytest.fixture
def dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Graphviz's program that does what the test writes into it."""
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\ncat > /dev/null; printf PNG\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


def test_it_prints_mermaid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph"]) == 0
    assert capsys.readouterr().out == drawing.mermaid()


def test_without_xray_the_strategies_stay_closed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "--no-xray"]) == 0
    assert capsys.readouterr().out == drawing.mermaid(xray=False)


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"mermaid": drawing.mermaid()}


@needs_graphviz
def test_graphviz_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "reason.png"

    assert main(["graph", "--png", str(target)]) == 0

    assert target.read_bytes().startswith(PNG)
    assert capsys.readouterr().out == f"Drawn: {target}\n"


def test_without_graphviz_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["graph", "--png", str(tmp_path / "reason.png")]) == 1

    err = capsys.readouterr().err
    assert "error: drawing needs Graphviz" in err
    assert "hint: Install it (apt install graphviz" in err
    assert list(tmp_path.glob("*.png")) == []


@pytest.mark.usefixtures("dot")
def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "missing" / "reason.png"

    assert main(["graph", "--png", str(target)]) == 2

    assert f"error: cannot write {target}: No such file or directory" in capsys.readouterr().err


@pytest.mark.usefixtures("dot")
def test_a_folder_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "--png", str(tmp_path)]) == 2
    assert f"error: {tmp_path} is a folder" in capsys.readouterr().err


def test_when_graphviz_fails_an_older_picture_stays(
    dot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dot.write_text("#!/bin/sh\ncat > /dev/null; printf half; echo no font >&2; exit 1\n")
    target = tmp_path / "reason.png"
    target.write_bytes(b"older")

    assert main(["graph", "--png", str(target)]) == 1

    assert "Graphviz could not draw the graph: no font" in capsys.readouterr().err
    assert target.read_bytes() == b"older"
    assert [p.name for p in tmp_path.glob("*.png")] + [p.name for p in tmp_path.glob(".*.png")] == [
        "reason.png"
    ]
