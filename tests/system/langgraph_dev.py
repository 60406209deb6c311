"""LangGraph's real development server, which refuses blocking calls, on the repository's graphs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest


@contextmanager
def langgraph_dev(repository: Path, folder: Path, **environment: str) -> Iterator[str]:
    """``langgraph dev`` on the repository's own langgraph.json, with ``environment`` besides; its
    log is read at the end, when no call may have blocked.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-P", "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    command += ["--config", str(repository / "langgraph.json"), "--port", str(port)]
    variables = {
        **os.environ,
        "REVERIE_HOME": str(folder / "home"),
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGGRAPH_STRICT_MSGPACK": "true",
        **environment,
    }
    log = folder / "log.txt"
    with log.open("w") as output:
        # Its own folder: langgraph dev leaves .langgraph_api where it is started.
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_up(process, address, log)
            yield address
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
    written = log.read_text()
    assert "BlockingError" not in written
    assert "Blocking call" not in written


def _wait_until_up(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}/ok").status_code == 200:
                return
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    pytest.fail("the server did not come up:\n" + log.read_text())
