"""The connections to one server, each taken and given back in a time that their number does not
change.

The SDK's own pool looks at every connection whenever a request begins or ends. With hundreds of
them, that takes longer than everything else that a call does.

Imports httpx2, which takes long: only modules that are about to send a request import this one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

import httpx2

_CLOSED_AT_ONCE = 2
"""Most connections that one request closes because they were idle for too long."""


class Pool(httpx2.AsyncBaseTransport):
    """Sends each request over a connection of its own, which further requests take over.

    At most ``most`` requests are under way; more wait, at most for the request's ``pool`` timeout.
    The connection that was used last is taken first; those that nobody needed for
    ``idle_seconds`` are closed little by little, when further requests begin.
    """

    def __init__(
        self, open_one: Callable[[], httpx2.AsyncBaseTransport], *, most: int, idle_seconds: float
    ) -> None:
        """``open_one`` gives a transport for one request at a time. It must not block."""
        self._open_one = open_one
        self._idle_seconds = idle_seconds
        self._room = asyncio.Semaphore(most)
        self._idle: deque[tuple[float, httpx2.AsyncBaseTransport]] = deque()
        """Since when each is idle; the longest first."""
        self._busy: set[httpx2.AsyncBaseTransport] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await self._enter(request)
        connection = self._idle.pop()[1] if self._idle else self._open_one()
        self._busy.add(connection)
        try:
            await self._close_some()
            response = await connection.handle_async_request(request)
        except BaseException:
            self._give_back(connection)
            raise
        if isinstance(response.stream, httpx2.AsyncByteStream):  # always, from these transports
            response.stream = _Lent(response.stream, lambda: self._give_back(connection))
        return response

    async def aclose(self) -> None:
        held = [*self._busy, *(connection for _, connection in self._idle)]
        self._idle.clear()
        for connection in held:
            await connection.aclose()

    async def _enter(self, request: httpx2.Request) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("pool")):
                await self._room.acquire()
        except TimeoutError:
            raise httpx2.PoolTimeout("all connections are in use", request=request) from None

    async def _close_some(self) -> None:
        for _ in range(_CLOSED_AT_ONCE):
            if not self._idle or time.monotonic() - self._idle[0][0] < self._idle_seconds:
                return
            await self._idle.popleft()[1].aclose()

    def _give_back(self, connection: httpx2.AsyncBaseTransport) -> None:
        self._busy.remove(connection)
        self._idle.append((time.monotonic(), connection))
        self._room.release()


class _Lent(httpx2.AsyncByteStream):
    """A response's body; closing it gives the connection back."""

    def __init__(self, inner: httpx2.AsyncByteStream, give_back: Callable[[], None]) -> None:
        self._inner = inner
        self._give_back: Callable[[], None] | None = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            if self._give_back is not None:
                give_back, self._give_back = self._give_back, None
                give_back()
