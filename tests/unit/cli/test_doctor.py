"""``reverie doctor`` with an examination made by hand; tests/system runs real ones."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reverie.cli import main
from reverie.cli.findings import ProbeProgress, print_examination
from reverie.errors import ModelUnavailable
from reverie.models.doctor import examine as examining
from reverie.models.doctor.examination import Costs, Examination, Finding, Step
from reverie.models.profile import ModelProfile
from reverie.models.profiles import ProfileBook, Speed
from reverie.models.wire.endpoint import Endpoint

ADDRESS = "http://127.0.0.1:8000/v1"
BESIDE = "Beside tools, the prompt describes the schema and the reply is checked."
FINDINGS = (
    Finding(
        ability="window",
        title="context window",
        verdict="yes",
        value="4,096 tokens",
        evidence="max_model_len in /models",
        fields={"window": 4096},
    ),
    Finding(
        ability="schema_with_tools",
        title="schema with tools",
        verdict="no",
        evidence="the schema wins: no tool is called",
        remedy=BESIDE,
    ),
    Finding(
        ability="seed",
        title="seed",
        verdict="unknown",
        evidence="all replies are \x1b[31mthe same",
        remedy="The seed is left out.",
    ),
)
EXAMINATION = Examination(
    address=ADDRESS,
    model="qwen",
    models=("qwen", "llama"),
    server="vLLM",
    version="0.32.0",
    when=datetime(2026, 11, 1, tzinfo=UTC),
    findings=FINDINGS,
    speeds=(
        Speed(concurrent=1, first_token_seconds=0.0631, tokens_per_second=41.66, tokens=96),
        Speed(concurrent=8, first_token_seconds=1.25, tokens_per_second=166.7, tokens=768),
    ),
    profile=ModelProfile(name="qwen", window=4096),
    costs=Costs(requests=63, prompt_tokens=2621, completion_tokens=1566, seconds=18.4),
    notices=("the first of 2 models is examined: qwen, llama",),
)
PLAIN = f"""\
qwen by vLLM 0.32.0 at {ADDRESS} (1 other model there)
note: the first of 2 models is examined: qwen, llama

context window        yes      4,096 tokens; max_model_len in /models
schema with tools     no       the schema wins: no tool is called
                               {BESIDE}
seed                  unknown  all replies are  [31mthe same
                               The seed is left out.

at a time   first token   tokens per second
        1         63 ms                41.7
        8         1.2 s               166.7

63 requests, 2,621 tokens in and 1,566 out, 18 s
"""


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every examination finds the above; returns what was to be examined."""
    asked: list[dict[str, Any]] = []

    async def examine(endpoint: Endpoint, **options: Any) -> Examination:
        asked.append({"endpoint": endpoint, **options})
        return EXAMINATION

    monkeypatch.setattr(examining, "examine", examine)
    return asked


def test_a_pipe_gets_plain_text(
    examined: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", ADDRESS]) == 0

    captured = capsys.readouterr()
    path = ProfileBook.under(tmp_path / "home").path(ADDRESS, "qwen")
    assert captured.out == f"{PLAIN}The profile is stored in {path}\n"
    assert captured.err == ""
    assert path.exists()


def test_nothing_is_stored_when_told(
    examined: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", ADDRESS, "--no-save", "--quick"]) == 0

    assert capsys.readouterr().out.endswith("The profile was not stored (--no-save)\n")
    assert not (tmp_path / "home").exists()
    assert examined[0]["quick"]


def test_json_is_one_document(
    examined: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", ADDRESS, "--json"]) == 0

    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert [found["verdict"] for found in document["findings"]] == ["yes", "no", "unknown"]
    assert document["costs"]["requests"] == 63
    assert document["file"] == str(ProfileBook.under(tmp_path / "home").path(ADDRESS, "qwen"))


@pytest.mark.parametrize(
    ("arguments", "address", "model"),
    [
        ([ADDRESS], ADDRESS, ""),
        ([f"{ADDRESS}/"], ADDRESS, ""),
        ([f"{ADDRESS}#qwen"], ADDRESS, "qwen"),
        ([ADDRESS, "--model", "Qwen/Qwen3"], ADDRESS, "Qwen/Qwen3"),
        ([f"{ADDRESS}#old", "--model", "new"], ADDRESS, "new"),
        (["ollama"], "http://127.0.0.1:11434/v1", ""),
        (["ollama:qwen3:8b"], "http://127.0.0.1:11434/v1", "qwen3:8b"),
        (["ollama", "--model", "qwen3:8b"], "http://127.0.0.1:11434/v1", "qwen3:8b"),
    ],
)
def test_a_server_may_be_named_in_several_ways(
    examined: list[Any], arguments: list[str], address: str, model: str
) -> None:
    assert main(["doctor", *arguments]) == 0

    assert (examined[0]["endpoint"].address, examined[0]["model"]) == (address, model)


def test_the_configured_server_is_examined_with_its_key(
    examined: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_MODEL_NAME", f"{ADDRESS}#qwen")
    monkeypatch.setenv("REVERIE_MODEL_API_KEY", "hush")

    assert main(["doctor"]) == 0
    assert main(["doctor", "--model", "llama"]) == 0
    assert main(["doctor", "http://10.0.0.1:8000/v1"]) == 0

    asked = [(a["endpoint"].address, a["endpoint"].key, a["model"]) for a in examined]
    assert asked[:2] == [(ADDRESS, "hush", "qwen"), (ADDRESS, "hush", "llama")]


def test_an_embedded_model_has_no_server(
    examined: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor"]) == 0
    assert main(["doctor", str(tmp_path)]) == 0
    assert main(["doctor", "--json"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("The model smollm2 runs inside Reverie: there is no server to examine.\n")
    assert f"The model {tmp_path} runs inside Reverie" in out
    assert out.endswith('{\n  "embedded": "smollm2"\n}\n')
    assert examined == []


@pytest.mark.parametrize("name", ["localhost:8000/v1", "nonsense", "ftp://host/v1"])
def test_what_is_no_server_is_wrong_use(
    examined: list[Any], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["doctor", name]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert name in captured.err
    assert "hint: " in captured.err
    assert examined == []


def test_a_server_that_cannot_be_used_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def examine(endpoint: Endpoint, **_: Any) -> Examination:
        raise ModelUnavailable(f"no server answers at {endpoint.address}", hint="start it")

    monkeypatch.setattr(examining, "examine", examine)

    assert main(["doctor", ADDRESS]) == 1

    assert capsys.readouterr().err == f"error: no server answers at {ADDRESS}\nhint: start it\n"
    assert not (tmp_path / "home").exists()


# -- on a terminal --------------------------------------------------------------------------


def drawn(width: int, *, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="\n")
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    print_examination(EXAMINATION, console, Path("/home/profiles/qwen.json"))
    file.seek(0)
    return file.read().splitlines()


@pytest.mark.parametrize("width", [70, 80, 109])
def test_a_narrow_terminal_has_the_remedy_below_what_was_seen(width: int) -> None:
    lines = drawn(width)

    at = next(i for i, line in enumerate(lines) if line.startswith("schema with tools"))
    assert lines[at].rstrip() == "schema with tools  ✗ no       the schema wins: no tool is called"
    assert lines[at + 1].strip().startswith("Beside tools, the prompt")
    assert all(len(line.rstrip()) <= width for line in lines)


@pytest.mark.parametrize("width", [110, 120, 200])
def test_a_wide_terminal_has_the_remedy_beside_it(width: int) -> None:
    lines = drawn(width)

    (line,) = (line for line in lines if line.startswith("schema with tools"))
    assert line.index("Beside tools") > line.index("the schema wins")
    assert "what Reverie does about it" in "\n".join(lines)


def test_signs_are_ascii_where_the_terminal_has_no_others() -> None:
    lines = drawn(80, encoding="ascii")

    assert any("- no" in line for line in lines)
    assert any("+ yes" in line for line in lines)
    assert not any("�" in line for line in lines)


def test_what_a_server_says_cannot_steer_the_terminal() -> None:
    assert "\x1b[31m" not in "\n".join(drawn(80))


def test_progress_is_one_line_that_goes_away() -> None:
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, color_system=None)

    with ProbeProgress(console, ADDRESS) as display:
        display.report(Step(("JSON schema", "tools", "n > 1", "usage in streams"), 8, 27))
        console.print(display._picture())
        display.report(Step((), 27, 27))

    line = next(line for line in file.getvalue().splitlines() if "8 of 27" in line)
    assert "JSON schema, tools" in line
    assert file.getvalue().count("\x1b[?25h") == 1
