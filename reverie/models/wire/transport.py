"""The HTTP client below the SDK: certificates, proxy, limits, and no end to patience or memory.

Imports httpx2, which takes long: only modules that are about to send a request import this one.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx2

from reverie.errors import ConfigError
from reverie.models.wire.endpoint import Endpoint
from reverie.models.wire.pool import Pool

_IDLE_SECONDS = 15.0
"""Servers drop idle connections, some after 20 s or less."""


class ResponseTooLarge(Exception):
    """More bytes than ``most`` came."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most} bytes")
        self.most = most


def open_http(endpoint: Endpoint) -> httpx2.AsyncClient:
    """A client for one event loop. Blocks for some milliseconds where certificates are read.

    The environment is not asked for proxies, certificates or passwords: what leaves the machine,
    and how, is set in Reverie's settings alone. Raises ConfigError for an unreadable CA bundle.
    """
    context: ssl.SSLContext | bool = True
    if endpoint.ca_bundle is not None:
        context = _trusting(endpoint)
    elif not endpoint.address.startswith("https:") and not endpoint.proxy.startswith("https:"):
        context = False  # nothing to verify; the system's certificates take 30 ms to read
    shared = httpx2.create_ssl_context(verify=context, trust_env=False)

    def open_one() -> httpx2.AsyncHTTPTransport:
        return httpx2.AsyncHTTPTransport(
            verify=shared,
            trust_env=False,
            limits=httpx2.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS
            ),
            proxy=endpoint.proxy or None,
        )

    pool = Pool(open_one, most=endpoint.connections, idle_seconds=_IDLE_SECONDS)
    return httpx2.AsyncClient(
        transport=_Limited(pool, endpoint.most_bytes), trust_env=False, follow_redirects=False
    )


class _Limited(httpx2.AsyncBaseTransport):
    """Ends a response that grows beyond all reason before it fills the memory."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, most: int) -> None:
        self._inner = inner
        self._most = most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # Compressed, a small response may unpack to a huge one, which nothing here would count.
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._most:
            await response.aclose()
            raise ResponseTooLarge(self._most)
        if isinstance(response.stream, httpx2.AsyncByteStream):  # always, from this transport
            response.stream = _Counted(response.stream, self._most)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for part in self._inner:
            left -= len(part)
            if left < 0:
                raise ResponseTooLarge(self._most)
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


def _trusting(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=endpoint.ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificates in {endpoint.ca_bundle} cannot be read: {error}",
            hint="model.ca_bundle names a file of certificates in PEM format",
        ) from error
    return context
