"""``reverie studio`` with the real server of LangGraph."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

pytest.importorskip("langgraph_api", reason="needs the extra studio")

GRAPH = """
from typing_extensions import TypedDict
from langgraph.graph import StateGraph

class State(TypedDict):
    word: str

async def shout(state: State) -> State:
    return {"word": state["word"].upper()}

graph = StateGraph(State).add_node(shout).set_entry_point("shout").compile()
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def studio(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """The command, running in a folder that has a langgraph.json of its own."""
    Path(tmp_path, "shouting.py").write_text(GRAPH)
    graphs = {"dependencies": ["."], "graphs": {"shout": "shouting:graph"}}
    Path(tmp_path, "langgraph.json").write_text(json.dumps(graphs))
    # A tracing variable that wins over LANGSMITH_TRACING, which the command must switch off too.
    environment = {**os.environ, "LANGCHAIN_TRACING_V2": "true", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "reverie", "studio", "--port", str(port)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def wait_until_up(process: subprocess.Popen[str], port: int) -> psutil.Process:
    """Wait for the server, and return its process."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ok").status_code == 200:
                (server,) = psutil.Process(process.pid).children()
                return server
        except httpx.TransportError:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.2)
    pytest.fail("the server did not come up")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_it_serves_until_a_signal_and_leaves_nothing_behind(
    studio: subprocess.Popen[str], port: int, number: signal.Signals, code: int
) -> None:
    server = wait_until_up(studio, port)
    assistants = httpx.post(f"http://127.0.0.1:{port}/assistants/search", json={}).json()
    assert [assistant["graph_id"] for assistant in assistants] == ["shout"]
    assert server.environ()["LANGCHAIN_TRACING_V2"] == "false"

    studio.send_signal(number)
    output, _ = studio.communicate(timeout=20)

    assert studio.returncode == code, output
    assert not server.is_running()
    assert f"API     http://127.0.0.1:{port}" in output
    assert "Traceback" not in output


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "reverie", "studio", "--port", str(taken)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert result.returncode == 2
    assert result.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {taken}: Address")
    assert "--port" in result.stderr
