"""The command line as a whole: help, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from reverie.cli import main, run
from reverie.errors import ModelUnavailable

HEAVY = ("torch", "transformers", "langgraph", "langchain_core", "openai", "chromadb")
HEAVY += ("onnxruntime", "numpy", "tokenizers", "pydantic_settings", "rich.progress", "httpx")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Give the command line one more command, ``try``, that does this."""

    def install(body: Callable[[], object]) -> None:
        app = typer.Typer()

        @app.callback()
        def options(
            debug: bool = typer.Option(False, "--debug"),
            verbose: int = typer.Option(0, "-v", count=True),
        ) -> None:
            del debug, verbose

        @app.command("try")
        def attempt(as_json: bool = typer.Option(False, "--json")) -> object:
            del as_json
            return body()

        monkeypatch.setattr(run, "app", app)

    return install


def fails(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from reverie.cli import main\n"
        "code = main(['--help'])\n"
        f"heavy = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "sys.exit(f'imported: {heavy}' if heavy else code)\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert "config" in result.stdout


def test_without_arguments_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: reverie" in capsys.readouterr().out


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (info.name or info.callback.__name__ for info in run.app.registered_commands):  # type: ignore[union-attr]
        assert main([name, "--help"]) == 0
        assert "reverie" in capsys.readouterr().out.split("Usage:")[1]


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cofnig"]) == 2

    err = capsys.readouterr().err
    assert "error: No such command 'cofnig'. Did you mean 'config'?" in err
    assert "hint: `reverie --help` shows how it is used." in err


def test_wrong_use_with_json_is_a_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--jsno", "--json"]) == 2

    captured = capsys.readouterr()
    assert captured.err == ""
    error = json.loads(captured.out)["error"]
    assert error["type"] == "ConfigError"
    assert "--jsno" in error["message"]
    assert error["hint"] == "`reverie config --help` shows how it is used."


def test_json_behind_the_double_dash_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--", "--json"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_error_is_a_line_and_a_hint(
    command: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(fails(ModelUnavailable("no\nmodel \x1b[31m", hint="start it")))

    assert main(["try"]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: no model  [31m\nhint: start it\n"


def test_an_error_with_json_is_a_document_on_standard_output(
    command: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(fails(ModelUnavailable("no model", hint="start it")))

    assert main(["try", "--json"]) == 1

    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == {
        "error": {"type": "ModelUnavailable", "message": "no model", "hint": "start it"}
    }


@pytest.mark.parametrize("arguments", [["--debug", "try"], ["try", "--debug"]])
def test_debug_shows_the_traceback(
    arguments: list[str],
    command: Callable[[Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(fails(ModelUnavailable("no model")))

    assert main(arguments) == 1

    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "error: no model" in err


def test_a_bug_says_so_without_a_traceback(
    command: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(fails(KeyError("x")))

    assert main(["try"]) == 1

    err = capsys.readouterr().err
    assert "error: internal error: KeyError: 'x'" in err
    assert "--debug" in err
    assert "Traceback" not in err


def test_an_interrupt_ends_with_130(
    command: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(fails(KeyboardInterrupt()))

    assert main(["try"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_with_json_is_a_document(
    command: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(fails(KeyboardInterrupt()))

    assert main(["try", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "Interrupted"


@pytest.mark.parametrize("body", [lambda: 3, fails(typer.Exit(3))])
def test_a_command_can_choose_its_exit_code(
    body: Callable[[], object], command: Callable[[Callable[[], object]], None]
) -> None:
    command(body)

    assert main(["try"]) == 3


def test_a_reader_that_stops_reading_is_no_error() -> None:
    result = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -m reverie config | true"],  # noqa: S607  # any sh
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "reverie", "config"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert result.returncode == 1
    assert result.stderr.startswith("error: cannot write the output: No space left")
    assert "Traceback" not in result.stderr
