"""One connection to a client: h11 reads requests, and the answers are written as bytes.

h11 would refuse to write most of what this server is for.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterator

import h11

from reverie.evals.quirks.answer import Ending, Part, closes, deliver
from reverie.evals.quirks.recorded import Recorded
from reverie.evals.quirks.service import Service

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing sends RST instead of FIN."""
_NO_HTTP = b"HTTP/1.1 %d Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(asyncio.Protocol):
    """Answers one request after the other. A plain answer is written where its request arrives;
    what takes time has a task.
    """

    def __init__(self, service: Service, connections: set[Connection]) -> None:
        self._service = service
        self._connections = connections
        self._parser = h11.Connection(h11.SERVER)
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._current: Recorded | None = None
        """The request whose answer is not complete."""
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        """While the client reads too slowly: done when there is room again."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def abort(self) -> None:
        """End it now."""
        self._current = None
        self._transport.abort()

    # ---- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # TCP and TLS have no other
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self.closed.set_result(None)
        if self._task is not None:
            self._task.cancel()
        if self._current is not None:
            self._service.cancel(self._current)

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def data_received(self, data: bytes) -> None:
        self._parser.receive_data(data)
        self._read()

    # ---- requests in, answers out

    def _read(self) -> None:
        """Everything that has arrived, one request at a time."""
        while self._current is None:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                self._transport.write(_NO_HTTP % error.error_status_hint)
                self._transport.close()
                return
            if isinstance(event, h11.Request):
                self._head = event
                self._body = []
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            else:  # more is to come, or nothing will
                return

    def _answer(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101  # h11 ends no message that it has not begun
        request = Recorded(
            head.method.decode(),
            head.target.partition(b"?")[0].decode("utf-8", "replace"),
            {name.decode(): value.decode("latin-1") for name, value in head.headers},
            b"".join(self._body),
            time.monotonic(),
        )
        self._current = request
        answer, quirks = self._service.answer(request)
        steps = deliver(answer, quirks)
        ends = closes(answer, quirks) or request.headers.get("connection") == "close"
        for step in steps:
            if self._transport.is_closing():
                return  # the client has gone; connection_lost is about to be called
            if isinstance(step, bytes) and self._room is None:
                self._transport.write(step)
            else:
                work = self._work(step, steps, ends=ends)
                self._task = asyncio.get_running_loop().create_task(work)
                return
        self._done(ends=ends)

    async def _work(self, first: Part, steps: Iterator[Part], *, ends: bool) -> None:
        """What of an answer takes time."""
        try:
            step: Part | None = first
            while step is not None:
                await self._do(step)
                if self._transport.is_closing():
                    return
                step = next(steps, None)
        except BaseException:
            self._transport.abort()
            raise
        self._task = None
        self._done(ends=ends)
        if not ends:
            self._read()

    async def _do(self, step: Part) -> None:
        if isinstance(step, bytes):
            if self._room is not None:
                await self._room
            self._transport.write(step)
        elif not isinstance(step, Ending):
            await asyncio.sleep(step)
        elif step is Ending.HANG:
            await asyncio.Event().wait()
        else:
            self._current = None
            if step is Ending.RESET:
                found: socket.socket = self._transport.get_extra_info("socket")
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self._transport.abort()
            else:
                self._transport.close()

    def _done(self, *, ends: bool) -> None:
        """The answer is written: on to the next request, whose bytes may be here already."""
        self._current = None
        if ends:
            self._transport.close()
            return
        rest, _ = self._parser.trailing_data
        # A new parser: h11 would only start its next cycle if it had written the answer itself.
        self._parser = h11.Connection(h11.SERVER)
        if rest:
            self._parser.receive_data(rest)
