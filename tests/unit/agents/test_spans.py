"""OpenTelemetry spans: their tree, their attributes, and what they keep to themselves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from reverie.agents.recording import recorded
from reverie.settings import Settings
from reverie.settings.schema import TraceSettings
from tests.unit.conftest import QUESTION, Say, ScriptedResources, dream_text, run_graph

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

STARTED = {"type": "run_started", "run_id": "3f9c", "question": QUESTION, "model": "smollm2"}


class Exported:
    """A provider that keeps what it is given."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, beginning: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name.startswith(beginning)]


@pytest.fixture
def exported() -> Exported:
    return Exported()


async def export(
    settings: Settings, exported: Exported, events: list[Any], *, prompts: bool = False
) -> None:
    async def items() -> AsyncIterator[Any]:
        for event in events:
            yield event

    settings = settings.model_copy(update={"trace": TraceSettings(keep=0, otel_prompts=prompts)})
    async for _ in recorded(items(), settings, "3f9c", version="1", provider=exported.provider):
        pass


def parent(span: ReadableSpan, spans: list[ReadableSpan]) -> str:
    by_id = {s.context.span_id: s.name for s in spans}
    return by_id[span.parent.span_id] if span.parent else ""


async def test_run_strategy_branch_and_call_are_a_tree(
    settings: Settings, resources: ScriptedResources, exported: Exported
) -> None:
    ran = await run_graph(resources, strategy="dream", branches=2)
    await export(settings, exported, [STARTED, *ran.events])

    spans = exported.spans
    assert len({span.context.trace_id for span in spans}) == 1
    [run] = exported.named("invoke_agent")
    assert run.parent is None
    assert {parent(s, spans) for s in exported.named("strategy dream")} == {"invoke_agent reverie"}
    branches = exported.named("branch")
    assert sorted(s.name for s in branches) == ["branch spatial", "branch temporal"]
    assert {parent(s, spans) for s in branches} == {"strategy dream"}
    calls = exported.named("chat")
    assert sorted(parent(s, spans) for s in calls) == ["branch spatial", "branch temporal"]


async def test_a_call_says_what_the_conventions_ask_for(
    settings: Settings, resources: ScriptedResources, exported: Exported
) -> None:
    ran = await run_graph(resources, strategy="direct", seed=7)
    await export(settings, exported, [STARTED, *ran.events])

    [call] = exported.named("chat")
    told: Any = call.attributes
    assert call.name == "chat scripted"
    assert call.kind is SpanKind.CLIENT
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "scripted"
    assert told["gen_ai.request.max_tokens"] == 96
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    spent = ran.of("budget")[-1]["cost"]["spent"]
    assert told["gen_ai.usage.input_tokens"] == spent["tokens_in"]
    assert told["gen_ai.usage.output_tokens"] == spent["tokens_out"]
    assert call.end_time is not None
    assert call.start_time is not None
    assert (call.end_time - call.start_time) / 1e9 == pytest.approx(spent["seconds"], abs=0.01)
    [run] = exported.named("invoke_agent")
    whole: Any = run.attributes
    assert whole["gen_ai.conversation.id"] == "3f9c"
    assert whole["gen_ai.usage.output_tokens"] == spent["tokens_out"]
    assert whole["reverie.strategy"] == "direct"


async def test_the_attribute_names_are_those_of_the_conventions(
    settings: Settings, resources: ScriptedResources, exported: Exported
) -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    known = {v for k, v in vars(gen_ai_attributes).items() if k.startswith("GEN_AI_")}
    ran = await run_graph(resources, strategy="direct")
    await export(settings, exported, [STARTED, *ran.events], prompts=True)

    used = {name for s in exported.spans for name in s.attributes or {} if "gen_ai" in name}
    assert len(used) > 10
    assert used <= known


async def test_prompts_are_left_out_unless_asked_for(
    settings: Settings, resources: ScriptedResources, exported: Exported
) -> None:
    resources.scripted.script = lambda _: "It falls, says Agnes."
    ran = await run_graph(resources, strategy="direct")
    await export(settings, exported, [STARTED, *ran.events])
    told = json.dumps([dict(s.attributes or {}) for s in exported.spans])
    assert "ball" not in told
    assert "Agnes" not in told

    await export(settings, exported, [STARTED, *ran.events], prompts=True)
    call: Any = exported.named("chat")[-1].attributes
    asked = json.loads(call["gen_ai.input.messages"])
    assert asked[-1] == {"role": "user", "parts": [{"type": "text", "content": QUESTION}]}
    assert "Agnes" in call["gen_ai.output.messages"]


async def test_what_failed_says_so(
    settings: Settings, resources: ScriptedResources, exported: Exported
) -> None:
    resources.scripted.script = lambda call: (
        Say("nonsense") if call.expert == "spatial" else Say(dream_text(call))
    )
    ran = await run_graph(resources, strategy="dream", branches=2)
    await export(settings, exported, [STARTED, *ran.events])

    [branch] = exported.named("branch spatial")
    assert branch.status.status_code is StatusCode.ERROR
    [other] = exported.named("branch temporal")
    assert other.status.status_code is StatusCode.UNSET


async def test_a_run_that_ends_in_an_error_or_is_left_has_its_spans_ended(
    settings: Settings, exported: Exported
) -> None:
    choice = {"strategy": "direct", "why": "", "propensity": 1.0, "template": ""}

    async def broken() -> AsyncIterator[Any]:
        yield STARTED
        yield {"type": "strategy", "choice": choice}
        raise ValueError("oops")

    watched = recorded(broken(), settings, "1", version="1", provider=exported.provider)
    with pytest.raises(ValueError, match="oops"):
        async for _ in watched:
            pass
    [run] = exported.named("invoke_agent")
    assert run.status.status_code is StatusCode.ERROR
    assert run.attributes is not None
    assert run.attributes["error.type"] == "ValueError"

    exported.exporter.clear()
    watched = recorded(broken(), settings, "1", version="1", provider=exported.provider)
    async with aclosing(watched):
        async for _ in watched:
            break
    [run] = exported.named("invoke_agent")
    assert run.status.status_code is StatusCode.UNSET


async def test_tools_have_spans(settings: Settings, exported: Exported) -> None:
    choice = {"strategy": "tools", "why": "", "propensity": 1.0, "template": ""}
    use = {"tool": "calculator", "arguments": {"expression": "1/0"}, "result": "", "error": "zero"}
    events = [
        STARTED,
        {"type": "strategy", "choice": choice},
        {"type": "tool_called", "tool": "calculator", "arguments": use["arguments"]},
        {"type": "tool_returned", "use": use},
    ]
    await export(settings, exported, events)

    [tool] = exported.named("execute_tool calculator")
    assert parent(tool, exported.spans) == "strategy tools"
    assert tool.status.status_code is StatusCode.ERROR
    assert "gen_ai.tool.call.arguments" not in (tool.attributes or {})
