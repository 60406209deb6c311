"""Bad input: a typed error that says what to do, or an answer; and nothing lost or half-written.

Through the Reasoner, and through the real command line as its own process.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reverie.agents.reasoner import Reasoner
from reverie.agents.result import ErrorDocument, Result
from reverie.errors import ConfigError, ContextOverflow, KnowledgeUnavailable, ReverieError
from reverie.settings import Settings

pytestmark = pytest.mark.live

QUESTION = "What is the capital of France?"
MEGABYTE = "What happens when you drop a ball? " * 30_000

ODD = [
    pytest.param("لماذا\u202e يسقط الحجر؟\x00", id="Arabic, reversed, NUL"),
    pytest.param("Why does 👩‍🚀 float\x1b[31m\x1b]0;title\x07?", id="emoji, escape sequences"),
    pytest.param("为什么\ud800石头\udfff会落下？", id="Chinese, lone surrogates"),  # noqa: RUF001
    pytest.param("a\u0300\u0301\u0302 \ufeff\u200b क्या है\u2028?\x85", id="combining, separators"),
]


# -- the reasoner -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keeper(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reasoner]:
    """Holds the model for the whole file: two reasoners of one process share an engine."""
    settings = {"home": tmp_path_factory.mktemp("keeper"), "model": {"cache": model_cache}}
    with Reasoner(Settings.model_validate(settings)) as reasoner:
        reasoner.ask("Hi?", strategy="direct", seed=1)
        yield reasoner


def settings_of(home: Path, cache: Path) -> Settings:
    return Settings.model_validate({"home": home, "model": {"cache": cache}})


@pytest.fixture
async def reasoner(keeper: Reasoner, model_cache: Path, tmp_path: Path) -> AsyncIterator[Reasoner]:
    async with Reasoner(settings_of(tmp_path / "home", model_cache)) as opened:
        yield opened


@pytest.mark.parametrize("question", ["", "   ", "\n\t", "\x00\x1b", "\u200b"])
async def test_an_empty_question_is_refused(reasoner: Reasoner, question: str) -> None:
    with pytest.raises(ConfigError, match="empty"):
        await reasoner.aask(question)


async def test_a_megabyte_is_refused_soon_and_the_next_question_works(reasoner: Reasoner) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(ContextOverflow, match="window") as caught:
            await reasoner.aask(MEGABYTE)
    assert "shorter" in caught.value.hint

    assert "Paris" in (await reasoner.aask(QUESTION, strategy="direct")).answer


@pytest.mark.parametrize("question", ODD)
async def test_any_script_with_control_characters_is_answered(
    reasoner: Reasoner, question: str
) -> None:
    result = await reasoner.aask(question, strategy="direct", seed=1)

    assert result.status == "answered"
    assert not set(result.question) & set("\x00\x07\x1b\x85\u202e\ud800\udfff")
    assert Result.model_validate_json(result.model_dump_json()) == result
    assert (await reasoner.afeedback(result.run_id, 1)).question == result.question


async def test_an_unknown_model_names_what_there_is(model_cache: Path, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"home": tmp_path, "model": {"name": "smollm3", "cache": model_cache}}
    )
    async with Reasoner(settings) as reasoner:
        with pytest.raises(ConfigError, match="'smollm3'") as caught:
            await reasoner.aask(QUESTION)
    assert "smollm2" in caught.value.hint


async def test_a_home_that_cannot_be_written_is_said(
    keeper: Reasoner, model_cache: Path, tmp_path: Path
) -> None:
    """Below a file, since root may write into folders that are read-only."""
    (tmp_path / "file").write_text("not a folder")

    async with Reasoner(settings_of(tmp_path / "file" / "home", model_cache)) as reasoner:
        with pytest.raises(KnowledgeUnavailable, match="file/home"):
            await reasoner.aask(QUESTION)
        with pytest.raises(KnowledgeUnavailable, match="file/home"):
            await reasoner.afeedback("0123", 1)

    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or not _done(mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)):
        pytest.skip("a file system cannot be mounted here")
    yield disk
    assert _done("umount", "-l", str(disk))


def _done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def test_a_full_disk_is_said_and_with_room_again_it_works(
    keeper: Reasoner, model_cache: Path, small_disk: Path
) -> None:
    async with Reasoner(settings_of(small_disk / "home", model_cache)) as reasoner:
        with pytest.raises(ReverieError) as caught:
            await reasoner.aask(QUESTION, strategy="direct")
        assert isinstance(caught.value, KnowledgeUnavailable)
        assert "full" in str(caught.value)

        assert _done("mount", "-o", "remount,size=32m", str(small_disk))
        result = await reasoner.aask(QUESTION, strategy="direct")

    assert result.status == "answered"
    assert result.notices == []
    assert_sound(small_disk / "home", runs=1)


def assert_sound(home: Path, *, runs: int) -> None:
    """Every store is whole, nothing was set aside, and this many runs are recorded."""
    stores = sorted(home.glob("*.sqlite"))
    assert {s.name for s in stores} >= {"checkpoints.sqlite", "graph.sqlite", "strategies.sqlite"}
    for store in stores:
        with closing(sqlite3.connect(store)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), store
    assert not [p for p in home.rglob("*") if "damaged" in p.name or p.suffix in (".tmp", ".part")]
    with closing(sqlite3.connect(home / "strategies.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (runs,)
    with closing(sqlite3.connect(home / "graph.sqlite")) as connection:
        facts = "SELECT count(*) FROM edges WHERE fact = 1 AND valid_to IS NULL"
        assert connection.execute(facts).fetchone()[0] >= 300


# -- the command line -------------------------------------------------------------------------

REVERIE = [sys.executable, "-m", "reverie"]


def ask(
    *arguments: str | bytes, piped: bytes | None = None, home: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*REVERIE, "ask", *arguments],
        input=piped,
        stdin=subprocess.DEVNULL if piped is None else None,
        capture_output=True,
        timeout=90,
        check=False,
        env=os.environ if home is None else {**os.environ, "REVERIE_HOME": str(home)},
    )


def refused(code: int, *arguments: str | bytes, **kwargs: Any) -> ErrorDocument:
    """What it says with --json, which is one document and nothing else."""
    told = ask(*arguments, "--json", **kwargs)
    assert told.returncode == code, told.stdout
    assert b"Traceback" not in told.stderr
    document = ErrorDocument.model_validate(json.loads(told.stdout))
    assert document.error.message
    assert document.error.hint
    return document


def test_cli_people_get_a_line_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    said = ask(QUESTION, home=tmp_path / "file" / "home")

    assert said.returncode == 1
    assert said.stdout == b""
    lines = said.stderr.decode().splitlines()
    assert lines[-2].startswith("error: "), lines
    assert lines[-1].startswith("hint: ")
    assert "Traceback" not in said.stderr.decode()


@pytest.mark.parametrize("question", ["", "  "])
def test_cli_an_empty_question_is_wrong_use(question: str) -> None:
    assert "empty" in refused(2, question).error.message


def test_cli_a_megabyte_fails_with_a_hint() -> None:
    error = refused(1, "-", piped=MEGABYTE.encode()).error

    assert error.type == "ContextOverflow"
    assert "shorter" in error.hint


@pytest.mark.parametrize(
    ("arguments", "type_", "said"),
    [
        (("--strategy", "drem"), "ConfigError", "did you mean dream"),
        (("--model", "smollm3"), "ConfigError", "smollm2"),
        (("--budget", "0"), "ConfigError", "--budget"),
        (("--budget", "-5"), "ConfigError", "--budget"),
        (("--budget", "many"), "ConfigError", "--budget"),
        (("--seconds", "0"), "ConfigError", "--seconds"),
        (("--seconds", "nan"), "ConfigError", "--seconds"),
        (("--branches", "0"), "ConfigError", "--branches"),
        (("--branches", "65"), "ConfigError", "--branches"),
        (("--seed", "-1"), "ConfigError", "--seed"),
        (("--config", "nowhere.yaml"), "ConfigError", "nowhere.yaml"),
    ],
)
def test_cli_a_wrong_option_is_wrong_use(arguments: tuple[str, ...], type_: str, said: str) -> None:
    error = refused(2, QUESTION, *arguments).error

    assert error.type == type_
    assert said in error.message + error.hint


@pytest.mark.parametrize(
    "text", ["model: [", "dream:\n\tbranches: 4", "budget: {tokns: 5}", "\x00", "- a\n- b"]
)
def test_cli_a_broken_file_of_settings_is_wrong_use(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)

    error = refused(2, QUESTION, "--config", str(file)).error

    assert "broken.yaml" in error.message


def test_cli_a_budget_too_small_for_one_call_names_the_smallest() -> None:
    error = refused(1, QUESTION, "--budget", "20", "--strategy", "direct").error

    assert error.type == "BudgetExceeded"
    smallest = error.hint.split("--budget ")[1].split()[0]
    done = ask(QUESTION, "--budget", smallest, "--strategy", "direct", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_cli_an_abstention_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_DREAM_ABSTAIN_BELOW", "1")

    done = ask("What happens when you drop a ball?", "--strategy", "dream", "--json")

    assert done.returncode == 3, done.stderr
    result = Result.model_validate_json(done.stdout)
    assert (result.status, result.answer) == ("abstained", "")
    assert "below 1" in result.attempts[-1]["error"]


def test_cli_odd_bytes_are_a_question_like_any_other() -> None:
    question = "لماذا ".encode() + b"\x1b[31m\xff\xed\xa0\x80? " + QUESTION.encode()

    for done in (
        ask(question, "--strategy", "direct", "--json"),
        ask("-", "--strategy", "direct", "--json", piped=question + b"\x00"),
    ):
        assert done.returncode == 0, done.stderr
        result = Result.model_validate_json(done.stdout)
        assert result.question.endswith(QUESTION)
        assert b"\x1b" not in done.stdout + done.stderr


def test_cli_plain_text_never_steers_the_terminal() -> None:
    done = ask("\x1b[31mWhy\x1b]0;x\x07?", "--strategy", "direct")

    assert done.returncode == 0, done.stderr
    assert not set(done.stdout) & set(b"\x1b\x07\x00")


def test_cli_a_home_that_cannot_be_written_fails_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    error = refused(1, QUESTION, home=tmp_path / "file" / "home").error

    assert error.type == "KnowledgeUnavailable"


def test_cli_two_runs_at_once_on_a_fresh_home_both_succeed(tmp_path: Path) -> None:
    home = tmp_path / "fresh"
    environment = {**os.environ, "REVERIE_HOME": str(home)}
    processes = [
        subprocess.Popen(
            [*REVERIE, "ask", QUESTION, "--strategy", "direct", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        for _ in range(2)
    ]
    done = [(*process.communicate(timeout=90), process.returncode) for process in processes]

    assert [code for _, _, code in done] == [0, 0], done
    results = [Result.model_validate_json(out) for out, _, _ in done]
    assert [r.notices for r in results] == [[], []]
    assert_sound(home, runs=2)
    with closing(sqlite3.connect(home / "strategies.sqlite")) as connection:
        recorded = {run for (run,) in connection.execute("SELECT run_id FROM runs")}
    assert recorded == {r.run_id for r in results}


DREAMS = """
import asyncio, time
from reverie.agents.reasoner import Reasoner

async def main():
    async with Reasoner() as reasoner:
        async for item in reasoner.astream("What happens when you drop a ball?", strategy="dream"):
            if isinstance(item, dict) and item["type"] == "token":
                print("dreaming", flush=True)

asyncio.run(main())
"""


def test_a_run_that_is_killed_leaves_the_stores_usable(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "REVERIE_HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-c", DREAMS], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"dreaming\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()

    done = ask(QUESTION, "--strategy", "direct", "--json", home=home)

    assert done.returncode == 0, done.stderr
    assert Result.model_validate_json(done.stdout).notices == []
    assert_sound(home, runs=1)
