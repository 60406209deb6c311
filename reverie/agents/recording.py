"""What is recorded of a run while its events pass: the trace on disk, and spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from reverie.agents.spans import Spans, open_spans
from reverie.agents.traces import TraceFile, open_trace, prune_traces

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from reverie.agents.result import Result
    from reverie.graphs.events import Event
    from reverie.settings import Settings


async def recorded(
    items: AsyncIterator[Event | Result],
    settings: Settings,
    run_id: str,
    *,
    version: str,
    provider: TracerProvider | None = None,
) -> AsyncGenerator[Event | Result, None]:
    """Pass on a run's events and its result, recording them as the settings say.

    Closing it closes ``items``. Raises ConfigError when spans are wanted and OpenTelemetry is not
    installed.
    """
    trace = open_trace(settings, run_id)
    spans: Spans | None = None
    if settings.trace.otel or provider is not None:
        prompts = settings.trace.otel_prompts
        # In a thread: the import reads files, and takes a moment.
        spans = await asyncio.to_thread(
            open_spans, prompts=prompts, version=version, provider=provider
        )
    error: BaseException | None = None
    try:
        async with aclosing(cast("AsyncGenerator[Event | Result]", items)):
            async for item in items:
                if isinstance(item, dict):
                    async for notice in _record(item, trace, spans):
                        yield notice
                yield item
    except BaseException as raised:
        error = raised
        raise
    finally:
        if spans is not None:
            spans.end(error if isinstance(error, Exception) else None)
        if trace is not None:
            await asyncio.to_thread(prune_traces, settings.home, settings.trace.keep)


async def _record(
    event: Event, trace: TraceFile | None, spans: Spans | None
) -> AsyncIterator[Event]:
    """Record one event; yields what a person should know of it."""
    if spans is not None:
        spans.take(event)
    problem = await trace.take(event) if trace is not None else ""
    if problem:
        yield {"type": "notice", "text": problem}
