"""The event loop for callers without one."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextvars import ContextVar

import pytest

from reverie.errors import ModelUnavailable
from reverie.models.loop_thread import LoopThread


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread("the test's")
    yield thread
    thread.close()


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def threads() -> int:
    return len([one for one in threading.enumerate() if one.name == "the test's"])


async def name() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


async def counted(upto: int, closed: list[str] | None = None) -> AsyncGenerator[int, None]:
    try:
        for number in range(upto):
            yield number
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
        if closed is not None:
            closed.append(threading.current_thread().name)


def test_it_runs_in_its_own_thread_from_the_first_use(loop: LoopThread) -> None:
    assert threads() == 0
    assert loop.run(name()) == "the test's"
    assert loop.run(name()) == "the test's"
    assert threads() == 1


def test_errors_come_out(loop: LoopThread) -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.run(fail())


def test_context_goes_along(loop: LoopThread) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")

    async def ask() -> str:
        return who.get()

    who.set("somebody")
    assert loop.run(ask()) == "somebody"


def test_items(loop: LoopThread) -> None:
    closed: list[str] = []
    assert list(loop.iterate(counted(3, closed))) == [0, 1, 2]
    assert closed == ["the test's"]


def test_leaving_early_closes(loop: LoopThread) -> None:
    closed: list[str] = []
    items = loop.iterate(counted(3, closed))
    assert next(items) == 0
    assert not closed
    items.close()  # type: ignore[attr-defined]  # it is a generator
    assert closed == ["the test's"]


def test_letting_go_closes(loop: LoopThread) -> None:
    closed: list[str] = []
    items = loop.iterate(counted(3, closed))
    next(items)
    del items
    gc.collect()
    assert closed == ["the test's"]


def test_letting_go_in_the_thread_itself_closes(loop: LoopThread) -> None:
    """As when the garbage collector runs there."""
    closed: list[str] = []
    held = [loop.iterate(counted(3, closed))]
    next(held[0])

    async def let_go() -> None:
        held.clear()

    loop.run(let_go())
    until(lambda: bool(closed))


def test_an_error_within_closes(loop: LoopThread) -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise KeyError("x")

    items = loop.iterate(broken())
    assert next(items) == 1
    with pytest.raises(KeyError):
        next(items)


def test_waiting_for_itself_is_an_error(loop: LoopThread) -> None:
    async def outer() -> None:
        loop.run(name())

    with pytest.raises(RuntimeError, match="asynchronous method"):
        loop.run(outer())


def test_it_ends_and_starts_again(loop: LoopThread) -> None:
    loop.close()
    loop.run(name())
    loop.close()
    loop.close()
    assert threads() == 0
    assert loop.run(name()) == "the test's"


def test_something_runs_last(loop: LoopThread) -> None:
    ran: list[str] = []

    async def last() -> None:
        ran.append(threading.current_thread().name)

    loop.close(last())  # nothing was running: it is dropped, without a warning
    assert not ran
    loop.run(name())
    loop.close(last())
    assert ran == ["the test's"]


def test_what_fails_last_keeps_nothing_open(loop: LoopThread) -> None:
    async def last() -> None:
        raise KeyError("x")

    loop.run(name())
    loop.close(last())
    assert threads() == 0


def test_what_never_ends_is_cancelled_at_the_end(loop: LoopThread) -> None:
    ended: list[str] = []
    errors: list[Exception] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("yes")

    def wait() -> None:
        try:
            loop.run(forever())
        except Exception as error:  # noqa: BLE001  # whatever it is, the test looks at it
            errors.append(error)

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    time.sleep(0.1)
    loop.close()
    for thread in waiting:
        thread.join(5)
        assert not thread.is_alive()
    assert ended == ["yes"] * 3
    assert [type(error) for error in errors] == [ModelUnavailable] * 3
    assert threads() == 0


def test_closing_it_while_many_ask(loop: LoopThread) -> None:
    """Every caller gets an answer or an error, and none waits for ever."""
    seen: list[str] = []

    def ask() -> None:
        for _ in range(40):
            try:
                seen.append(loop.run(name()))
            except ModelUnavailable:
                seen.append("closed")

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    for _ in range(25):
        loop.close()
        time.sleep(0.002)
    for thread in asking:
        thread.join(20)
        assert not thread.is_alive()
    assert len(seen) == 160
    assert set(seen) <= {"the test's", "closed"}


def test_closing_it_in_its_own_thread(loop: LoopThread) -> None:
    """As when the garbage collector finds the model there."""

    async def close() -> None:
        loop.close()

    loop.run(close())
    until(lambda: threads() == 0)
    assert loop.run(name()) == "the test's"


def test_a_stream_that_outlives_its_loop(loop: LoopThread) -> None:
    closed: list[str] = []
    items = loop.iterate(counted(9, closed))
    next(items)
    loop.close()
    assert closed  # with the loop
    with pytest.raises(ModelUnavailable, match="closed"):
        next(items)
    items.close()  # type: ignore[attr-defined]  # it is a generator


def test_an_interrupted_caller_waits_until_all_has_ended(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import Future

    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            ended.append("yes")

    result = Future.result

    def interrupted(future: Future[None], timeout: float | None = None) -> None:
        time.sleep(0.05)
        monkeypatch.setattr(Future, "result", result)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run(slow())
    assert ended == ["yes"]


def test_a_process_that_was_forked_has_a_loop_of_its_own(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.run(name())
    first = loop._running
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        assert loop.run(name()) == "the test's"
        assert loop._running is not first
        loop.close()
    assert first is not None
    first.close(None)
