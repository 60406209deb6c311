"""Modules run in child processes that end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reverie.models.child import run_module

SLEEPER = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that writes its process id into the file it is given, and hangs."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "sleeper"


def pid_in(path: Path) -> int:
    for _ in range(200):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    pytest.fail("the child never began")


def assert_ends(pid: int) -> None:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        stat = Path(f"/proc/{pid}/stat")
        # An orphan stays as a zombie where nobody reaps it; dead all the same.
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still running")


def test_it_gets_its_arguments_and_its_output_goes_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "speaker.py").write_text(
        "import os, sys\n"
        "print(__name__, sys.argv[1:], os.getcwd(), os.environ['COLOUR'])\n"
        "print('and this', file=sys.stderr)\n"
        "raise SystemExit(3)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLOUR": "blue"}

    code = run_module("speaker", ["a", "-b"], log=tmp_path / "log", cwd=tmp_path, env=environment)

    assert code == 3
    assert sorted((tmp_path / "log").read_text().splitlines()) == [
        f"__main__ ['a', '-b'] {tmp_path} blue",
        "and this",
    ]
    assert capfd.readouterr() == ("", "")


def test_an_exception_of_the_watcher_kills_it(module: str, tmp_path: Path) -> None:
    calls = []

    def watch() -> None:
        calls.append(1)
        if (tmp_path / "pid").exists():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_module(module, [str(tmp_path / "pid")], log=tmp_path / "log", each=watch)

    assert calls
    assert_ends(pid_in(tmp_path / "pid"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_it_ends_with_its_parent(
    module: str, tmp_path: Path, repository: Path, how: signal.Signals
) -> None:
    program = (
        "import sys; from pathlib import Path; from reverie.models.child import run_module; "
        f"run_module({module!r}, [sys.argv[1]], log=Path(sys.argv[2]))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "pid"), str(tmp_path / "log")],
        cwd=repository,
        stderr=subprocess.DEVNULL,
    )
    child = pid_in(tmp_path / "pid")

    parent.send_signal(how)
    parent.wait(timeout=10)

    assert_ends(child)
