"""A Neo4j server for these tests, and stores on it.

``TEST_NEO4J_SERVER`` names the program that starts one (``--home DIR --bolt PORT``); without it the
one in ../shared/neo4j beside the checkout is taken. ``REVERIE_NEO4J_URI``, with
``REVERIE_NEO4J_USER`` and ``REVERIE_NEO4J_PASSWORD``, names one that runs already: what Reverie
keeps in it is deleted, and tests that kill a server start one beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from reverie.knowledge.graph.neo4j import Neo4jGraph
from reverie.settings import Neo4jSettings
from tests.contract.graph_examples import DIMENSION, EMBEDDER, Reopen

pytest.importorskip("neo4j", reason="the extra knowledge is not installed")

# Before the tests' environment is cleaned.
_PROGRAM = os.environ.get("TEST_NEO4J_SERVER")
_RUNNING = {
    name.removeprefix("REVERIE_NEO4J_").lower(): value
    for name, value in os.environ.items()
    if name in ("REVERIE_NEO4J_URI", "REVERIE_NEO4J_USER", "REVERIE_NEO4J_PASSWORD")
}

PASSWORD = "pa55-of-the-tests"

WIPE = (
    "MATCH (n) WHERE n:ReverieNode OR n:ReverieStore OR n:ReverieSource OR n:ReverieAlias "
    "DETACH DELETE n"
)


class Server:
    """A server process. ``start`` it; what it kept in its home is there again."""

    def __init__(self, program: Path, home: Path, *options: str) -> None:
        self._program = program
        self._home = home
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.uri = "bolt://127.0.0.1:0"

    @property
    def port(self) -> int:
        return int(self.uri.rpartition(":")[2])

    def start(self) -> None:
        """On the port that it had, the first time on a free one."""
        port = str(self.port)
        self._process = subprocess.Popen(
            [self._program, "--home", self._home, "--bolt", port, *self._options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("ready "), line
        self.uri = line.split()[1]

    def start_if_killed(self) -> None:
        if self._process is None:
            self.start()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture(scope="session")
def neo4j_program(repository: Path) -> Path:
    beside = repository.parent / "shared" / "neo4j" / "neo4j-server"
    program = Path(_PROGRAM) if _PROGRAM else beside
    if not program.exists():
        pytest.skip(f"no Neo4j server: {program} is not there (TEST_NEO4J_SERVER names another)")
    if shutil.which("java") is None:
        pytest.skip("no Neo4j server: it needs Java 17, which is not installed")
    return program


@pytest.fixture(scope="session")
def neo4j_server(neo4j_program: Path, tmp_path_factory: Any) -> Iterator[Server]:
    """The server that all tests share; whoever kills it starts it again."""
    home = tmp_path_factory.mktemp("neo4j")
    server = Server(neo4j_program, home, "--password", PASSWORD)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def neo4j_settings(request: pytest.FixtureRequest) -> Neo4jSettings:
    chosen = _RUNNING
    if "uri" not in chosen:
        server = request.getfixturevalue("neo4j_server")
        chosen = {"uri": server.uri, "password": PASSWORD}
    # A server that has just started takes its time for everything that is asked first.
    return Neo4jSettings.model_validate({"connect_seconds": 10, "query_seconds": 60, **chosen})


@pytest.fixture(scope="session")
def shared_store(neo4j_settings: Neo4jSettings) -> Iterator[Neo4jGraph]:
    """One store for all tests, each of which has an event loop of its own."""
    asyncio.run(run(neo4j_settings, WIPE))
    opening = Neo4jGraph.open(neo4j_settings, embedder=EMBEDDER, dimension=DIMENSION)
    store = asyncio.run(opening)
    yield store
    asyncio.run(store.close())


@pytest.fixture
async def empty(shared_store: Neo4jGraph, neo4j_settings: Neo4jSettings) -> Neo4jSettings:
    """The shared server without anything of Reverie's in it."""
    await shared_store._connection.write(lambda tx: tx.rows(WIPE))
    return neo4j_settings


async def run(settings: Neo4jSettings, query: str, **values: Any) -> list[list[Any]]:
    """What a query returns, past the store."""
    import neo4j

    password = settings.password
    auth = None if password is None else (settings.user, password.get_secret_value())
    async with neo4j.AsyncGraphDatabase.driver(str(settings.uri), auth=auth) as driver:
        result = await driver.execute_query(query, values)  # type: ignore[arg-type] # a constant
        return [list(record.values()) for record in result.records]


@pytest.fixture
async def reopen(empty: Neo4jSettings) -> AsyncIterator[Reopen]:
    async with contextlib.AsyncExitStack() as stack:

        async def opened(embedder: str = EMBEDDER, dimension: int = DIMENSION) -> Neo4jGraph:
            store = await Neo4jGraph.open(empty, embedder=embedder, dimension=dimension)
            stack.push_async_callback(store.close)
            return store

        yield opened
