"""``reverie studio``: LangGraph's development server for the graphs, with telemetry off."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import ConfigFile
from reverie.errors import ConfigError, ReverieError

if TYPE_CHECKING:
    from types import FrameType

CONFIG_NAME = "langgraph.json"

# All names that turn tracing on are set: langsmith reads LANGCHAIN_TRACING_V2 before the others.
QUIET_ENVIRONMENT = {
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
}

_SECONDS_TO_STOP = 10


def studio(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the local server.")] = 2024,
    host: Annotated[str, typer.Option(help="IPv4 address to listen on.")] = "127.0.0.1",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the Studio page.")
    ] = False,
    file: ConfigFile = None,
) -> None:
    r"""Open the graphs in LangGraph Studio, served from this machine.

    Uses ./langgraph.json if there is one. Needs the extra: pip install "reverie\[studio]"

    Example: reverie studio --port 2025 --browser
    """
    _check_installed()
    environment = {**os.environ, **QUIET_ENVIRONMENT, **_settings_environment(file)}
    _check_free(host, port)
    print(_welcome(host, port), flush=True)
    with _langgraph_config() as path:
        # -P: a file in the working directory must not stand in for an installed module.
        command = [sys.executable, "-P", "-m", "langgraph_cli", "dev", "--config", str(path)]
        command += ["--host", host, "--port", str(port), "--no-reload"]
        command += [] if browser else ["--no-browser"]
        code = _run(command, environment)
    if code != 0:
        raise ReverieError(
            f"LangGraph's server ended with exit code {code}",
            hint="Its own messages above say why.",
        )


def _check_installed() -> None:
    # Both parts: langgraph-cli without its inmem extra has no server.
    for module in ("langgraph_cli", "langgraph_api"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                "`reverie studio` needs LangGraph's development server, which is not installed",
                hint='Install it with: pip install "reverie[studio]"',
            )


def _settings_environment(file: Path | None) -> dict[str, str]:
    """Check the settings here, where the error is readable, and hand them to the server."""
    from reverie.settings import load_settings

    loaded = load_settings(file)
    return {"REVERIE_CONFIG": str(loaded.file.absolute())} if loaded.file else {}


def _check_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, UnicodeError) as error:  # UnicodeError: a label of the name is too long
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"cannot listen on {host} port {port}: {why}",
                hint="Another server may be using it: choose one with --port (and --host).",
            ) from error


def _welcome(host: str, port: int) -> str:
    everyone = host in ("", "0.0.0.0")  # noqa: S104  # compared, not bound
    address = f"http://{'127.0.0.1' if everyone else host}:{port}"
    lines = [
        f"API     {address}",
        f"Studio  https://smith.langchain.com/studio/?baseUrl={address}",
        "",
        "The Studio page comes from LangChain's site and asks you to log in; a free account will",
        "do. Graphs, models and data stay on this machine: the page, in your browser, talks to the",
        "API above, and tracing and telemetry are off. Ctrl-C stops the server.",
    ]
    if everyone or not host.startswith(("127.", "localhost")):
        lines += ["", "Note: others on your network can use this server too, without a password."]
    return "\n".join([*lines, ""])


@contextmanager
def _langgraph_config() -> Iterator[Path]:
    """The working directory's langgraph.json, or a temporary one with Reverie's graphs."""
    own = Path(CONFIG_NAME)
    if own.is_file():
        yield own
        return
    from reverie.graphs.studio import langgraph_config

    with tempfile.TemporaryDirectory(prefix="reverie-studio-") as folder:
        path = Path(folder, CONFIG_NAME)
        path.write_text(json.dumps(langgraph_config()), encoding="utf-8")
        yield path


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run the server until it ends or we are told to; it never outlives this call."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    ways_to_end = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):  # not on Windows
        ways_to_end.append(signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in ways_to_end}
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    finally:
        _stop(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server. After Ctrl-C in a terminal it has got the signal too and is on its way."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_SECONDS_TO_STOP)
    except BaseException as error:  # too slow, or a second Ctrl-C
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
