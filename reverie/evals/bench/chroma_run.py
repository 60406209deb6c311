"""A Chroma server in a process of its own, for as long as something is measured or tested on it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reverie.errors import ConfigError

_START_SECONDS: Final = 30.0


class ChromaRun:
    """``chroma run`` on one folder and port; may be stopped, killed and started again. Blocks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns once it takes connections. Raises ``ConfigError`` where it does not start."""
        command = Path(sys.executable).with_name("chroma")
        if not command.exists():
            raise ConfigError(f"There is no {command}", hint="pip install 'reverie[knowledge]'")
        where = ["--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [str(command), "run", *where],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        self.kill()
        raise ConfigError(f"chroma run does not start on {self.folder}")

    def signal(self, number: signal.Signals) -> None:
        """Sends the process a signal, such as SIGSTOP."""
        if self._process is not None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Ends it at once; a second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def chroma_run(folder: Path) -> Iterator[ChromaRun]:
    """A server that runs within the block."""
    server = ChromaRun(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
