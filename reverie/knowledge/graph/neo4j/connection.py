"""The connection to a Neo4j server: one event loop of its own, which any other may ask."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reverie.errors import ConfigError, KnowledgeUnavailable, ReverieError
from reverie.knowledge.graph.neo4j.errors import driver_error, no_answer
from reverie.settings import Neo4jSettings

if TYPE_CHECKING:
    import neo4j

T = TypeVar("T")

_OLDEST: Final = (5, 23)
"""The first Neo4j whose vector indexes can keep numbers as they are."""


class Transaction:
    """What queries run in. All of it is stored, or nothing."""

    def __init__(self, driver: neo4j.AsyncManagedTransaction, progress: Callable[[], None]) -> None:
        self._driver = driver
        self._progress = progress

    async def rows(self, query: str, /, **values: Any) -> list[list[Any]]:
        """Runs a query, whose text is always a constant, and returns the values of each row."""
        result = await self._driver.run(query, values)
        rows = await result.values()
        self._progress()
        return rows

    async def records(self, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query by the names of their columns."""
        result = await self._driver.run(query, dict(values))
        rows = await result.data()
        self._progress()
        return rows

    async def one(self, query: str, /, **values: Any) -> Any:
        """The first value of the first row."""
        return (await self.rows(query, **values))[0][0]


class Connection:
    """A driver, and the thread whose event loop it is bound to.

    A driver's sockets belong to one event loop, while a store may be asked from several, one after
    the other or at once. Turning rows into messages takes time, too, and so blocks nobody's loop.
    """

    def __init__(self, settings: Neo4jSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="reverie-neo4j", daemon=True)
        self._driver: neo4j.AsyncDriver | None = None
        self._closed = False

    @classmethod
    async def open(cls, settings: Neo4jSettings) -> Connection:
        """Connects. Raises ``KnowledgeUnavailable`` within about ``connect_seconds``, and
        ``ConfigError`` without the driver.
        """
        await asyncio.to_thread(_import_driver)
        connection = cls(settings)
        connection._thread.start()
        try:
            await connection._call(connection._connect())
        except BaseException:
            await asyncio.shield(connection.close())
            raise
        return connection

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs ``work`` in a transaction that reads, again when it fails for a passing reason."""
        return await self._call(self._within(work, "READ"))

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs ``work`` in a transaction that writes, again when it fails for a passing reason,
        such as a deadlock.
        """
        return await self._call(self._within(work, "WRITE"))

    async def close(self) -> None:
        """Closes the driver and ends the thread; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            closing = asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop)
            await asyncio.wrap_future(closing)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join)

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise KnowledgeUnavailable(
                f"The connection to {self._settings.uri} is closed", hint="Open the store again"
            )
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            # What was cancelled ends now, and transports close their sockets.
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left))
            self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._loop.close()

    async def _connect(self) -> None:
        import neo4j

        settings = self._settings
        with self._translated(settings.connect_seconds):
            self._driver = neo4j.AsyncGraphDatabase.driver(
                str(settings.uri),
                auth=None
                if settings.password is None
                else (settings.user, settings.password.get_secret_value()),
                connection_timeout=settings.connect_seconds,
                connection_acquisition_timeout=settings.connect_seconds + settings.query_seconds,
                max_transaction_retry_time=settings.query_seconds,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
                user_agent="reverie",
            )
            async with asyncio.timeout(settings.connect_seconds):
                info = await self._driver.get_server_info()
        _check_version(info.agent, str(settings.uri))

    async def _disconnect(self) -> None:
        if self._driver is not None:
            # A server that does not answer must not hold up the end.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._settings.connect_seconds):
                    await self._driver.close()

    async def _within(self, work: Callable[[Transaction], Awaitable[T]], mode: str) -> T:
        import neo4j

        assert self._driver is not None, "close() and open() exclude it"  # noqa: S101 # for mypy
        settings = self._settings

        async def managed(driver: neo4j.AsyncManagedTransaction) -> T:
            return await work(Transaction(driver, progress))

        with self._translated(settings.query_seconds):
            # Every query gets the whole time. The limit is around the session, for the driver gives
            # up a connection only when it is cancelled as a whole.
            async with asyncio.timeout(settings.query_seconds) as limit:

                def progress() -> None:
                    limit.reschedule(asyncio.get_running_loop().time() + settings.query_seconds)

                async with self._session(mode) as session:
                    if mode == "READ":
                        # The server gives up as well. Not for writes, which take as long as
                        # they have queries: those end with their connection.
                        timed = neo4j.unit_of_work(timeout=settings.query_seconds)(managed)
                        return await session.execute_read(timed)
                    return await session.execute_write(managed)
        raise AssertionError("unreachable")  # a context manager that swallows errors, to mypy

    @contextlib.asynccontextmanager
    async def _session(self, mode: str) -> AsyncIterator[neo4j.AsyncSession]:
        assert self._driver is not None, "see _within"  # noqa: S101 # for mypy
        async with self._driver.session(
            database=self._settings.database, default_access_mode=mode
        ) as session:
            yield session

    @contextlib.contextmanager
    def _translated(self, seconds: float) -> Any:
        """The driver's errors as ours; those of ours, and our own mistakes, as they are."""
        import neo4j.exceptions

        try:
            yield
        except ReverieError:
            raise
        except TimeoutError as error:
            raise no_answer(self._settings, seconds) from error
        except (neo4j.exceptions.DriverError, neo4j.exceptions.Neo4jError, OSError) as error:
            raise driver_error(error, self._settings) from error


def _import_driver() -> None:
    try:
        import neo4j  # noqa: F401 # whether it is there is the question
    except ModuleNotFoundError as error:
        raise ConfigError(
            "A graph in Neo4j needs the package neo4j",
            hint="pip install 'reverie[knowledge]', or leave neo4j.uri out",
        ) from error


def _check_version(agent: str, uri: str) -> None:
    """``agent`` as in "Neo4j/5.26.0". One that cannot be read is taken to be new enough."""
    numbers = agent.partition("/")[2].lstrip("v").split(".")
    try:
        version = int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return
    if version < _OLDEST:
        raise KnowledgeUnavailable(
            f"{uri} is {agent}, which is too old",
            hint=f"Neo4j {_OLDEST[0]}.{_OLDEST[1]} or newer is needed",
        )
