"""One server: requests out, JSON and events in, failures as typed errors."""

from __future__ import annotations

from typing import Any

from reverie.models.wire.endpoint import Endpoint
from reverie.models.wire.format import Documents


class Connection:
    """Talks to one endpoint. Usable from several threads and event loops: each loop has its own
    sockets, which ``aclose`` closes.

    Everything raises ReverieError's children, naming the address: ModelUnavailable (``transient``
    when a later call may succeed), ModelRejected, ContextOverflow. Connection errors, timeouts and
    the statuses 408, 409, 429 and 5xx are repeated, with jitter and as Retry-After asks, until the
    deadline; nothing else is. No secret of the endpoint is in any message, cause or log record.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def get(self, path: str, *, seconds: float | None = None) -> Any:
        """The JSON at ``path``, under the address, or under the server's root if it begins with
        ``//`` (``//version`` is http://HOST:PORT/version).
        """
        raise NotImplementedError

    async def post(self, path: str, body: dict[str, Any], *, seconds: float | None = None) -> Any:
        """Send ``body`` and return the JSON that comes back, within ``seconds``."""
        raise NotImplementedError

    def stream(
        self, path: str, body: dict[str, Any], *, seconds: float | None = None
    ) -> Documents:
        """Send ``body`` and return the events that come back, as they come.

        Only what fails before the first event is repeated. Closing the generator closes the
        connection, so that the server stops generating.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close the running event loop's sockets; they open again when needed."""
