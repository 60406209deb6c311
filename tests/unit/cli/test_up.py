"""``reverie up`` as far as no server is needed; tests/live starts real ones."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reverie.cli import main, up
from reverie.cli.starting import StepBoard, StepLines
from reverie.models.embedded.checkpoint import Phase
from reverie.models.vllm import environment
from reverie.models.vllm.environment import VllmEnvironment
from reverie.models.vllm.options import VllmOptions
from reverie.settings import Settings

ENVIRONMENT = VllmEnvironment(Path("/venv/bin/python"), "0.32.0", cpu=True)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder that looks like a model."""
    path = tmp_path / "qwen3-8b"
    path.mkdir()
    (path / "config.json").write_text("{}")
    return str(path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[VllmOptions]:
    """What would have been started, up to the signal that ends it."""
    options: list[VllmOptions] = []

    async def run(self: Any) -> int:
        options.append(self._options)
        return signal.SIGTERM

    monkeypatch.setattr(environment, "find_environment", lambda _: ENVIRONMENT)
    monkeypatch.setattr(up._Up, "run", run)
    return options


def test_options_and_what_stands_behind_the_dashes_reach_vllm(
    folder: str, started: list[VllmOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_MODEL_API_KEY", "the-key")
    arguments = ["up", folder, "--port", "8000", "--name", "q", "--window", "4096", "--dtype"]
    arguments += ["float32", "--kv-cache-gb", "4", "--tool-parser", "qwen3_xml"]
    arguments += ["--args", "--seed 1 --x 'a b'", "--", "--gpu-memory-utilization", "0.8"]

    assert main(arguments) == 128 + signal.SIGTERM

    (options,) = started
    assert options == VllmOptions(
        model=folder,
        name="q",
        port=8000,
        window=4096,
        dtype="float32",
        kv_cache_gb=4,
        tool_parser="qwen3_xml",
        arguments=("--seed", "1", "--x", "a b", "--gpu-memory-utilization", "0.8"),
        key="the-key",
    )


def test_the_defaults_are_the_settings(
    folder: str, started: list[VllmOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_VLLM_WINDOW", "512")

    main(["up", folder, "--no-tools"])

    (options,) = started
    assert (options.window, options.tool_parser, options.port) == (512, None, None)
    assert (options.name, options.host, options.key) == ("qwen3-8b", "127.0.0.1", "")


def test_arguments_for_vllm_may_stand_without_a_model(
    started: list[VllmOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "_fetched", lambda name, *_, **__: up_model(name))

    main(["up", "--", "--seed", "1"])

    assert started[0].model == "None"
    assert started[0].arguments == ("--seed", "1")


def up_model(name: str | None) -> Any:
    from reverie.models.vllm.model import VllmModel

    return VllmModel(str(name), "m")


def test_vllms_own_variable_for_the_key_is_heeded(
    folder: str, started: list[VllmOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that its owner has locked must not come up open."""
    monkeypatch.setenv("VLLM_API_KEY", "ambient")

    main(["up", folder])

    assert started[0].key == "ambient"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no model called 'nowhere'"),
        (["http://127.0.0.1:1/v1"], "up already"),
        (["--port", "70000"], "--port"),
        (["--window", "10"], "--window"),
        (["--dtype", "int3"], "--dtype"),
        (["--args", "'"], "--args"),
        (["FOLDER", "--", "--api-key", "s3cret"], "--api-key cannot be passed on"),
    ],
)
def test_wrong_use_is_said_before_anything_starts(
    arguments: list[str],
    message: str,
    folder: str,
    started: list[VllmOptions],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [folder if a == "FOLDER" else a for a in arguments]
    if arguments[0].startswith("-"):
        arguments = [folder, *arguments]

    assert main(["up", *arguments]) == 2

    said = capsys.readouterr().err
    assert message in said
    assert "hint: " in said
    assert "s3cret" not in said
    assert not started


def test_without_vllm_it_says_how_to_get_it(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", folder, "--python", "/nowhere/python", "--json"]) == 2

    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "ConfigError"
    assert "make vllm" in error["hint"]


def test_the_doctor_asks_with_the_servers_key_and_without_a_proxy(settings: Settings) -> None:
    from pydantic import SecretStr

    model = settings.model.model_copy(
        update={"api_key": SecretStr("k"), "proxy": "http://proxy:1", "window": 100}
    )
    command = up._Up(
        VllmOptions(model="m", name="m"),
        settings.model_copy(update={"model": model}),
        ENVIRONMENT,
        doctor=True,
        as_json=False,
    )

    asked = command._client_settings("http://127.0.0.1:1/v1").model

    assert asked.name == "http://127.0.0.1:1/v1"
    assert asked.api_key == SecretStr("k")
    assert (asked.proxy, asked.window) == (None, None)


def test_in_a_pipe_every_step_is_one_line() -> None:
    heard: list[str] = []
    with StepLines(heard.append) as lines:
        for text in ("Starting", "Loading: 1 %", "Loading: 50 %", "Ready\x1b[2J"):
            lines.report(Phase(text))

    assert heard == ["Starting", "Loading", "Ready [2J"]


@pytest.mark.parametrize(("encoding", "sign"), [("utf-8", "✓"), ("ascii", "+")])
def test_on_a_terminal_steps_stay_with_their_time(encoding: str, sign: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=60, force_terminal=True, legacy_windows=False)

    with StepBoard(console) as board:
        board.report(Phase("Starting"))
        board.report(Phase("Loading: 50 %"))
        assert "Loading: 50 %" in drawn(board)
        board.report(Phase("Loading: 90 %"))
        assert "90 %" in drawn(board)

    done = drawn(board).splitlines()
    assert [line.split() for line in done] == [
        [sign, "Starting", "0", "s"],
        [sign, "Loading", "0", "s"],
    ]


def test_a_step_that_failed_is_not_shown_as_done() -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True)
    board = StepBoard(console)
    board.__enter__()
    board.report(Phase("Starting"))
    board.report(Phase("Loading"))
    board.__exit__(ZeroDivisionError, ZeroDivisionError(), None)

    assert "Starting" in drawn(board)
    assert "Loading" not in drawn(board)


def drawn(board: StepBoard) -> str:
    console = Console(file=io.StringIO(), width=60)
    console.print(board._picture())
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
