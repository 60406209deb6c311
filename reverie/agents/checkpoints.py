"""Where runs are checkpointed: one SQLite file under home, or a PostgreSQL database.

LangGraph's synchronous savers are driven from one thread of their own: a step then takes one hop
to that thread and not one per statement, and the same saver serves every event loop.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.sqlite import SqliteSaver

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.database import open_foreign, translated

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig

    from reverie.settings import Settings

T = TypeVar("T")


@dataclass(slots=True)
class Checkpoints:
    """An open checkpointer. ``close`` it."""

    saver: BaseCheckpointSaver[Any]
    notices: list[str]
    """What a person should be told of opening it, such as a damaged file set aside."""
    place: str
    """Where it writes, in words; no password."""
    _close: Callable[[], None]

    def close(self) -> None:
        """Blocks; a second call does nothing."""
        self._close()


def open_checkpoints(settings: Settings) -> Checkpoints:
    """Open the checkpointer that the settings describe. Blocks.

    Raises KnowledgeUnavailable, and ConfigError when PostgreSQL's client is not installed.
    """
    if settings.runs.postgres is None:
        return _open_sqlite(settings.home / "checkpoints.sqlite")
    from reverie.agents.postgres import open_postgres

    return open_postgres(settings.runs.postgres.get_secret_value())


class InThread(BaseCheckpointSaver[Any]):
    """The asynchronous methods of a saver, by its synchronous ones in a thread. Comes before the
    saver among the bases.
    """

    off: Offloaded

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self.off(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        def listed() -> list[CheckpointTuple]:
            return list(self.list(config, filter=filter, before=before, limit=limit))

        for found in await self.off(listed):
            yield found

    async def aput(
        self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any
    ) -> RunnableConfig:
        return await self.off(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await self.off(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await self.off(self.delete_thread, thread_id)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        # By keyword: the method takes nothing else.
        history = functools.partial(self.get_delta_channel_history, config=config)
        return await self.off(functools.partial(history, channels=channels))


class Offloaded:
    """Calls functions in a thread of its own, in order, within a context that translates errors."""

    def __init__(self, errors: Callable[[], AbstractContextManager[Any]]) -> None:
        self._errors = errors
        self._thread = ThreadPoolExecutor(1, "reverie-checkpoints")

    async def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._call, function, *arguments)
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            raise KnowledgeUnavailable(
                "the checkpoints are closed", hint="the reasoner was closed during a run"
            ) from error

    def close(self) -> None:
        """Wait for what was asked for, and end the thread."""
        self._thread.shutdown()

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        with self._errors():
            return function(*arguments)


class _Sqlite(InThread, SqliteSaver):
    def __init__(self, connection: sqlite3.Connection, off: Offloaded) -> None:
        super().__init__(connection)
        self.off = off


def _open_sqlite(path: Path) -> Checkpoints:
    connection, notices = open_foreign(path, "store of checkpoints")
    try:
        # One transaction for all writes of a task; the file is opened with one per statement.
        connection.isolation_level = "DEFERRED"
        off = Offloaded(functools.partial(translated, path))
        saver = _Sqlite(connection, off)
        with translated(path):
            saver.setup()
    except BaseException:
        connection.close()
        raise
    once = threading.Lock()

    def close() -> None:
        if once.acquire(blocking=False):
            off.close()
            connection.close()

    return Checkpoints(saver, notices, str(path), close)
