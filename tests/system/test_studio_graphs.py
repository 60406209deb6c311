"""Every graph in langgraph.json, driven as Studio drives it: run, stream, interrupt and resume,
history, and a fork from an earlier checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.process import QuirkProcess
from reverie.graphs.context import Context
from reverie.graphs.events import Event
from tests.system.langgraph_dev import langgraph_dev

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

pytest.importorskip("langgraph_api", reason="needs the extra studio")
# live: the embedder is the packaged one. The language model is a server with a toy model, since
# what is tested is how the graphs are driven.
pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

GRAPHS = tuple(
    json.loads(Path(__file__).parents[2].joinpath("langgraph.json").read_text("utf-8"))["graphs"]
)
QUESTION = "What is 3 times 4?"
CONTEXT = {"seed": 1, "branches": 2, "samples": 2, "best_of": 2, "agents": 2, "answer_tokens": 16}
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


@pytest.fixture(scope="module")
def server(
    repository: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with (
        QuirkProcess(Quirks()) as model,
        langgraph_dev(
            repository,
            tmp_path_factory.mktemp("studio"),
            REVERIE_MODEL_NAME=model.address,
            REVERIE_MODEL_CACHE=str(model_cache),
        ) as address,
    ):
        yield address


@pytest.fixture
async def client(server: str) -> AsyncIterator[LangGraphClient]:
    from langgraph_sdk import get_client

    async with get_client(url=server) as opened:
        yield opened


async def test_every_graph_is_there_with_its_form(client: LangGraphClient) -> None:
    assistants = await client.assistants.search(limit=100)
    assert sorted(a["graph_id"] for a in assistants) == sorted(GRAPHS)

    for assistant in assistants:
        schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
        form = schemas["context_schema"]["properties"]
        assert set(form) == set(Context.model_fields)
        assert all(field["description"] for field in form.values())
        assert form["branches"]["default"] == 4
        assert form["strategy"]["default"] == "auto"
        assert "question" in schemas["input_schema"]["properties"]


@pytest.mark.parametrize("name", GRAPHS)
async def test_a_graph_is_streamed_and_interrupted_and_resumed_and_forked(
    client: LangGraphClient, name: str
) -> None:
    thread = (await client.threads.create())["thread_id"]
    last = "answer" if name == "reason" else name
    context = {**CONTEXT, "strategy": "direct"} if name == "reason" else CONTEXT

    # Run and stream until just before the last node of interest.
    parts = [
        part
        async for part in client.runs.stream(
            thread,
            name,
            input={"question": QUESTION},
            context=context,
            stream_mode=["custom", "updates"],
            stream_subgraphs=True,
            interrupt_before=[last],
        )
    ]
    assert not [p for p in parts if p.event == "error"], parts[-1]
    before: Any = await client.threads.get_state(thread)
    assert before["next"] == [last]

    # Resume to the end.
    parts = [
        part
        async for part in client.runs.stream(
            thread,
            name,
            input=None,
            context=context,
            stream_mode=["custom", "updates"],
            stream_subgraphs=True,
        )
    ]
    assert not [p for p in parts if p.event == "error"], parts[-1]
    events: list[Any] = [p.data for p in parts if p.event.startswith("custom")]
    for event in events:
        EVENT.validate_python(event, strict=True)
    state: Any = await client.threads.get_state(thread)
    assert state["next"] == []
    assert finished(name, state["values"])

    # Look back, and fork from the checkpoint before the last node.
    history: list[Any] = list(await client.threads.get_history(thread, limit=50))
    assert len(history) >= 3
    earlier = next(h for h in history if h["next"] == [last])
    again: Any = await client.runs.wait(
        thread, name, input=None, context=context, checkpoint=earlier["checkpoint"]
    )
    assert finished(name, again)
    assert again["run_id"] == state["values"]["run_id"]
    longer = await client.threads.get_history(thread, limit=50)
    assert len(longer) > len(history)


async def test_a_thread_of_a_strategy_can_be_asked_again(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    states: list[Any] = [
        await client.runs.wait(thread, "dream", input={"question": q}, context=CONTEXT)
        for q in (QUESTION, "Why does ice float?")
    ]

    assert states[0]["run_id"] != states[1]["run_id"]
    spends = [e for e in states[1]["ledger"] if e["kind"] == "spend"]
    assert len(spends) == 2


async def test_a_person_is_asked_before_a_run_abstains(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    asking = {**CONTEXT, "strategy": "dream", "abstain_below": 1.0, "dream_tokens": 400}
    context = {**asking, "ask_before": ["abstain"]}

    waiting: Any = await client.runs.wait(
        thread, "reason", input={"question": QUESTION}, context=context
    )
    [interrupt] = waiting["__interrupt__"]
    assert interrupt["value"]["name"] == "abstained"
    assert interrupt["value"]["reply_schema"]["properties"]["answer"]
    state: Any = await client.threads.get_state(thread)
    assert state["next"] == ["ask_person"]

    ended: Any = await client.runs.wait(
        thread, "reason", command={"resume": {"answer": "12"}}, context=context
    )
    assert ended["answer"]["text"] == "12"
    assert ended["answer"]["strategy"] == "person"
    assert [a["strategy"] for a in ended["attempts"]] == ["dream", "person"]


def finished(name: str, values: Any) -> bool:
    """Whether a state is the end of a run: a toy model's answer may still be a failed attempt."""
    if name == "reason":
        return values["answer"]["status"] in ("answered", "abstained")
    return values["attempt"]["strategy"] == name and values["attempt"]["status"] in (
        "ok",
        "abstained",
        "failed",
    )
