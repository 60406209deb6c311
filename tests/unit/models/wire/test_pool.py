"""Connections that are taken and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from reverie.models.wire.pool import Pool


class Body(httpx2.AsyncByteStream):
    def __init__(self) -> None:
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"said"

    async def aclose(self) -> None:
        self.closed += 1


class Line(httpx2.AsyncBaseTransport):
    """Answers one request at a time, or fails."""

    def __init__(self) -> None:
        self.busy = False
        self.closed = False
        self.answered = 0
        self.error: BaseException | None = None
        self.gate: asyncio.Event | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert not self.busy, "two requests over one connection"
        self.busy = True
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.busy = False
        self.answered += 1
        return httpx2.Response(200, stream=Body())

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def lines() -> list[Line]:
    return []


@pytest.fixture
def pool(lines: list[Line]) -> Callable[..., Pool]:
    def make(most: int = 3, idle_seconds: float = 60.0, **attributes: Any) -> Pool:
        def open_one() -> Line:
            line = Line()
            for name, value in attributes.items():
                setattr(line, name, value)
            lines.append(line)
            return line

        return Pool(open_one, most=most, idle_seconds=idle_seconds)

    return make


def asked(pool_seconds: float | None = None) -> httpx2.Request:
    timeout = {"pool": pool_seconds}
    return httpx2.Request("GET", "http://server/v1/models", extensions={"timeout": timeout})


async def test_a_connection_is_used_again(pool: Callable[..., Pool], lines: list[Line]) -> None:
    held = pool()

    for _ in range(5):
        response = await held.handle_async_request(asked())
        assert await response.aread() == b"said"  # reading to the end closes the response

    assert [line.answered for line in lines] == [5]


async def test_requests_at_the_same_time_have_connections_of_their_own(
    pool: Callable[..., Pool], lines: list[Line]
) -> None:
    held = pool()

    responses = [await held.handle_async_request(asked()) for _ in range(3)]
    for response in responses:
        await response.aclose()
    again = await held.handle_async_request(asked())
    await again.aclose()

    assert [line.answered for line in lines] == [1, 1, 2]  # the one used last is taken first


async def test_more_than_the_most_wait(pool: Callable[..., Pool], lines: list[Line]) -> None:
    held = pool(most=2)
    first, second = [await held.handle_async_request(asked()) for _ in range(2)]
    third = asyncio.create_task(held.handle_async_request(asked()))
    await asyncio.sleep(0.01)
    assert not third.done()

    await first.aclose()

    await (await third).aclose()
    await second.aclose()
    assert len(lines) == 2


async def test_waiting_ends_with_the_pool_timeout(pool: Callable[..., Pool]) -> None:
    held = pool(most=1)
    response = await held.handle_async_request(asked())

    with pytest.raises(httpx2.PoolTimeout):
        await held.handle_async_request(asked(0.01))

    await response.aclose()
    await (await held.handle_async_request(asked(0.01))).aclose()


async def test_who_is_cancelled_while_waiting_takes_no_room(pool: Callable[..., Pool]) -> None:
    held = pool(most=1)
    response = await held.handle_async_request(asked())
    waiting = asyncio.create_task(held.handle_async_request(asked()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await response.aclose()

    await (await held.handle_async_request(asked(0.01))).aclose()


async def test_a_failure_gives_the_connection_back(
    pool: Callable[..., Pool], lines: list[Line]
) -> None:
    held = pool(most=1, error=httpx2.ConnectError("refused"))
    with pytest.raises(httpx2.ConnectError):
        await held.handle_async_request(asked())

    lines[0].error = None
    response = await held.handle_async_request(asked(0.01))

    await response.aclose()
    assert len(lines) == 1


async def test_who_is_cancelled_in_a_request_gives_the_connection_back(
    pool: Callable[..., Pool], lines: list[Line]
) -> None:
    held = pool(most=1, gate=asyncio.Event())
    begun = asyncio.create_task(held.handle_async_request(asked()))
    await asyncio.sleep(0)
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun

    lines[0].gate = None

    await (await held.handle_async_request(asked(0.01))).aclose()


async def test_a_response_closed_twice_gives_back_once(
    pool: Callable[..., Pool], lines: list[Line]
) -> None:
    held = pool(most=1)
    response = await held.handle_async_request(asked())
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    await response.stream.aclose()
    await response.stream.aclose()

    taken = await held.handle_async_request(asked())

    with pytest.raises(httpx2.PoolTimeout):
        await held.handle_async_request(asked(0.01))
    await taken.aclose()


async def test_what_nobody_needs_is_closed_little_by_little(
    pool: Callable[..., Pool], lines: list[Line]
) -> None:
    held = pool(most=6, idle_seconds=0.02)
    for response in [await held.handle_async_request(asked()) for _ in range(6)]:
        await response.aclose()
    await asyncio.sleep(0.03)

    await (await held.handle_async_request(asked())).aclose()
    assert [line.closed for line in lines] == [True, True, False, False, False, False]
    await (await held.handle_async_request(asked())).aclose()

    assert [line.closed for line in lines] == [True, True, True, True, False, False]
    assert len(lines) == 6
    assert lines[-1].answered == 3


async def test_closing_closes_all(pool: Callable[..., Pool], lines: list[Line]) -> None:
    held = pool()
    busy, idle = [await held.handle_async_request(asked()) for _ in range(2)]
    await idle.aclose()

    await held.aclose()

    assert [line.closed for line in lines] == [True, True]
    await busy.aclose()
