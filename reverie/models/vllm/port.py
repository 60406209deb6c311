"""A port that nobody uses, kept free of other servers of Reverie until this one listens on it."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from reverie.errors import ConfigError

FIRST = 8811
_TRIES = 200


@contextlib.contextmanager
def reserved_port(host: str, wanted: int | None) -> Iterator[int]:
    """A free port of ``host``: ``wanted``; 0: any; None: the first free one from 8811.

    vLLM takes seconds until it listens. Until the end of the block no other process of this user
    gets the same port from here. Raises ConfigError when the port is taken or the host is wrong.
    """
    for candidate in _candidates(wanted):
        port = _free(host, candidate, must=bool(wanted))
        if port is None:
            continue
        lock = _lock(port)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if wanted:
                raise _taken(host, port, "another `reverie up` is starting on it") from None
            continue
        except OSError:  # a lock is a courtesy: without it, the later server says that it lost
            yield port
            return
        try:
            yield port
        finally:
            lock.release()
        return
    raise ConfigError(
        f"no port of {host} from {FIRST} to {FIRST + _TRIES - 1} is free",
        hint="choose one with --port, or any free one with --port 0",
    )


def _candidates(wanted: int | None) -> Sequence[int]:
    if wanted is None:
        return range(FIRST, FIRST + _TRIES)
    return [wanted] if wanted else [0] * _TRIES


def _free(host: str, port: int, *, must: bool) -> int | None:
    """The port if it can be listened on now. ``must``: raise ConfigError if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            # Bound is not enough: with SO_REUSEADDR two may bind until one of them listens.
            listener.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and not must:
                return None
            raise _taken(host, port, error.strerror or str(error)) from error
        except UnicodeError as error:  # a label of the name is too long
            raise _taken(host, port, str(error)) from error
        return int(listener.getsockname()[1])


def _taken(host: str, port: int, why: str) -> ConfigError:
    return ConfigError(
        f"cannot listen on {host} port {port}: {why}",
        hint="choose another one with --port (0: any free one), and the address with --host",
    )


def _lock(port: int) -> FileLock:
    folder = user_cache_path("reverie", appauthor=False)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    # It is released wherever the server is stopped, which may be another thread.
    return FileLock(folder / f"port-{port}.lock", thread_local=False)
