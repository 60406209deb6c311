"""One server: requests out, JSON and events in, failures as typed errors."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, finalize

from reverie.models.wire.endpoint import Endpoint
from reverie.models.wire.format import Documents
from reverie.models.wire.secrecy import Secrets

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai._types import RequestOptions

    from reverie.models.wire.sdk import Events

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
        import reverie.models.wire.failures  # here, not within an event loop
        from reverie.models.wire.sdk import request_headers

        self.endpoint = endpoint
        self.secrets = Secrets(endpoint.secrets)
        self._headers = request_headers(endpoint)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = (
            WeakKeyDictionary()
        )
        self._lock = threading.Lock()
        guard = self.secrets.guard_logs()
        if guard is not None:
            finalize(self, guard.lift)

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
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

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

        first, events = await self._repeat(begin, seconds, streaming=True)
        if first is not None:
            yield first
        if first is None or events is None:
            return
        try:
            async with self._failing(began):
                while True:
                    async with asyncio.timeout(until - time.monotonic()):
                        document = await anext(events, None)
                    if document is None:
                        return
                    yield document  # type: ignore[misc]  # cast_to=object: whatever the JSON was
        finally:
            await events.close()

    async def _repeat(
        self,
        once: Callable[[AsyncOpenAI, RequestOptions], Awaitable[T]],
        seconds: float | None,
        *,
        streaming: bool = False,
    ) -> T:
        from reverie.models.wire.failures import in_passing

        began = time.monotonic()
        until = began + self._seconds(seconds)
        async with self._failing(began):
            client = await self._client()
            attempt = 0
            while True:
                try:
                    left = until - time.monotonic()
                    async with asyncio.timeout(left):
                        return await once(client, self._options(left, streaming=streaming))
                except Exception as error:
                    attempt += 1
                    wait = _wait(error, attempt)
                    late = time.monotonic() + wait >= until
                    if attempt > self.endpoint.retries or late or not in_passing(error):
                        raise
                await asyncio.sleep(wait)

    @asynccontextmanager
    async def _failing(self, began: float) -> AsyncGenerator[None]:
        """Turn whatever is raised into a typed error that keeps the endpoint's secrets."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever it is, it leaves as a typed error
            from reverie.models.wire.failures import typed

            failure = typed(error, self.endpoint, time.monotonic() - began)
            failure.message = self.secrets.strike(failure.message)
            failure.hint = self.secrets.strike(failure.hint)
            failure.args = (failure.message,)
            raise failure from self.secrets.safe_cause(error)

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
        client = self._clients.get(loop)
        if client is None:
            from reverie.models.wire.sdk import open_sdk

            opened = await asyncio.to_thread(open_sdk, self.endpoint)
            with self._lock:
                # Another task may have been faster; its client has the connections then.
                client = self._clients.setdefault(loop, opened)
        return client


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
