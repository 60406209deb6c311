"""Deadlines: every part of a call counts, and the caller's own time does not."""

from __future__ import annotations

import asyncio
import time

import pytest

from reverie.errors import ModelUnavailable, OutputInvalid
from reverie.evals.quirks import Fail, Quirks

FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}


async def once(model, **options) -> str:
    return str((await model.ainvoke("x", **options)).text)


async def whole(model, **options) -> str:
    return "".join([chunk.text async for chunk in model.astream("x", **options)])


BOTH = pytest.mark.parametrize("ask", [once, whole])


@BOTH
@pytest.mark.parametrize("model_name", ["toy", ""])
async def test_finding_out_what_is_served_counts(served, ask, model_name) -> None:
    model = served(Quirks(hang=True), profile=None, model=model_name)
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match="did not finish within"):
        await ask(model, timeout=0.7)
    assert 0.6 < time.monotonic() - began < 2.0


@BOTH
async def test_counting_counts(served, able, server, ask) -> None:
    model = served(Quirks(), profile={**able, "window": 60})
    server.script(Fail(hang=True))
    began = time.monotonic()
    with pytest.raises(ModelUnavailable):
        await ask(model, max_tokens=60, timeout=0.7)
    assert 0.6 < time.monotonic() - began < 2.0
    assert [request.path for request in server.requests] == ["/tokenize"]


@BOTH
async def test_repairing_counts(served, able, ask) -> None:
    profile = {**able, "json_schema": False, "json_object": False}
    model = served(Quirks(reply="no JSON", token_seconds=0.3), profile=profile)
    began = time.monotonic()
    with pytest.raises((ModelUnavailable, OutputInvalid)):
        await ask(model, response_format=FORM, timeout=0.9)  # 0.6 s for each of the two replies
    assert time.monotonic() - began < 1.1


@BOTH
@pytest.mark.parametrize("seconds", [0, -1, 0.0, 1e-9])
async def test_no_time_at_all(served, server, ask, seconds) -> None:
    with pytest.raises(ModelUnavailable, match="no time was left") as caught:
        await ask(served(), timeout=seconds)
    assert caught.value.transient
    assert server.address in caught.value.message
    assert not server.requests


async def test_what_the_caller_does_meanwhile_does_not_count(served) -> None:
    model = served(Quirks(words=6))
    seen = ""
    async for chunk in model.astream("x", timeout=0.5):
        await asyncio.sleep(0.2)
        seen += chunk.text
    assert len(seen.split()) == 6


async def test_a_slow_server_is_stopped_although_the_caller_is_slow_too(served) -> None:
    model = served(Quirks(words=60, token_seconds=0.15))
    began = time.monotonic()

    async def read_slowly() -> None:
        async for _ in model.astream("x", timeout=0.6):
            await asyncio.sleep(0.05)

    with pytest.raises(ModelUnavailable, match="did not finish within"):
        await read_slowly()
    assert time.monotonic() - began < 4.0


async def test_waiting_for_the_next_attempt_counts(served, server) -> None:
    model = served(Quirks(fail=Fail(status=503)), max_retries=50)
    began = time.monotonic()
    with pytest.raises(ModelUnavailable):
        await once(model, timeout=1.0)
    assert time.monotonic() - began < 1.3


async def test_counting_by_itself_takes_seconds_at_most(served, server, monkeypatch) -> None:
    from langchain_core.messages import HumanMessage

    from reverie.models.wire import counting

    monkeypatch.setattr(counting, "_SECONDS", 0.5)
    model = served(Quirks(hang=True))
    began = time.monotonic()
    count = await asyncio.to_thread(model.count_tokens, [HumanMessage("one two")])
    assert count > 2
    assert time.monotonic() - began < 1.5
