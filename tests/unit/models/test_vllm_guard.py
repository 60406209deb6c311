"""The guard: a server's whole tree of processes ends, however it or Reverie ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from reverie.models.vllm import guard

GUARD = [sys.executable, "-I", "-S", guard.__file__]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux adopts orphans")

# A server whose family is as hard to end as vLLM's: a child in a session of its own, whose parent
# is gone, and a grandchild. None of them heeds SIGTERM but the first, and that only if asked to.
SERVER = """
import os, pathlib, signal, subprocess, sys, time
folder, how = pathlib.Path(sys.argv[1]), sys.argv[2]
sleeper = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
middle = (
    "import os, subprocess, sys; os.setsid(); "
    f"print(subprocess.Popen([sys.executable, '-S', '-c', {sleeper!r}], stdout=2).pid)"
)
orphan = subprocess.run([sys.executable, "-S", "-c", middle], stdout=subprocess.PIPE, text=True)
child = subprocess.Popen([sys.executable, "-S", "-c", sleeper])
def finish(*_):
    (folder / "finished").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, finish if how == "heeds" else signal.SIG_IGN)
(folder / "pids.part").write_text(f"{os.getpid()} {child.pid} {orphan.stdout.strip()}")
(folder / "pids.part").rename(folder / "pids")
print("said", file=sys.stderr)
print("said too")
if how == "crashes":
    sys.stdout.flush()
    os._exit(3)
time.sleep(60)
"""


class Guarded:
    """A guard with the server above, and the server's processes."""

    def __init__(self, folder: Path, how: str) -> None:
        self.folder = folder
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*GUARD, sys.executable, "-S", "-c", SERVER, str(folder), how],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.pipe = self.process.stdin
        self.pid = int(self.process.stdout.readline())
        self.pids: list[int] = []
        for _ in range(400):
            if (folder / "pids").exists():
                self.pids = [int(pid) for pid in (folder / "pids").read_text().split()]
                break
            time.sleep(0.05)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def guarded(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path, getattr(request, "param", "heeds"))
    yield guarded
    guarded.close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_all_gone(guarded: Guarded, seconds: float) -> None:
    assert len(guarded.pids) == 3
    until = time.monotonic() + seconds
    while any(map(alive, guarded.pids)):
        assert time.monotonic() < until, [pid for pid in guarded.pids if alive(pid)]
        time.sleep(0.05)


def test_it_says_the_servers_process_and_keeps_its_words(guarded: Guarded) -> None:
    assert guarded.pid == guarded.pids[0]
    assert all(map(alive, guarded.pids))
    guarded.pipe.close()
    guarded.process.wait(10)
    assert (guarded.folder / "log").read_text().splitlines()[0] == "said"


@LINUX
def test_asked_to_end_the_server_may_finish_and_nothing_stays(guarded: Guarded) -> None:
    guarded.pipe.write(b"!")
    guarded.pipe.flush()

    assert guarded.process.wait(10) == 0
    assert (guarded.folder / "finished").exists()
    assert_all_gone(guarded, 0.5)


@LINUX
@pytest.mark.parametrize("guarded", ["heeds not"], indirect=True)
def test_a_server_that_does_not_finish_is_killed_in_time(guarded: Guarded) -> None:
    began = time.monotonic()
    guarded.pipe.write(b"!")
    guarded.pipe.flush()

    assert guarded.process.wait(12) == 128 + signal.SIGKILL
    assert guard.PATIENCE <= time.monotonic() - began < guard.PATIENCE + guard.INSIST + 1
    assert_all_gone(guarded, 0.5)


@LINUX
@pytest.mark.parametrize("guarded", ["heeds not"], indirect=True)
def test_nobody_waits_longer_when_the_pipe_closes_meanwhile(guarded: Guarded) -> None:
    guarded.pipe.write(b"!")
    guarded.pipe.flush()
    time.sleep(0.3)

    guarded.pipe.close()

    assert guarded.process.wait(3) == 128 + signal.SIGKILL
    assert_all_gone(guarded, 0.5)


@LINUX
def test_when_reverie_is_gone_everything_is_killed_at_once(guarded: Guarded) -> None:
    guarded.pipe.close()

    assert guarded.process.wait(3) == 128 + signal.SIGKILL
    assert not (guarded.folder / "finished").exists()
    assert_all_gone(guarded, 0.5)


@LINUX
@pytest.mark.parametrize("guarded", ["crashes"], indirect=True)
def test_what_a_crashed_server_leaves_is_killed(guarded: Guarded) -> None:
    assert guarded.process.wait(5) == 3
    assert_all_gone(guarded, 0.5)


@LINUX
def test_kill_9_of_the_guard_ends_the_server(guarded: Guarded) -> None:
    guarded.process.kill()
    guarded.process.wait()

    for _ in range(40):
        if not alive(guarded.pid):
            return
        time.sleep(0.05)
    pytest.fail("the server outlived its guard")


def test_a_command_that_cannot_be_run_is_said_in_the_log() -> None:
    with subprocess.Popen(
        [*GUARD, "/nowhere/python"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.wait(5) == 127
        assert process.stderr is not None
        assert process.stderr.read() == b"/nowhere/python: No such file or directory\n"


def test_its_output_is_the_process_id_alone(guarded: Guarded) -> None:
    guarded.pipe.close()
    guarded.process.wait(5)
    assert guarded.process.stdout is not None
    assert guarded.process.stdout.read() == b""
