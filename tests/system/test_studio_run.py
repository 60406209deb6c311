"""The reason graph with a real model in LangGraph's development server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from reverie.graphs.events import Event
from tests.system.langgraph_dev import langgraph_dev

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

pytest.importorskip("langgraph_api", reason="needs the extra studio")
pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

QUESTION = "What happens when you drop a ball?"


@pytest.fixture(scope="module")
def server(
    repository: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("studio")
    settings = folder / "settings.yaml"  # a file: reading it must not block a node
    settings.write_text("dream:\n  max_tokens: 72\n")
    environment = {"REVERIE_MODEL_CACHE": str(model_cache), "REVERIE_CONFIG": str(settings)}
    with langgraph_dev(repository, folder, **environment) as address:
        yield address


@pytest.fixture
async def client(server: str) -> AsyncIterator[LangGraphClient]:
    from langgraph_sdk import get_client

    async with get_client(url=server) as opened:
        yield opened


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
    for state in states:  # the attempt's reservation, its call, and its release
        assert [e["kind"] for e in state["ledger"]] == ["reserve", "spend", "release"]
    assert len(states[1]["attempts"]) == 1


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
