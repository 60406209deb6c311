"""A backend's stream on its way to the caller: how long to wait for it, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Self

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from reverie.errors import ModelUnavailable
from reverie.models.backend import Backend, Told

_SHORTEST = 0.05
"""Seconds below which asking another backend is not worth it."""


class Clock:
    """The time that a call has. None: as much as it takes."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """That of a call with these options."""
        return cls(options.get("timeout"))

    @property
    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        return self.left is not None and self.left < _SHORTEST

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options with what is left of the time."""
        return options if self._end is None else {**options, "timeout": self.left}

    def patience(self, others: bool) -> float | None:
        """How long to wait for a first piece when there are ``others`` to ask; None: as long as the
        model itself does.
        """
        return self.left / 2 if others and self.left is not None else None


class PassedOn:
    """What has been passed on of one backend's stream."""

    def __init__(self, told: Told, prefill: str) -> None:
        self._told = told
        self._prefill = prefill
        self._text = 0
        self.begun = False
        self.ended = False

    @property
    def characters(self) -> int:
        """Characters of the reply that the model wrote itself; at least one once it has begun."""
        return max(self._text - len(self._prefill), int(self.begun))

    def noted(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """The chunk, signed if it is the last. Chunks that are merged join what they say, so only
        one may sign.
        """
        message = chunk.message
        self.begun = True
        self._text += len(chunk.text)
        if getattr(message, "chunk_position", None) == "last" and not self.ended:
            self.ended = True
            message.response_metadata["backend"] = self._told
        return chunk

    def end(self) -> ChatGenerationChunk:
        """A last chunk, for a stream that had none."""
        return self.noted(
            ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))
        )


class Beginning:
    """The chunks of a stream up to the first in which the model says something. Until then another
    backend can take over: empty frames, and the repeated prefill, are no part of its reply.
    """

    def __init__(self, prefill: str) -> None:
        self._prefill = prefill
        self._text = ""
        self.chunks: list[ChatGenerationChunk] = []

    def ends_with(self, chunk: ChatGenerationChunk) -> bool:
        """Take the next chunk; whether the model has said something now."""
        self.chunks.append(chunk)
        self._text += chunk.text
        if self._text and not self._prefill.startswith(self._text):
            return True
        message = chunk.message
        blocks = message.content if isinstance(message.content, list) else []
        return bool(
            blocks or message.additional_kwargs or getattr(message, "tool_call_chunks", None)
        )


def first_chunks(stream: Iterator[ChatGenerationChunk], prefill: str) -> list[ChatGenerationChunk]:
    """The beginning of the stream."""
    beginning = Beginning(prefill)
    for chunk in stream:
        if beginning.ends_with(chunk):
            break
    return beginning.chunks


async def afirst_chunks(
    stream: AsyncIterator[ChatGenerationChunk],
    prefill: str,
    backend: Backend,
    seconds: float | None,
) -> list[ChatGenerationChunk]:
    """The beginning of the stream. Raises ModelUnavailable when it takes more than ``seconds``."""
    beginning = Beginning(prefill)
    waiting = asyncio.timeout(seconds)
    try:
        async with waiting:
            async for chunk in stream:
                if beginning.ends_with(chunk):
                    break
    except TimeoutError:
        if not waiting.expired():
            raise
        raise ModelUnavailable(
            f"{backend.name} sent nothing within {seconds:.1f} s", transient=True
        ) from None
    return beginning.chunks
