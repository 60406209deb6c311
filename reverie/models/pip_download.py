"""One wheel downloaded by the interpreter's own pip, in a child process."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from reverie.models.child import run_module

_NETWORK = re.compile(
    r"Retrying \(|ConnectionError|connection (broken|refused|reset)|timed? ?out"
    r"|name resolution|getaddrinfo|ProxyError|Could not fetch URL|IncompleteRead"
    r"|Network is unreachable",
    re.IGNORECASE,
)
_FULL = re.compile(r"No space left on device|\[Errno 28\]|Disk quota exceeded", re.IGNORECASE)


class PipFailed(Exception):
    """pip did not deliver the wheel. ``transient``: trying again later may help."""

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient


def pip_command(distribution: str, version: str) -> str:
    """The command that a person can run to get the same wheel."""
    return f"python -m pip download --no-deps {distribution}=={version}"


def download_wheel(
    distribution: str, version: str, work: Path, *, each: Callable[[], None]
) -> Path:
    """Downloads one wheel below the empty folder ``work`` and returns its path. Blocks.

    ``each`` is called about five times a second meanwhile; when it raises, or Ctrl-C arrives, pip
    is killed first. pip's own output goes to a file in ``work``, never to the terminal. The user's
    pip configuration (mirrors, proxies, certificates) applies. Raises ``PipFailed``.
    """
    if not sys.executable or importlib.util.find_spec("pip") is None:
        raise PipFailed("this Python environment has no pip (`python -m ensurepip` adds it)")
    wheels, temporary, log = work / "wheels", work / "tmp", work / "pip.log"
    wheels.mkdir()
    temporary.mkdir()
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    code = run_module(
        "pip",
        [
            *("download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input"),
            *("--no-color", "--progress-bar=off", "--disable-pip-version-check"),
            *("--dest", str(wheels), f"{distribution}=={version}"),
        ],
        log=log,
        each=each,
        cwd=temporary,
        env={**os.environ, **places, "PYTHONUNBUFFERED": "1"},
    )
    found = sorted(wheels.glob("*.whl"))
    if code == 0 and len(found) == 1:
        return found[0]
    raise _failure(code, log.read_text(encoding="utf-8", errors="replace"))


def _failure(code: int, log: str) -> PipFailed:
    """What went wrong, from pip's output, without anybody's credentials."""
    lines = [_without_credentials(line) for line in log.splitlines() if line.strip()]
    if any(_FULL.search(line) for line in lines):
        return PipFailed("the disk is full")
    # Without network pip ends in "No matching distribution found", which misleads: the lines
    # about retries above it say what happened.
    network = [line for line in lines if _NETWORK.search(line)]
    if network:
        return PipFailed(
            f"the package index cannot be reached (pip: {_shorten(network[-1])})", transient=True
        )
    errors = [line for line in lines if line.lower().startswith("error")]
    said = (errors or lines or [f"no output, exit code {code}"])[-1]
    return PipFailed(f"pip failed ({_shorten(said)})")


def _without_credentials(line: str) -> str:
    return re.sub(r"://[^\s/]*@", "://", line.strip())


def _shorten(line: str, width: int = 300) -> str:
    return line if len(line) <= width else f"{line[: width - 3]}..."
