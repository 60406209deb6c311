"""The connection to a Chroma server: chromadb's asynchronous client with limits and typed errors.

chromadb's own client keeps its connections in one place for all servers of a process, so that the
headers (a token) of the first one would go to the others too; it does not check certificates, and
waits without end. This one has connections of its own, checks certificates, and gives up after the
seconds of the settings. It runs in an event loop of its own, in a thread: so any event loop may use
it, connections end with it alone, and nobody waits while it turns thousands of vectors into JSON.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from reverie.errors import KnowledgeUnavailable, ReverieError
from reverie.knowledge.vectors.chroma import import_chromadb
from reverie.settings.knowledge import ChromaSettings

T = TypeVar("T")

_START_HINT: Final = (
    "Start it (chroma run --path FOLDER --port PORT), correct chroma.url (REVERIE_CHROMA_URL), or "
    "unset it to keep vectors in a folder under home"
)


class ChromaRefused(KnowledgeUnavailable):
    """The server answered, with an error or with what no Chroma says; ``said`` is that."""

    def __init__(self, url: str, said: str) -> None:
        super().__init__(f"Chroma at {url} refused: {said}")
        self.said = said


class ChromaConnection:
    """A server's API. Get one with ``open``; ``close`` it. Usable from several event loops."""

    def __init__(self, url: str, seconds: float, api: Any, client: Any) -> None:
        self.url = url
        self.api = api
        """chromadb's AsyncServerAPI; to be used within ``ask`` only."""
        self._seconds = seconds
        self._client = client
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="reverie-chroma-server", daemon=True
        )
        self._thread.start()

    @classmethod
    async def open(cls, settings: ChromaSettings) -> ChromaConnection:
        """Connects to ``settings.url``. Raises ``KnowledgeUnavailable`` when no Chroma answers
        there, and ``ConfigError`` where chromadb is missing.
        """
        connection = await asyncio.to_thread(cls._made, settings)
        try:
            await connection.ask(connection.api.heartbeat)
        except ChromaRefused as refused:
            await connection.close()
            raise KnowledgeUnavailable(
                f"What answers at {connection.url} is no Chroma server, or refuses: {refused.said}",
                hint="Correct chroma.url (REVERIE_CHROMA_URL); or chroma.headers, when it wants a "
                "token",
            ) from refused
        except BaseException:
            await connection.close()
            raise
        return connection

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """``work``, which may be done twice: when a connection breaks that was kept open, the
        server may just have been restarted. chromadb's NotFoundError comes out as it is; raises
        ``KnowledgeUnavailable`` otherwise.
        """
        if self._closed:
            raise KnowledgeUnavailable(
                f"The connection to Chroma at {self.url} is closed", hint="Open the store again"
            )
        with self._translated():
            return await self._elsewhere(self._asked(work))

    async def close(self) -> None:
        """Closes every connection; a second call does nothing."""
        if not self._closed:
            self._closed = True
            await self._elsewhere(self._client.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join)
            self._loop.close()

    @classmethod
    def _made(cls, settings: ChromaSettings) -> ChromaConnection:
        import_chromadb()
        import httpx
        from chromadb.api.async_fastapi import AsyncFastAPI
        from chromadb.config import Settings, System

        url = settings.url or ""
        told = Settings(
            _env_file=None,
            chroma_api_impl="chromadb.api.async_fastapi.AsyncFastAPI",
            chroma_server_host=url,
            chroma_server_http_port=0,  # the address has it
            anonymized_telemetry=False,
        )
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        client = httpx.AsyncClient(
            headers={"Content-Type": "application/json", **headers}, timeout=settings.seconds
        )
        api = AsyncFastAPI(System(told))
        # Its method that finds or makes the HTTP client; its classes forbid overriding it.
        vars(api)["_get_client"] = lambda: client
        return cls(url, settings.seconds, api, client)

    async def _elsewhere(self, work: Coroutine[Any, Any, T]) -> T:
        """``work`` in the connection's own event loop. Cancelled when the caller is."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _asked(self, work: Callable[[], Awaitable[T]]) -> T:
        import httpx

        try:
            return await self._in_time(work)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            return await self._in_time(work)

    async def _in_time(self, work: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(self._seconds):
            return await work()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import httpx
        from chromadb.errors import NotFoundError

        try:
            yield
        except (ReverieError, NotFoundError):
            raise
        except (httpx.TimeoutException, TimeoutError) as error:
            raise KnowledgeUnavailable(
                f"Chroma at {self.url} did not answer within {self._seconds:g} s",
                hint="See whether it is overloaded or stopped, or raise chroma.seconds",
            ) from error
        except httpx.ConnectError as error:
            raise KnowledgeUnavailable(
                f"No Chroma server can be reached at {self.url}: {error}", hint=_START_HINT
            ) from error
        except httpx.TransportError as error:
            raise KnowledgeUnavailable(
                f"The connection to Chroma at {self.url} broke: {_said(error)}",
                hint=f"See whether that server still runs. {_START_HINT}",
            ) from error
        except Exception as error:  # chromadb raises many kinds, also bare Exception
            raise ChromaRefused(self.url, _said(error)) from error


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "a web page" if text.lower().startswith(("<!doctype", "<html")) else text[:300]
