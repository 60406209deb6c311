"""Checkpoints in a PostgreSQL database, through LangGraph's saver for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from reverie.agents.checkpoints import Checkpoints, InThread, Offloaded
from reverie.errors import ConfigError, KnowledgeUnavailable

_CONNECT_SECONDS = 5
_SETTING = "runs.postgres"


def open_postgres(address: str) -> Checkpoints:
    """Connect to the database at ``address`` and make its tables where they are missing. Blocks.

    Raises ConfigError without the extra ``postgres`` or for an address that is none, and
    KnowledgeUnavailable when the server does not let us in. No message has the password in it.
    """
    try:
        import psycopg
        from psycopg.rows import dict_row
        from psycopg_pool import ConnectionPool
    except ImportError as error:
        raise ConfigError(
            f"{_SETTING} needs the PostgreSQL client, which is not installed",
            hint="pip install 'reverie[postgres]'",
        ) from error
    place, secrets = _read(address)
    options: dict[str, Any] = {
        "autocommit": True,
        "prepare_threshold": 0,
        "row_factory": dict_row,
        "connect_timeout": _CONNECT_SECONDS,
    }
    errors = partial(_translated, place, secrets)
    with errors(), psycopg.connect(address, **options):
        pass  # says why it cannot be, where a pool would only wait
    # One connection, checked before use: a server that was started anew in between is no error.
    pool = ConnectionPool(
        address,
        min_size=1,
        max_size=1,
        kwargs=options,
        check=ConnectionPool.check_connection,
        timeout=_CONNECT_SECONDS,
        open=False,
    )
    off = Offloaded(errors)
    try:
        with errors():
            pool.open()
            saver = _saver(pool, off)
            saver.setup()  # type: ignore[attr-defined]  # every saver of a database has it
    except BaseException:
        pool.close()
        off.close()
        raise
    return Checkpoints(saver, [], place, _closing(off, pool))


def _saver(pool: Any, off: Offloaded) -> BaseCheckpointSaver[Any]:
    from langgraph.checkpoint.postgres import PostgresSaver

    class InDatabase(InThread, PostgresSaver):
        """Made here, since its base is not always installed."""

    saver = InDatabase(pool)
    saver.off = off
    return saver


def _closing(off: Offloaded, pool: Any) -> Callable[[], None]:
    once = threading.Lock()

    def close() -> None:
        if once.acquire(blocking=False):
            off.close()
            pool.close()

    return close


def _read(address: str) -> tuple[str, tuple[str, ...]]:
    """The database in words, and what no message may show. Raises ConfigError."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(address)
    except ProgrammingError:
        # Its own words repeat the address, with the password in it.
        raise ConfigError(
            f"{_SETTING} is no address of a PostgreSQL database",
            hint="write it as postgresql://USER:PASSWORD@HOST:PORT/NAME",
        ) from None
    name = found.get("dbname") or found.get("user") or ""
    place = f"the PostgreSQL database {name!r} at {found.get('host') or 'this machine'}"
    if found.get("port"):
        place += f":{found['port']}"
    return place, tuple(str(found[key]) for key in ("password", "sslpassword") if found.get(key))


@contextlib.contextmanager
def _translated(place: str, secrets: tuple[str, ...]) -> Iterator[None]:
    """PostgreSQL's errors as KnowledgeUnavailable, without ``secrets``."""
    from psycopg import Error, OperationalError
    from psycopg_pool import PoolTimeout

    try:
        yield
    except (Error, PoolTimeout) as error:
        said = " ".join(str(error).split())
        for secret in secrets:
            said = said.replace(secret, "***")
        down = isinstance(error, OperationalError | PoolTimeout)
        raise KnowledgeUnavailable(
            f"{place} cannot be used for checkpoints: {said}",
            hint=f"see whether it runs, and look at {_SETTING}: user, password and name"
            if down
            else "the user must be allowed to create tables there",
        ) from None
