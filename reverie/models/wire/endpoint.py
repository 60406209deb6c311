"""Where a model is served and how it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address and what a request to it needs beside its body.

    ``address`` is the base URL, mostly ending in ``/v1``, without a slash at the end and without
    user name or password. ``key`` and the values of ``headers`` are secrets: they are left out of
    ``repr`` and are struck out of everything that is said or logged.
    """

    address: str
    key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_bundle: Path | None = None
    """Certificates to trust beside the system's, as a PEM file."""
    proxy: str = field(default="", repr=False)
    connect_seconds: float = 5.0
    idle_seconds: float = 60.0
    """Longest silence in a reply that is streamed."""
    deadline_seconds: float = 600.0
    """Longest time for a whole call, its retries included."""
    retries: int = 3
    connections: int = 256
    """Most connections at the same time; further calls wait."""
    most_bytes: int = 32 << 20
    """Largest response that is read."""

    def __hash__(self) -> int:
        return hash((self.address, self.key, tuple(sorted(self.headers.items())), self.proxy))

    @property
    def root(self) -> str:
        """The server's address without the path: ``http://127.0.0.1:8000``."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: the key, header values, and a proxy's password."""
        found = [self.key, *self.headers.values()]
        if self.proxy:
            parts = urlsplit(self.proxy)
            found += [parts.password or ""]
        return tuple(dict.fromkeys(value for value in found if value))
