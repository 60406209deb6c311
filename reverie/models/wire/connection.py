"""One server: requests out, JSON and events in, failures as typed errors."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from reverie.errors import ReverieError
from reverie.models.wire.endpoint import Endpoint, require_proxy
from reverie.models.wire.format import Documents
from reverie.models.wire.secrecy import Secrets

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai._types import RequestOptions

    from reverie.models.wire.sdk import Events

    Clients = dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[None, None]]]

T = TypeVar("T")

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 8.0
"""Seconds between two attempts, doubled each time, of which a random part is waited."""


class Connection:
    """Talks to one endpoint. Usable from several threads and event loops: each loop has its own
    sockets, which ``aclose`` closes.

    Everything raises ReverieError's children, naming the address: ModelUnavailable (``transient``
    when a later call may succeed), ModelRejected, ContextOverflow. Connection errors, timeouts and
    the statuses 408, 409, 429 and 5xx are repeated, with jitter and as Retry-After asks, until the
    deadline; nothing else is. No secret of the endpoint is in any message, cause or log record.

    Making one imports the openai SDK, which takes about a second: do it in a thread.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        require_proxy(endpoint.proxy)
        import reverie.models.wire.failures  # noqa: F401  # here, not within an event loop
        from reverie.models.wire.sdk import request_headers

        self.endpoint = endpoint
        self.secrets = Secrets(endpoint.secrets)
        self._headers = request_headers(endpoint)
        self._clients: Clients = {}
        self._lock = threading.Lock()
        guard = self.secrets.guard_logs()
        if guard is not None:
            finalize(self, guard.lift)
        finalize(self, _abandon, self._clients).atexit = False

    async def get(self, path: str, *, seconds: float | None = None) -> Any:
        """The JSON at ``path``, under the address, or under the server's root if it begins with
        ``//`` (``//version`` is http://HOST:PORT/version).
        """

        async def once(client: AsyncOpenAI, options: RequestOptions) -> Any:
            return _json(await client.get(self._url(path), cast_to=object, options=options))

        return await self._repeat(once, seconds)

    async def post(self, path: str, body: dict[str, Any], *, seconds: float | None = None) -> Any:
        """Send ``body`` and return the JSON that comes back, within ``seconds``."""

        async def once(client: AsyncOpenAI, options: RequestOptions) -> Any:
            url = self._url(path)
            return _json(await client.post(url, cast_to=object, body=body, options=options))

        return await self._repeat(once, seconds)

    def stream(self, path: str, body: dict[str, Any], *, seconds: float | None = None) -> Documents:
        """Send ``body`` and return the events that come back, as they come.

        Only what fails before the first event is repeated. Closing the generator closes the
        connection, so that the server stops generating.
        """
        return self._stream(path, body, seconds)

    async def aclose(self) -> None:
        """Close the running event loop's sockets; they open again when needed."""
        with self._lock:
            held = self._clients.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    # -- one attempt after another ------------------------------------------------------------

    async def _stream(
        self, path: str, body: dict[str, Any], seconds: float | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        began = time.monotonic()
        until = began + self._seconds(seconds)

        async def begin(client: AsyncOpenAI, options: RequestOptions) -> tuple[Any, Events | None]:
            """The first event, and the stream that goes on behind it."""
            from reverie.models.wire.sdk import Events

            events = await client.post(
                self._url(path),
                cast_to=object,
                body=body,
                options=options,
                stream=True,
                stream_cls=Events,
            )
            try:
                whole = await _whole(events)
                if whole is not None:
                    return whole, None
                return await anext(events, None), events
            except BaseException:
                await events.close()
                raise

        document, events = await self._repeat(begin, seconds, streaming=True)
        failure: ReverieError | None = None
        try:
            while document is not None:
                given = time.monotonic()
                yield document  # cast_to=object: whatever the JSON was
                if events is None:
                    return
                until += time.monotonic() - given  # the caller's own time is not the server's
                try:
                    async with asyncio.timeout(until - time.monotonic()):
                        document = await anext(events, None)
                except Exception as error:  # noqa: BLE001  # it leaves as a typed error
                    failure = self._typed(error, began)
                    break
        finally:
            if events is not None:
                await events.close()
        if failure is not None:
            raise failure

    async def _repeat(
        self,
        once: Callable[[AsyncOpenAI, RequestOptions], Awaitable[T]],
        seconds: float | None,
        *,
        streaming: bool = False,
    ) -> T:
        from reverie.models.wire.failures import NoTime, in_passing

        began = time.monotonic()
        until = began + self._seconds(seconds)
        attempt = 0
        failure: ReverieError | None = None
        while failure is None:
            try:
                client = await self._client()
                left = until - time.monotonic()
                if left <= 0:
                    raise NoTime
                async with asyncio.timeout(left):
                    return await once(client, self._options(left, streaming=streaming))
            except Exception as error:  # noqa: BLE001  # whatever it is, it leaves as a typed error
                attempt += 1
                wait = _wait(error, attempt)
                late = time.monotonic() + wait >= until
                if attempt > self.endpoint.retries or late or not in_passing(error):
                    failure = self._typed(error, began)
            if failure is None:
                await asyncio.sleep(wait)
        raise failure  # not in the handler: its context would be what may show a secret

    def _typed(self, error: Exception, began: float) -> ReverieError:
        """The error as a typed one that keeps the endpoint's secrets."""
        from reverie.models.wire.failures import typed

        failure = typed(error, self.endpoint, time.monotonic() - began)
        return self.secrets.kept(failure, error)

    # -- what an attempt needs -----------------------------------------------------------------

    def _seconds(self, seconds: float | None) -> float:
        most = self.endpoint.deadline_seconds
        return most if seconds is None else min(seconds, most)

    def _options(self, left: float, *, streaming: bool) -> RequestOptions:
        import httpx2

        endpoint = self.endpoint
        # Without streaming nothing comes until all is written: silence says nothing then.
        silence = min(endpoint.idle_seconds, left) if streaming else left
        return {
            "headers": self._headers,
            "timeout": httpx2.Timeout(silence, connect=endpoint.connect_seconds, pool=left),
        }

    def _url(self, path: str) -> str:
        return self.endpoint.root + path[1:] if path.startswith("//") else path

    async def _client(self) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is None:
            from reverie.models.wire.sdk import open_sdk

            client = await asyncio.to_thread(open_sdk, self.endpoint)
            closing = _closing(self._clients, self._lock, loop, client)
            await anext(closing)
            with self._lock:
                for ended in [known for known in self._clients if known.is_closed()]:
                    del self._clients[ended]
                # Another task may have been faster; its client has the connections then.
                held = self._clients.setdefault(loop, (client, closing))
            if held[1] is not closing:
                await closing.aclose()
        return held[0]


async def _closing(
    clients: Clients, lock: threading.Lock, loop: asyncio.AbstractEventLoop, client: AsyncOpenAI
) -> AsyncGenerator[None, None]:
    """Closes the client when it is closed itself. ``asyncio.run`` does that with every generator
    that is open when its loop ends, and so no socket outlives the loop.
    """
    try:
        yield
    finally:
        with lock:
            if loop in clients and clients[loop][0] is client:
                del clients[loop]
        await client.close()


def _abandon(clients: Clients) -> None:
    """Close the sockets of a connection that nobody holds any more, each in its own loop."""
    for loop, (_, closing) in list(clients.items()):
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lambda closing: asyncio.ensure_future(_end(closing)), closing)


async def _end(closing: AsyncGenerator[None, None]) -> None:
    await closing.aclose()


async def _whole(events: Events) -> Any:
    """The whole document, when the server did not stream although it was asked to."""
    from reverie.models.wire.failures import NotJson

    kind = events.response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith("json") and not kind.endswith("stream+json"):
        return _json(await _text(events))
    if "html" in kind:
        raise NotJson(await _text(events), kind)
    return None


async def _text(events: Events) -> str:
    return (await events.response.aread()).decode("utf-8", "replace")


def _json(value: object) -> Any:
    """JSON as it is; text, which the SDK gives for other content types, read as JSON."""
    from reverie.models.wire.failures import NotJson

    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise NotJson(value) from None


def _wait(error: Exception, attempt: int) -> float:
    """Seconds until the next attempt: what Retry-After asks, or a random part of a growing span
    (full jitter: callers that failed together do not come back together).
    """
    import openai

    from reverie.models.wire.refusal import retry_after

    if isinstance(error, openai.APIStatusError):
        asked = retry_after(error.response.headers, time.time())
        if asked is not None:
            return asked + random.uniform(0, min(0.1 * asked, 1.0))  # noqa: S311  # no secret
    return random.uniform(0, min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT))  # noqa: S311  # as above
