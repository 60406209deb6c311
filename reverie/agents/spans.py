"""OpenTelemetry spans of a run, made from its events: run, strategy, branch, model call, tool.

Names and attributes follow the semantic conventions for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/). Prompts and replies are left out unless asked
for. Needs the extra ``otel``.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reverie.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from reverie.graphs.call_record import CallRecord
    from reverie.graphs.events import Event
    from reverie.graphs.records import Answer, Choice, Cost, ToolUse

_EXPORT_SECONDS = 3.0
_PREVIEW = 200
"""Characters of an error in a span's status."""


class Spans:
    """The spans of one run. Hand it every event, then ``end`` it."""

    def __init__(self, tracer: Tracer, *, prompts: bool) -> None:
        self._tracer = tracer
        self._prompts = prompts
        self._run: Span | None = None
        self._strategy: Span | None = None
        self._branches: dict[int, Span] = {}
        self._tool: Span | None = None

    def take(self, event: Event) -> None:
        """Open, fill or end the span that an event is about."""
        if event["type"] == "run_started":
            self._start(event["run_id"], event["model"], event["question"])
        elif event["type"] == "strategy":
            self._begin_strategy(event["choice"])
        elif event["type"] == "assessed":
            self._end_strategy(event["accepted"], event["why"])
        elif event["type"] == "answer":
            self._answered(event["answer"])
        elif event["type"] == "budget":
            self._spent(event["cost"])
        else:
            self._take_inner(event)

    def end(self, error: BaseException | None = None) -> None:
        """End every span that is open; ``error`` is what ended the run."""
        for span in (self._tool, *self._branches.values(), self._strategy):
            if span is not None:
                span.end()
        self._tool, self._strategy = None, None
        self._branches.clear()
        if self._run is not None:
            if error is not None:
                _fail(self._run, type(error).__name__, str(error))
            self._run.end()
            self._run = None

    def _take_inner(self, event: Event) -> None:
        """What happens within a strategy."""
        if event["type"] == "branch_started":
            attributes = {"reverie.branch": event["branch"], "reverie.label": event["label"]}
            self._branches[event["branch"]] = self._open(
                f"branch {event['label']}", self._strategy, attributes
            )
        elif event["type"] == "branch_finished":
            self._end_branch(event["branch"], event["outcome"]["error"])
        elif event["type"] == "called":
            self._call(event["call"])
        elif event["type"] == "tool_called":
            self._begin_tool(event["tool"], event["arguments"])
        elif event["type"] == "tool_returned":
            self._end_tool(event["use"])

    def _start(self, run_id: str, model: str, question: str) -> None:
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "reverie",
            "gen_ai.conversation.id": run_id,
            "gen_ai.request.model": model,
        }
        if self._prompts:
            attributes["gen_ai.input.messages"] = _messages([("user", question)])
        self._run = self._tracer.start_span("invoke_agent reverie", attributes=attributes)

    def _begin_strategy(self, choice: Choice) -> None:
        attributes = {
            "reverie.strategy": choice["strategy"],
            "reverie.why": choice["why"],
            "reverie.propensity": choice["propensity"],
        }
        if choice["template"]:
            attributes["reverie.template"] = choice["template"]
        self._strategy = self._open(f"strategy {choice['strategy']}", self._run, attributes)

    def _end_strategy(self, accepted: bool, why: str) -> None:
        if self._strategy is not None:
            self._strategy.set_attribute("reverie.accepted", accepted)
            if not accepted:
                self._strategy.add_event("not accepted", {"reverie.why": why})
            self._strategy.end()
            self._strategy = None

    def _end_branch(self, branch: int, error: str) -> None:
        span = self._branches.pop(branch, None)
        if span is not None:
            if error:
                _fail(span, "BranchFailed", error)
            span.end()

    def _begin_tool(self, tool: str, arguments: dict[str, Any]) -> None:
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        if self._prompts:
            attributes["gen_ai.tool.call.arguments"] = _json(arguments)
        self._tool = self._open(f"execute_tool {tool}", self._strategy, attributes)

    def _end_tool(self, use: ToolUse) -> None:
        if self._tool is None:
            return
        if self._prompts and use["result"]:
            self._tool.set_attribute("gen_ai.tool.call.result", use["result"])
        if use["error"]:
            _fail(self._tool, "ToolFailed", use["error"])
        self._tool.end()
        self._tool = None

    def _call(self, call: CallRecord) -> None:
        """One model call, with the times that its record tells."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        branch = self._branches.get(call["branch"]) if call["branch"] is not None else None
        parent = branch or self._strategy or self._run
        span = self._tracer.start_span(
            f"chat {call['model']}",
            context=set_span_in_context(parent) if parent is not None else None,
            kind=SpanKind.CLIENT,
            attributes=self._of_call(call),
            start_time=int(call["began"] * 1e9),
        )
        if call["error"]:
            _fail(span, call["error_type"], call["error"])
        span.end(int((call["began"] + call["usage"]["seconds"]) * 1e9))

    def _of_call(self, call: CallRecord) -> dict[str, Any]:
        usage, options = call["usage"], call["options"]
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "reverie",
            "gen_ai.request.model": call["model"],
            "gen_ai.usage.input_tokens": usage["tokens_in"],
            "gen_ai.usage.output_tokens": usage["tokens_out"],
            "gen_ai.output.type": "json" if "json_schema" in options else "text",
            "reverie.node": call["node"],
            "reverie.usage.estimated": usage["estimated"],
            "reverie.calls": usage["calls"],
        }
        for ours, name in (
            ("max_tokens", "gen_ai.request.max_tokens"),
            ("temperature", "gen_ai.request.temperature"),
            ("seed", "gen_ai.request.seed"),
            ("stop", "gen_ai.request.stop_sequences"),
        ):
            if ours in options:
                attributes[name] = options[ours]
        if not call["error"]:
            attributes["gen_ai.response.finish_reasons"] = [
                "stop" if call["complete"] else "length"
            ]
        if call["prompts"]:
            uses = [f"{use['name']}@{use['version']}" for use in call["prompts"]]
            attributes["gen_ai.prompt.name"] = ", ".join(uses)
        answered = [use["name"] for use in usage["backends"] if use["calls"]]
        if answered:
            attributes |= _server(answered[-1])
        if self._prompts:
            asked = [(turn["role"], turn["content"]) for turn in call["messages"]]
            attributes["gen_ai.input.messages"] = _messages(asked)
            attributes["gen_ai.output.messages"] = _messages([("assistant", call["text"])])
        return attributes

    def _answered(self, answer: Answer) -> None:
        if self._run is None:
            return
        self._run.set_attribute("reverie.status", answer["status"])
        self._run.set_attribute("reverie.strategy", answer["strategy"])
        if answer["confidence"] is not None:
            self._run.set_attribute("reverie.confidence", answer["confidence"])
            self._run.set_attribute("reverie.calibrated", answer["calibrated"])
        if self._prompts:
            said = _messages([("assistant", answer["text"])])
            self._run.set_attribute("gen_ai.output.messages", said)

    def _spent(self, cost: Cost) -> None:
        if self._run is not None:
            self._run.set_attribute("gen_ai.usage.input_tokens", cost["spent"]["tokens_in"])
            self._run.set_attribute("gen_ai.usage.output_tokens", cost["spent"]["tokens_out"])
            self._run.set_attribute("reverie.calls", cost["spent"]["calls"])

    def _open(self, name: str, parent: Span | None, attributes: dict[str, Any]) -> Span:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(parent) if parent is not None else None
        return self._tracer.start_span(
            name, context=context, attributes=attributes, start_time=time.time_ns()
        )


def open_spans(*, prompts: bool, version: str, provider: TracerProvider | None = None) -> Spans:
    """Spans that go to ``provider``; else to the application's own, when it has set one up; else
    over OTLP to where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says.

    Raises ConfigError when OpenTelemetry is not installed. The first time imports it, which blocks.
    """
    try:
        chosen = provider or _provider()
    except ImportError as error:
        raise ConfigError(
            f"trace.otel needs OpenTelemetry, which is not installed: {error}",
            hint='Install it with: pip install "reverie[otel]"',
        ) from error
    return Spans(chosen.get_tracer("reverie", version), prompts=prompts)


@functools.cache
def _provider() -> TracerProvider:
    from opentelemetry import trace

    known = trace.get_tracer_provider()
    if not isinstance(known, trace.ProxyTracerProvider):
        return known
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    told = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in told
    resource = Resource.create({} if named else {"service.name": "reverie"})
    own = SdkProvider(resource=resource)
    # A collector that is gone should not hold a program up for long when it ends.
    given = "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ
    exporter = OTLPSpanExporter(timeout=None if given else _EXPORT_SECONDS)
    own.add_span_processor(BatchSpanProcessor(exporter))
    # It says every repetition; that it failed in the end is enough.
    logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.ERROR)
    return own


def _server(backend: str) -> dict[str, Any]:
    """Address and port of a backend that is a server, from its name."""
    parts = urlsplit(backend.partition("#")[0])
    if not parts.hostname:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname, "server.port": port}


def _fail(span: Span, kind: str, message: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, message[:_PREVIEW])


def _messages(turns: list[tuple[str, str]]) -> str:
    return _json(
        [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in turns]
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
