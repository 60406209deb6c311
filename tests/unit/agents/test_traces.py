"""Traces on disk: what they hold, what they do not, and how many there are."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from reverie.agents.recording import recorded
from reverie.agents.traces import BLOTTED, open_trace, prune_traces, read_trace, trace_path
from reverie.errors import ModelUnavailable
from reverie.graphs.context import Context
from reverie.graphs.strategies import require_strategy
from reverie.settings import Settings
from reverie.settings.schema import TraceSettings
from tests.unit.conftest import QUESTION, Say, ScriptedResources, run_graph


async def events_of(resources: ScriptedResources, **context: Any) -> list[Any]:
    return (await run_graph(resources, **context)).events


async def record(settings: Settings, events: list[Any], run_id: str = "1") -> list[Any]:
    """Record ``events`` as a run's; returns what was passed on."""

    async def items() -> AsyncIterator[Any]:
        for event in events:
            yield event

    return [item async for item in recorded(items(), settings, run_id, version="1")]


def with_trace(settings: Settings, **trace: Any) -> Settings:
    return settings.model_copy(update={"trace": TraceSettings(**trace)})


async def test_it_holds_every_call_and_every_decision(
    settings: Settings, resources: ScriptedResources
) -> None:
    events = await events_of(resources, strategy="dream")

    assert await record(settings, events) == events
    records = list(read_trace(settings.home, "1"))

    kinds = [r["type"] for r in records]
    assert kinds == [e["type"] for e in events if e["type"] != "token"]
    assert {"strategy", "verdict", "assessed", "answer"} <= set(kinds)
    calls = [r["call"] for r in records if r["type"] == "called"]
    assert len(calls) == 4
    for call in calls:
        assert call["messages"][-1]["role"] == "user"
        assert QUESTION in call["messages"][-1]["content"]
        assert "".join(t["token"] for t in call["tokens"]) in call["text"]
        assert call["usage"]["calls"] == 1
        assert call["prompts"][0]["name"].startswith("dream")
        assert len(call["prompts"][0]["version"]) == 12


async def test_a_call_that_failed_is_told_with_its_cost(resources: ScriptedResources) -> None:
    gone = ModelUnavailable("gone")
    resources.scripted.script = lambda _: Say("a b c", error=gone, after=2)
    graph = require_strategy("direct").build().compile()
    state: Any = {"question": QUESTION, "started": time.time(), "ledger": [], "run_id": "1"}
    context = Context(resources=resources.key)

    events: list[Any] = [
        event async for event in graph.astream(state, context=context, stream_mode="custom")
    ]

    [called] = [e["call"] for e in events if e["type"] == "called"]
    assert (called["error"], called["error_type"]) == ("gone", "ModelUnavailable")
    assert called["usage"]["tokens_out"] == 2


async def test_prompts_and_replies_can_be_left_out(
    settings: Settings, resources: ScriptedResources
) -> None:
    events = await events_of(resources, strategy="direct")

    await record(with_trace(settings, prompts=False), events)

    [call] = [r["call"] for r in read_trace(settings.home, "1") if r["type"] == "called"]
    assert not {"messages", "text", "tokens", "prefill"} & set(call)
    assert call["usage"]["tokens_in"] > 0


async def test_what_matches_is_blotted_out_everywhere(
    settings: Settings, resources: ScriptedResources
) -> None:
    resources.scripted.script = lambda _: "Call 555-1234 now."
    events = await events_of(resources, question="Is 555-1234 a number?", strategy="direct")

    await record(with_trace(settings, redact=(r"\d{3}-\d{4}",)), events)

    text = trace_path(settings.home, "1").read_text(encoding="utf-8")
    assert "555-1234" not in text
    assert BLOTTED in text
    [call] = [r["call"] for r in read_trace(settings.home, "1") if r["type"] == "called"]
    assert call["tokens"] == []  # they would spell it
    assert call["usage"]["tokens_out"] > 0


async def test_the_oldest_go_first(settings: Settings) -> None:
    event = {"type": "notice", "text": "x"}
    for number in range(5):
        await record(settings, [event], str(number))

    def age() -> None:
        for number in range(5):
            os.utime(trace_path(settings.home, str(number)), (number, number))

    await asyncio.to_thread(age)
    await record(with_trace(settings, keep=3), [event], "last")

    kept = sorted(path.stem for path in (settings.home / "traces").iterdir())
    assert kept == ["3", "4", "last"]
    assert await asyncio.to_thread(prune_traces, settings.home, 3) == 0


async def test_none_is_kept_when_none_is_wanted(settings: Settings) -> None:
    none = with_trace(settings, keep=0)

    await record(none, [{"type": "notice", "text": "x"}])

    assert open_trace(none, "1") is None
    assert not (settings.home / "traces").exists()


async def test_a_trace_that_cannot_be_written_is_said_once_and_ends_nothing(
    settings: Settings,
) -> None:
    settings.home.mkdir(parents=True)
    (settings.home / "traces").write_text("in the way")
    event = {"type": "notice", "text": "x"}

    passed = await record(settings, [event, event])

    notices = [item["text"] for item in passed if item != event]
    assert len(notices) == 1
    assert "cannot be written" in notices[0]
    assert passed.count(event) == 2


async def test_a_line_that_was_cut_off_is_left_out(settings: Settings) -> None:
    await record(settings, [{"type": "notice", "text": "one"}])
    path: Path = trace_path(settings.home, "1")
    with path.open("a") as file:
        file.write('{"type": "notice", "te')

    assert [r["text"] for r in read_trace(settings.home, "1")] == ["one"]
    assert list(read_trace(settings.home, "unknown")) == []


async def test_resuming_goes_on_with_the_file(settings: Settings) -> None:
    for text in ("before", "after"):
        await record(settings, [{"type": "notice", "text": text}])

    assert [r["text"] for r in read_trace(settings.home, "1")] == ["before", "after"]
    assert json.loads(trace_path(settings.home, "1").read_text().splitlines()[0])["at"] > 0
