"""The server's socket and event loop, in whichever thread or process it runs."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from reverie.evals.quirks.connection import Connection
from reverie.evals.quirks.service import Service

Tls = tuple[str | Path, str | Path]
"""The files of certificate chain and private key."""

HOST = "127.0.0.1"
_BACKLOG = 1024
_ACCEPTING_SECONDS = 0.01
_CLOSING_SECONDS = 5.0


@contextlib.asynccontextmanager
async def listening(
    service: Service, connections: set[Connection], *, port: int = 0, tls: Tls | None = None
) -> AsyncIterator[str]:
    """Serves while it is open, and gives the address. Closing ends every connection at once."""
    context = None
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(service, connections), HOST, port, ssl=context, backlog=_BACKLOG
    )
    try:
        bound = server.sockets[0].getsockname()[1]
        yield f"{'http' if tls is None else 'https'}://{HOST}:{bound}/v1"
    finally:
        server.close()
        # What was accepted in the last moment becomes a connection, to be closed like the others.
        await asyncio.sleep(_ACCEPTING_SECONDS)
        closing = [connection.closed for connection in connections]
        for connection in list(connections):
            connection.abort()
        if closing:
            await asyncio.wait(closing, timeout=_CLOSING_SECONDS)
            await asyncio.sleep(0)  # the loop closes a socket right after its protocol hears of it
