"""Running a coroutine so that Ctrl-C and SIGTERM end the program at once, whatever it is doing.

A thread that imports torch or loads a model cannot be cancelled, and Python waits for it at exit.
So the first signal cancels the task, and a watchdog ends the process when that takes too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

if TYPE_CHECKING:
    from types import FrameType

T = TypeVar("T")

GRACE: Final = 0.2
"""Seconds for cleaning up, from the signal until the process ends whatever it is doing."""

_WORDS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_SHOW_CURSOR: Final = b"\x1b[?25h"


def run_interruptible(main: Callable[[Stop], Coroutine[Any, Any, T]], *, as_json: bool) -> T:
    """Run ``main`` in an event loop of its own; it is given the ``Stop`` that a signal sets.

    A signal ends the process with 128 + its number (130 for Ctrl-C), by SystemExit if cleaning up
    is quick and without further ado if not.
    """
    stop = Stop(as_json)
    runner = asyncio.Runner()
    loop = runner.get_loop()

    async def task() -> T:
        stop.task = asyncio.current_task(loop)
        return await main(stop)

    with stop.listening(loop):
        try:
            return runner.run(task())
        except BaseException:
            if stop.signal is None:
                raise  # else the signal explains it
        finally:
            stop.say()
            runner.close()
    raise SystemExit(128 + stop.signal)


class Stopped(Exception):
    """Ends work in a thread that reports its progress, after a signal."""


class Stop:
    """Whether a signal has asked the program to end."""

    def __init__(self, as_json: bool) -> None:
        self.signal: int | None = None
        self.task: asyncio.Task[Any] | None = None
        self.close_display: Callable[[], object] = lambda: None
        """Leaves the terminal as it was; called first, in the loop's thread."""
        self.hint = ""
        """What can be done afterwards, if anything."""
        self._as_json = as_json
        self._said = threading.Lock()

    def check(self) -> None:
        """Raises Stopped after a signal."""
        if self.signal is not None:
            raise Stopped

    def say(self) -> None:
        """Print what happened, once."""
        if self.signal is None or not self._said.acquire(blocking=False):
            return
        word = _WORDS.get(signal.Signals(self.signal), "stopped")
        with contextlib.suppress(OSError, ValueError):
            if self._as_json:
                error = {"type": word.capitalize(), "message": word, "hint": self.hint}
                print(json.dumps({"error": error}, indent=2), flush=True)
            else:
                hint = f"\nhint: {self.hint}" if self.hint else ""
                print(f"{word}{hint}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def listening(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Handle the signals, if this is the main thread (elsewhere Python cannot)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _frame: FrameType | None) -> None:
            if self.signal is not None:  # a second Ctrl-C: no more patience
                self._leave()
            self.signal = number
            watchdog = threading.Timer(GRACE, self._leave)
            watchdog.daemon = True
            watchdog.start()
            loop.call_soon_threadsafe(self._begin)

        before = {number: signal.signal(number, handle) for number in _WORDS}
        try:
            yield
        finally:
            # After a signal the watchdog still runs, until the interpreter has come to its end.
            for number, handler in before.items():
                signal.signal(number, handler)

    def _begin(self) -> None:
        self.close_display()
        self.say()
        if self.task is not None:
            self.task.cancel()

    def _leave(self) -> NoReturn:
        # In a thread: a terminal that takes no output (Ctrl-S) must not keep the process alive.
        words = threading.Thread(target=self._last_words, daemon=True)
        words.start()
        words.join(GRACE)
        os._exit(128 + (self.signal or signal.SIGINT))

    def _last_words(self) -> None:
        if not self._said.locked():  # the display had no chance to clean up behind itself
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    if stream.isatty():
                        os.write(stream.fileno(), _SHOW_CURSOR + b"\r\n")
                        break
        self.say()
