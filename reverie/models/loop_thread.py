"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future, wait
from typing import Any, Generic, TypeVar

from reverie.errors import ModelUnavailable

T = TypeVar("T")

_ENDING_SECONDS = 5.0
"""Longest time that something which was cancelled, or is being closed, is waited for."""


class LoopThread:
    """Runs coroutines for threads without an event loop. Starts at the first use, again after
    ``close``, and anew in a process that was forked.

    The thread is a daemon: it never keeps a program from ending. ``close`` ends it in order.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: _Running | None = None
        self._starting = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to the end and return the result. Ctrl-C in the caller cancels it, and waits until it
        has ended.
        """
        return self._started().run(coroutine)

    def iterate(self, generator: AsyncGenerator[T, None]) -> Iterator[T]:
        """The items of an asynchronous generator. Leaving the iterator early closes it."""
        running = self._started()
        running.keep(generator)
        done = object()

        async def step() -> T | object:
            return await anext(generator, done)

        try:
            while (item := running.run(step())) is not done:
                yield item  # type: ignore[misc]  # mypy keeps the sentinel's type in the union
        finally:
            running.finish(generator)

    def close(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        """Run ``last``, cancel what still runs, then end loop and thread."""
        with self._starting:
            running, self._running = self._running, None
        if running is not None and running.alive:
            running.close(last)
        elif last is not None:
            last.close()

    def _started(self) -> _Running:
        with self._starting:
            if self._running is None or not self._running.alive:
                self._running = _Running(self._name)
            return self._running


class _Running:
    """A loop and the thread that it runs in."""

    def __init__(self, name: str) -> None:
        self._process = os.getpid()
        self._ending = False
        self._ready = threading.Lock()
        """Held while something is handed to the loop, and while that begins to end."""
        self._generators: dict[int, AsyncGenerator[Any, None]] = {}
        """Those that somebody iterates over, by their id."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it can be used. In a process that was forked the thread does not exist."""
        return self._process == os.getpid() and not self._ending

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "this would wait for the event loop that it runs in, without end: use the "
                "asynchronous method here (ainvoke, astream)"
            )
        work = _Work(coroutine)
        self._hand_over(work)
        try:
            return work.ended.result()
        except BaseException:
            if not work.ended.done():  # the caller's own exception, such as KeyboardInterrupt
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                    self._loop.call_soon_threadsafe(work.cancel)
                wait([work.ended], timeout=_ENDING_SECONDS)
            raise

    def keep(self, generator: AsyncGenerator[Any, None]) -> None:
        """Close a generator at the end, if nobody has closed it before."""
        self._generators[id(generator)] = generator

    def finish(self, generator: AsyncGenerator[Any, None]) -> None:
        """Close a generator, for whoever lets go of it, the garbage collector too."""
        if not self.alive:
            return  # its generators ended with the loop
        self._generators.pop(id(generator), None)
        if threading.current_thread() is self._thread:
            self._hand_over(_Work(_closed(generator)))
        else:
            self.run(_closed(generator))

    def close(self, last: Coroutine[Any, Any, None] | None) -> None:
        """May be called in the thread itself, which then ends when it can."""
        own = threading.current_thread() is self._thread
        if last is not None:
            work = _Work(last)
            self._hand_over(work)
            if not own:
                wait([work.ended], timeout=_ENDING_SECONDS)
        with self._ready:
            self._ending = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        if not own:
            self._thread.join(timeout=_ENDING_SECONDS)

    def _hand_over(self, work: _Work[Any]) -> None:
        with self._ready:
            if self._ending:
                work.never()
            else:
                self._loop.call_soon_threadsafe(work.begin)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._end()

    def _end(self) -> None:
        """What ``asyncio.run`` does at its end: nobody goes on waiting, and nothing stays open."""
        try:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            # From the outside in: shutdown_asyncgens closes all at once, and those that another
            # one is closing just then complain.
            for generator in list(self._generators.values()):
                with contextlib.suppress(Exception):  # nobody is left to hear of it
                    self._loop.run_until_complete(generator.aclose())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            with contextlib.suppress(RuntimeError):  # no new threads while the interpreter ends
                self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


class _Work(Generic[T]):
    """A coroutine that a loop is to run; ``ended`` is done when it really has ended."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.ended: Future[T] = Future()
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._note)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def never(self) -> None:
        """Instead of ``begin``, when the loop has ended."""
        self._coroutine.close()
        self.ended.set_exception(_was_closed())

    def _note(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.ended.set_exception(_was_closed())
        elif (error := task.exception()) is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(task.result())


def _was_closed() -> ModelUnavailable:
    return ModelUnavailable(
        "the model was closed while it was asked", hint="close it when nobody uses it any more"
    )


async def _closed(generator: AsyncGenerator[Any, None]) -> None:
    await generator.aclose()
