"""``reverie studio`` as far as no server is needed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from reverie.cli import main, studio
from reverie.graphs.studio import langgraph_config


def test_the_repositorys_langgraph_json_is_what_studio_generates(repository: Path) -> None:
    written = json.loads(Path(repository, "langgraph.json").read_text("utf-8"))

    assert written == langgraph_config()


def test_without_the_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    assert main(["studio"]) == 2
    assert 'pip install "reverie[studio]"' in capsys.readouterr().err


def test_its_help_names_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studio", "--help"]) == 0
    assert 'pip install "reverie[studio]"' in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_is_a_number_up_to_65535(port: str) -> None:
    assert main(["studio", "--port", port]) == 2


def test_the_welcome_says_where_it_is_and_what_stays_local() -> None:
    text = studio._welcome("127.0.0.1", 2024)

    assert "API     http://127.0.0.1:2024" in text
    assert "baseUrl=http://127.0.0.1:2024" in text
    assert "account" in text
    assert "network" not in text


def test_the_welcome_warns_when_the_network_can_reach_it() -> None:
    text = studio._welcome("0.0.0.0", 2024)  # noqa: S104  # only a text is made

    assert "API     http://127.0.0.1:2024" in text
    assert "others on your network can use this server" in text
