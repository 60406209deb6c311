"""Something that is opened once, whatever asks for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Opens something at its first use; whoever asks meanwhile, in any thread and event loop, waits
    for the same opening.
    """

    def __init__(self, opener: Callable[[], Awaitable[T]]) -> None:
        self._open = opener
        self._lock = threading.Lock()
        self._opening: Future[T] | None = None
        self._task: asyncio.Task[None] | None = None  # an event loop alone would not keep it alive

    async def get(self) -> T:
        while True:
            with self._lock:
                opening, first = self._opening, self._opening is None
                if opening is None:
                    opening = self._opening = Future()
            if first:
                self._task = asyncio.ensure_future(self._fill(opening))
            try:
                # Shielded: the task that happens to open it may be cancelled, the others wait on.
                return await asyncio.shield(asyncio.wrap_future(opening))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not opening.cancelled() or (task is not None and task.cancelling()):
                    raise
                # The loop that was opening it has ended: this one takes over.

    async def _fill(self, opening: Future[T]) -> None:
        try:
            value = await self._open()
        except BaseException as error:
            with self._lock:
                self._opening = None
            if not isinstance(error, Exception):
                opening.cancel()
                raise
            opening.set_exception(error)
        else:
            opening.set_result(value)

    @property
    def opened(self) -> T | None:
        """What was opened, if anything."""
        with self._lock:
            opening = self._opening
            return opening.result() if opening is not None and opening.done() else None

    def taken(self) -> T | None:
        """What was opened, if anything, forgetting it."""
        with self._lock:
            opening = self._opening
            if opening is None or not opening.done():
                return None
            self._opening = None
        return opening.result()
