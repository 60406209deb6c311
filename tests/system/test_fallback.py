"""Served models behind each other, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import ModelUnavailable
from reverie.evals.quirks import Fail, Quirks, QuirkServer
from reverie.graphs.call import CallFailed, call_model
from reverie.graphs.call_events import CallEvents
from reverie.models.chat_model import ChatModel
from reverie.models.fallback import FallbackChatModel
from reverie.models.load import load_chat_model
from reverie.settings import Settings, load_settings

Loaded = Callable[..., "asyncio.Future[ChatModel]"]


@pytest.fixture
def servers() -> Iterator[tuple[QuirkServer, QuirkServer]]:
    with QuirkServer(Quirks()) as first, QuirkServer(Quirks()) as second:
        yield first, second


@pytest.fixture
async def load(tmp_path: Path) -> AsyncIterator[Any]:
    """Loads a model and what stands behind it, and closes them in the end."""
    models: list[ChatModel] = []

    async def load(name: str, *backends: str, **environment: str) -> ChatModel:
        settings = configured(tmp_path, ",".join(backends), environment)
        models.append(await asyncio.to_thread(load_chat_model, name, settings))
        return models[-1]

    yield load
    for model in models:
        await model.aclose()
        await asyncio.to_thread(model.close)


def configured(home: Path, backends: str, environment: dict[str, str]) -> Settings:
    fast = {"REVERIE_SERVER_RETRIES": "0", "REVERIE_SERVER_FAILURES": "1"}
    return load_settings(
        env={
            "REVERIE_HOME": str(home),
            "REVERIE_BACKENDS": backends,
            "REVERIE_SERVER_COOLDOWN_SECONDS": "0.2",
            **fast,
            **environment,
        }
    ).settings


def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}/v1"


def answered_by(reply: Any) -> tuple[str, list[str]]:
    told = reply.response_metadata["backend"]
    return told["name"], [over["name"] for over in told["passed_over"]]


async def test_where_nothing_listens_the_next_answers(
    load: Any, servers: tuple[QuirkServer, QuirkServer]
) -> None:
    gone = nowhere()
    model = await load(gone, servers[1].address)

    reply = await model.ainvoke("why?")

    assert reply.text
    assert answered_by(reply) == (servers[1].address, [gone])
    assert "connection refused" in reply.response_metadata["backend"]["passed_over"][0]["why"]


@pytest.mark.parametrize(
    "fail",
    [
        Fail(status=503),
        Fail(status=401, message="a wrong key", echo=True),
        Fail(reset=True),
        Fail(hang=True),
        Fail(hang=True, after=0),
    ],
    ids=["down", "wrong key", "reset", "silent", "silent after the headers"],
)
async def test_a_server_that_fails_is_passed_over_and_comes_back(
    fail: Fail, load: Any, servers: tuple[QuirkServer, QuirkServer]
) -> None:
    first, second = servers
    model = await load(first.address, second.address)
    assert answered_by(await model.ainvoke("why?")) == (first.address, [])
    asked = len(first.requests)

    first.script(fail)
    chunks = [chunk async for chunk in model.astream("why?", timeout=2.0)]
    again = await model.ainvoke("why?")
    assert answered_by(chunks[-1]) == (second.address, [first.address])
    assert answered_by(again) == (second.address, [first.address])
    assert len(first.requests) == asked + 1  # its circuit is open

    await asyncio.sleep(0.3)
    assert answered_by(await model.ainvoke("why?")) == (first.address, [])


async def test_a_key_is_sent_to_its_own_server_only(
    load: Any, servers: tuple[QuirkServer, QuirkServer]
) -> None:
    first, second = servers
    environment = {"REVERIE_MODEL": first.address, "REVERIE_MODEL_API_KEY": "hush"}
    model = await load(first.address, second.address, **environment)
    await model.ainvoke("why?")
    first.script(Fail(status=401, echo=True))

    reply = await model.ainvoke("why?")

    assert answered_by(reply)[0] == second.address
    assert "hush" not in str(reply)
    assert any("hush" in str(request.headers) for request in first.requests)
    assert not any("hush" in str(request.headers) for request in second.requests)


async def test_a_stream_that_breaks_is_asked_again_by_the_call(
    load: Any, servers: tuple[QuirkServer, QuirkServer]
) -> None:
    first, second = servers
    model = await load(first.address, second.address)
    assert isinstance(model, FallbackChatModel)
    await model.prepare()
    events: list[dict[str, Any]] = []
    first.script(None, Fail(close=True, after=4))  # the prompt is counted first

    reply = await call_model(
        model,
        [_question()],
        left={"tokens": 4000, "calls": 4, "seconds": 20.0, "money": None},
        max_tokens=40,
        events=CallEvents(events.append),
    )

    assert reply.text
    assert reply.usage["calls"] == 2
    assert [event["type"] for event in events].count("taken_back") == 1
    assert [use["name"] for use in reply.usage["backends"]] == [first.address, second.address]


@pytest.mark.parametrize("counts", [True, False])
async def test_a_server_that_never_answers_is_named_within_the_time(
    counts: bool, load: Any, servers: tuple[QuirkServer, QuirkServer]
) -> None:
    first = servers[0]
    model = await load(first.address)
    first.script(*([None] if counts else []), Fail(hang=True))

    with pytest.raises(CallFailed) as caught:
        await call_model(
            model,
            [_question()],
            left={"tokens": 4000, "calls": 4, "seconds": 1.0, "money": None},
            max_tokens=40,
            events=CallEvents(lambda _: None),
        )

    assert isinstance(caught.value.error, ModelUnavailable)
    assert (first.address if counts else "the model toy") in caught.value.error.message
    assert caught.value.usage["seconds"] < 1.2


def _question() -> Any:
    from langchain_core.messages import HumanMessage

    return HumanMessage("What happens when you drop a ball?")
