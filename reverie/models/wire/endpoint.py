"""Where a model is served and how it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from reverie.errors import ConfigError

_PROXIES = ("http", "https", "socks5", "socks5h")


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
            # Not by urlsplit: a proxy's address that is none may hold a password all the same.
            user, at, _ = self.proxy.rpartition("@")
            found += [user.rpartition("//")[2].partition(":")[2]] if at else []
        return tuple(dict.fromkeys(value for value in found if value))


def plain_address(address: str) -> str:
    """``address`` in the one way in which it is written.

    Raises ConfigError when it is none, and when it holds a password: addresses are shown.
    """
    from reverie.models.profiles import normalised

    if "@" in address:
        raise ConfigError(
            "the address of a model server holds a user name or password, and addresses are shown",
            hint="give them in a header of their own (model.headers), as Authorization",
        )
    plain = normalised(address)
    if not plain.startswith(("http://", "https://")):
        raise ConfigError(
            f"{address!r} is not the address of a server",
            hint="it begins with http:// or https://",
        )
    return plain


def require_proxy(proxy: str) -> None:
    """Raise ConfigError for what is no address of a proxy that can be used."""
    if not proxy:
        return
    scheme = ""
    try:
        parts = urlsplit(proxy)
        if parts.scheme in _PROXIES and parts.hostname and parts.port != 0:
            scheme = parts.scheme
    except ValueError:
        pass  # no number for a port, a bracket that does not close
    if not scheme:  # not shown: it may hold a password
        raise ConfigError(
            "the proxy's address is none",
            hint=f"write model.proxy as in http://HOST:PORT; it begins with {', '.join(_PROXIES)}",
        )
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(
            f"for a proxy that begins with {scheme}, a package is missing",
            hint="pip install socksio",
        )
