"""A Python module run in a child process that cannot outlive this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_POLL = 0.2
"""Seconds between two looks at the child."""

# The child watches a pipe from this process: when this process ends, however it ends (kill -9 too),
# the pipe closes and the child stops instead of working on as an orphan.
# os.read, not sys.stdin: a daemon thread inside a buffered read aborts the interpreter at exit.
_CHILD = """
import os, runpy, sys, threading
def watch():
    os.read(0, 1)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    log: Path,
    each: Callable[[], None] | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run ``python -m module arguments`` to its end and return its exit code. Blocks.

    What the child prints goes to ``log``. ``each`` is called about five times a second meanwhile;
    when it raises, or Ctrl-C arrives, the child is killed first.
    """
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, module, *arguments],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
        )
        try:
            while True:
                try:
                    return child.wait(_POLL)
                except subprocess.TimeoutExpired:
                    if each is not None:
                        each()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            if child.stdin is not None:
                child.stdin.close()
