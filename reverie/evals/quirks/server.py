"""The server in a thread of this process, for tests."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Self

from reverie.evals.quirks.behaviour import Fail, Quirks
from reverie.evals.quirks.connection import Connection
from reverie.evals.quirks.listener import Tls, listening
from reverie.evals.quirks.recorded import Recorded
from reverie.evals.quirks.service import Service


class QuirkServer:
    """Serves at ``address`` from entering the ``with`` block to leaving it, in a thread with an
    event loop of its own. All attributes may be used from any thread.
    """

    address: str
    """``http://127.0.0.1:PORT/v1`` (``https`` with ``tls``). Known inside the ``with`` block."""

    def __init__(
        self, quirks: Quirks | None = None, *, tls: Tls | None = None, port: int = 0
    ) -> None:
        """``tls``: the files of certificate chain and private key."""
        self._service = Service(quirks or Quirks())
        self._connections: set[Connection] = set()
        self._tls = tls
        self._port = port
        self._thread: threading.Thread | None = None
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def quirks(self) -> Quirks:
        """How requests are answered from now on. Setting it begins counts such as
        ``invalid_json`` anew.
        """
        return self._service.quirks

    @quirks.setter
    def quirks(self, quirks: Quirks) -> None:
        self._service.quirks = quirks

    def script(self, *fails: Fail | None) -> None:
        """The next requests, whatever they are, fail so, in order, one each; None: succeeds."""
        self._service.script(fails)

    @property
    def requests(self) -> list[Recorded]:
        """All requests so far (the last 10,000), in the order of their arrival."""
        return self._service.requests()

    @property
    def cancelled(self) -> list[Recorded]:
        """The requests whose client went away before the response was complete."""
        return self._service.cancelled()

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def __enter__(self) -> Self:
        ready: Future[str] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="quirk server", daemon=True
        )
        self._thread.start()
        self.address = ready.result()
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None and self._thread is not None:
            loop, stop = self._stop
            loop.call_soon_threadsafe(stop.set)
            self._thread.join()
            self._stop = self._thread = None

    async def _serve(self, ready: Future[str]) -> None:
        stop = asyncio.Event()
        try:
            async with listening(
                self._service, self._connections, port=self._port, tls=self._tls
            ) as address:
                self._stop = asyncio.get_running_loop(), stop
                ready.set_result(address)
                await stop.wait()
        except OSError as error:  # the port is taken, a certificate cannot be read
            if ready.done():
                raise
            ready.set_exception(error)
