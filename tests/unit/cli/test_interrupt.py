"""Ctrl-C and SIGTERM: at once, whatever is going on, and the terminal is as it was."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

QUESTION = "What happens when you drop a ball?"

# The main thread waits in its loop, and a thread that nobody can cancel works on.
BUSY = """
import asyncio, sys, time
from reverie.cli import ask, main
class Busy:
    def __init__(self, settings, report): pass
    async def __aenter__(self): return self
    async def __aexit__(self, *ending): pass
    async def astream(self, question, *, preview=None):
        print("started", file=sys.stderr, flush=True)
        await asyncio.to_thread(time.sleep, 60)
        yield {}
ask.import_reasoner = lambda: Busy
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_it_at_once_though_a_thread_works_on(
    number: signal.Signals, code: int, said: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, "ask", QUESTION],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "started\n"
        process.send_signal(number)
        sent = time.monotonic()
        out, err = process.communicate(timeout=30)

    assert time.monotonic() - sent < 2  # 0.2 s, on a machine that has nothing else to do
    assert (process.returncode, out, err) == (code, "", f"{said}\n")


def test_an_interrupt_with_json_is_a_document(repository: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, "ask", QUESTION, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)

    document = json.loads(out)
    schema = json.loads((repository / "docs/schema/result.schema.json").read_text("utf-8"))
    jsonschema.validate(document, schema)
    assert document["error"]["type"] == "Interrupted"


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    process, ours, name = _on_a_terminal()
    yield Terminal(process, ours, name)
    process.kill()
    process.communicate()
    os.close(ours)


def test_an_interrupt_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGINT)
    shown = terminal.read_all()

    assert terminal.process.wait(30) == 130
    assert b"\x1b[?25l" in shown  # the cursor was hidden
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")


def test_a_terminal_that_takes_no_output_does_not_keep_it_alive(terminal: Terminal) -> None:
    terminal.fill()

    terminal.process.send_signal(signal.SIGTERM)

    assert terminal.process.wait(30) == 143


@dataclass
class Terminal:
    process: subprocess.Popen[str]
    ours: int
    name: str

    def read_all(self) -> bytes:
        read = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other side is closed
            while block := os.read(self.ours, 65536):
                read += block
        return read

    def fill(self) -> None:
        """Write to it, as the process does, until it takes no more."""
        handle = os.open(self.name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(handle, b".")
        os.close(handle)


def _on_a_terminal() -> tuple[subprocess.Popen[str], int, str]:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, "ask", QUESTION],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    assert process.stderr is not None
    assert process.stderr.readline() == "started\n"
    return process, ours, name
