"""``reverie config``: effective settings and origins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverie.cli import main
from reverie.settings.keys import fields


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_pipe_gets_aligned_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_BUDGET_TOKENS", "4000")

    assert main(["config"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(fields())
    tokens = next(line for line in lines if line.startswith("budget.tokens"))
    assert tokens.split() == ["budget.tokens", "4000", "REVERIE_BUDGET_TOKENS"]
    assert len({line.rindex("default") for line in lines if line.endswith("default")}) == 1


def test_a_terminal_gets_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")

    assert main(["config"]) == 0

    out = capsys.readouterr().out
    assert "key" in out.splitlines()[0]
    assert "dream.experts" in out


def test_json_has_values_and_origins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_MODEL_API_KEY", "hush")
    Path("mine.yaml").write_text("dream: {branches: 2}")

    assert main(["config", "--config", "mine.yaml", "--json"]) == 0

    out = capsys.readouterr().out
    document = json.loads(out)
    assert document["file"] == "mine.yaml"
    assert document["settings"]["dream.branches"] == {
        "value": 2,
        "origin": "file mine.yaml line 1",
    }
    assert document["settings"]["dream.experts"]["value"][0] == "spatial"
    assert "hush" not in out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_secret_is_shown_wherever_it_is(
    options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_MODEL_HEADERS", '{"X-Team": "hush-1"}')
    monkeypatch.setenv("REVERIE_MODEL_PROXY", "http://me:hush-2@proxy:3128")
    monkeypatch.setenv("REVERIE_PREVIEW_API_KEY", "hush-3")
    backend = '{"name": "http://a/v1", "api_key": "hush-4", "headers": {"X": "hush-5"}}'
    monkeypatch.setenv("REVERIE_BACKENDS", f'[{backend}, "smollm2"]')
    monkeypatch.setenv("REVERIE_EMBEDDER_API_KEY", "hush-6")

    assert main(["config", *options]) == 0

    out = capsys.readouterr().out
    assert "hush" not in out
    assert all(shown in out for shown in ("X-Team", "@proxy:3128", "http://a/v1", "smollm2"))


def test_backends_and_headers_are_one_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_BACKENDS", '[{"name": "http://a/v1", "window": 512}, "smollm2"]')

    assert main(["config"]) == 0

    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "  http://a/v1 (window 512), smollm2  " in lines["backends"]
    assert lines["model.headers"].split() == ["model.headers", "none", "default"]


def test_a_key_that_is_left_out_says_whose_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("reverie.yaml").write_text("model: {name: 'http://a/v1', api_key: hush}")
    monkeypatch.setenv("REVERIE_MODEL", "http://b/v1")

    assert main(["config"]) == 0

    out = capsys.readouterr().out
    assert "reverie.yaml line 1, left out: it is for http://a:80" in out
    assert "hush" not in out


def test_a_wrong_setting_is_wrong_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_BUDGET_TOKENS", "-5")

    assert main(["config"]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "error: budget.tokens = -5 (REVERIE_BUDGET_TOKENS) must be greater than 0\n"
        "hint: budget.tokens: Most tokens of a run, prompts included (default: 8000).\n"
    )
