"""The reason graph in LangGraph's real development server, which refuses blocking calls."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from pydantic import TypeAdapter

from reverie.graphs.context import Context
from reverie.graphs.events import Event

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

pytest.importorskip("langgraph_api", reason="needs the extra studio")
pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

QUESTION = "What happens when you drop a ball?"


@pytest.fixture(scope="module")
def server(
    repository: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """``langgraph dev`` on the repository's own langgraph.json; its log is read at the end."""
    folder = tmp_path_factory.mktemp("studio")
    settings = folder / "settings.yaml"  # a file: reading it must not block a node
    settings.write_text("dream:\n  max_tokens: 72\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-P", "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    command += ["--config", str(repository / "langgraph.json"), "--port", str(port)]
    environment = {
        **os.environ,
        "REVERIE_HOME": str(folder / "home"),
        "REVERIE_MODEL_CACHE": str(model_cache),
        "REVERIE_CONFIG": str(settings),
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGGRAPH_STRICT_MSGPACK": "true",
    }
    log = folder / "log.txt"
    with log.open("w") as output:
        # Its own folder: langgraph dev leaves .langgraph_api where it is started.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_up(process, address, log)
            yield address
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
    written = log.read_text()
    assert "BlockingError" not in written
    assert "Blocking call" not in written


def wait_until_up(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}/ok").status_code == 200:
                return
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    pytest.fail("the server did not come up:\n" + log.read_text())


@pytest.fixture
async def client(server: str) -> AsyncIterator[LangGraphClient]:
    from langgraph_sdk import get_client

    async with get_client(url=server) as opened:
        yield opened


async def test_both_graphs_are_there_with_their_form(client: LangGraphClient) -> None:
    assistants = await client.assistants.search()
    assert sorted(a["graph_id"] for a in assistants) == ["dream", "reason"]

    for assistant in assistants:
        schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
        form = schemas["context_schema"]["properties"]
        assert set(form) == set(Context.model_fields)
        assert all(field["description"] for field in form.values())
        assert form["branches"]["default"] == 4
        assert form["strategy"]["default"] == "auto"
        assert "question" in schemas["input_schema"]["properties"]


async def test_a_run_without_context_takes_the_defaults(client: LangGraphClient) -> None:
    state: Any = await client.runs.wait(None, "reason", input={"question": QUESTION})

    assert "__error__" not in state, state
    assert state["answer"]["status"] == "answered"
    assert state["choice"]["strategy"] == "dream"
    assert len(state["attempts"][0]["dreams"]) == 4
    assert state["run_id"]


async def test_events_stream_as_they_happen(client: LangGraphClient) -> None:
    parts = [
        part
        async for part in client.runs.stream(
            None,
            "reason",
            input={"question": QUESTION},
            context={"strategy": "dream", "branches": 2, "seed": 3},
            stream_mode=["custom", "updates"],
            stream_subgraphs=True,
        )
    ]

    assert not [p for p in parts if p.event == "error"], parts[-1]
    events: list[Any] = [p.data for p in parts if p.event.startswith("custom")]
    for event in events:
        TypeAdapter(Event).validate_python(event, strict=True)
    kinds = [e["type"] for e in events]
    assert kinds[:3] == ["recalled", "strategy", "grounded"]
    assert kinds[-1] == "budget"
    assert kinds.count("branch_finished") == 2
    updates: list[Any] = [p.data for p in parts if p.event.startswith("updates")]
    assert "learn" in {name for update in updates for name in update}


async def test_one_thread_can_be_asked_again_and_again(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    states: list[Any] = [
        await client.runs.wait(
            thread["thread_id"],
            "reason",
            input={"question": question},
            context={"strategy": "direct"},
        )
        for question in (QUESTION, "What is the capital of France?")
    ]

    assert all("__error__" not in state for state in states), states
    assert "Paris" in states[1]["answer"]["text"]
    assert states[0]["run_id"] != states[1]["run_id"]
    assert [len(state["ledger"]) for state in states] == [1, 1]
    assert len(states[1]["attempts"]) == 1


async def test_the_dream_graph_runs_by_itself(client: LangGraphClient) -> None:
    state: Any = await client.runs.wait(
        None, "dream", input={"question": QUESTION}, context={"branches": 2}
    )

    assert state["attempt"]["status"] == "ok", state
    assert len(state["dreams"]) == 2


@pytest.mark.parametrize(
    ("question", "context", "error"),
    [
        (" \x01", {}, "ConfigError"),
        (QUESTION, {"strategy": "drem"}, "ConfigError"),
        (QUESTION, {"strategy": "direct", "tokens": 20}, "BudgetExceeded"),
    ],
)
async def test_an_error_is_the_runs_error(
    client: LangGraphClient, question: str, context: dict[str, Any], error: str
) -> None:
    state: Any = await client.runs.wait(
        None, "reason", input={"question": question}, context=context, raise_error=False
    )

    assert state["__error__"]["error"] == error
