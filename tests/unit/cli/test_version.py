"""``reverie version`` and ``--version``."""

from __future__ import annotations

import json
import platform
import tomllib
from pathlib import Path

import pytest

from reverie.cli import main


@pytest.fixture
def number(repository: Path) -> str:
    project = tomllib.loads(Path(repository, "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def test_the_option_prints_one_line(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"reverie {number}\n"


def test_the_command_lists_libraries(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0

    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["reverie"] == number
    assert lines["python"] == platform.python_version()
    assert "langgraph" in lines


def test_json_is_one_document(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["reverie"] == number
    assert document["libraries"]["langgraph"]
