"""A server that is not there, refuses, stalls, or dies: typed errors, and nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.graph.neo4j import Neo4jGraph
from reverie.knowledge.graph.records import Batch
from reverie.settings import Neo4jSettings
from tests.contract.graph_examples import DIMENSION, EMBEDDER, causes, chain, link, thing
from tests.system.neo4j.conftest import PASSWORD, Server, run


@pytest.fixture
def server(neo4j_server: Server) -> Iterator[Server]:
    """The shared one, wherever it was left."""
    yield neo4j_server
    neo4j_server.start_if_killed()


def settings(uri: str, **more: Any) -> Neo4jSettings:
    wanted = {"password": PASSWORD, "connect_seconds": 10, "query_seconds": 60, **more}
    return Neo4jSettings.model_validate({"uri": uri, **wanted})


async def opened(wanted: Neo4jSettings) -> Neo4jGraph:
    return await Neo4jGraph.open(wanted, embedder=EMBEDDER, dimension=DIMENSION)


async def refusal(wanted: Neo4jSettings) -> KnowledgeUnavailable:
    """The error of opening it, which holds no password, nor do those behind it."""
    began = time.monotonic()
    with pytest.raises(KnowledgeUnavailable) as caught:
        await opened(wanted)
    assert time.monotonic() - began < wanted.connect_seconds + 5
    assert caught.value.hint
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert "made up" not in str(caught.value)
    return caught.value


async def test_nothing_is_there() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        for scheme in ("bolt", "neo4j"):
            error = await refusal(settings(f"{scheme}://127.0.0.1:{held.getsockname()[1]}"))
            assert "neo4j.uri" in error.hint


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"", None])
async def test_something_else_is_there(says: bytes | None) -> None:
    """A program that answers in its own way, hangs up, or says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                if says is not None:
                    connection.sendall(says)
                    connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        await refusal(settings(f"bolt://127.0.0.1:{port}", connect_seconds=1))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


async def test_it_refuses(server: Server) -> None:
    wrong = await refusal(settings(server.uri, password="made-up-password"))
    assert "neo4j.password" in wrong.hint
    none = await refusal(settings(server.uri, password=None))
    assert "wants a user and a password" in none.message
    database = await refusal(settings(server.uri, database="nosuchdatabase"))
    assert "nosuchdatabase" in database.message
    assert "neo4j.database" in database.hint


async def test_a_newer_schema_is_refused(server: Server, empty: Neo4jSettings) -> None:
    await (await opened(settings(server.uri))).close()
    set_schema = "MATCH (s:ReverieStore) SET s.schema = $schema"
    await run(settings(server.uri), set_schema, schema=99)
    error = await refusal(settings(server.uri))
    assert "newer Reverie" in error.message
    await run(settings(server.uri), set_schema, schema=1)


@pytest.fixture
async def store(server: Server, empty: Neo4jSettings) -> AsyncIterator[Neo4jGraph]:
    store = await opened(settings(server.uri))
    yield store
    await store.close()


@pytest.fixture
async def hasty(store: Neo4jGraph, server: Server) -> AsyncIterator[Neo4jGraph]:
    """One that waits 3 s at most. ``store`` has asked the same before: a server that has just
    started takes its time.
    """
    await _use(store)
    hasty = await opened(settings(server.uri, query_seconds=3))
    yield hasty
    await hasty.close()


async def _use(store: Neo4jGraph) -> None:
    await store.write(chain("before", "after"))
    await store.count()
    await store.edges(relations=["causes"])
    await store.size()
    await store.nodes(["before"])
    await store.find("kept 5")


async def test_it_stalls(server: Server, hasty: Neo4jGraph) -> None:
    store = hasty
    await store.write(chain("before", "after"))
    server.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        for asked in (store.count(), store.write(chain("while", "stopped"))):
            with pytest.raises(KnowledgeUnavailable, match="within 3 s") as caught:
                await asked
            assert "query_seconds" in caught.value.hint
        assert time.monotonic() - began < 2 * 3 + 3
    finally:
        server.signal(signal.SIGCONT)
    assert set(await store.nodes(["before", "after"])) == {"before", "after"}
    await store.write(chain("after", "that"))


async def test_it_dies_in_the_middle_of_a_write(
    server: Server, store: Neo4jGraph, hasty: Neo4jGraph
) -> None:
    random = np.random.default_rng(0)
    acknowledged = []
    for number in range(5):
        acknowledged += await hasty.write(Batch(edges=[causes(f"kept {number}", "is", "there")]))
    before = (await hasty.size()).nodes["entity"]
    many = 8000
    vectors = random.normal(size=(many, DIMENSION)).astype(np.float32)
    large = Batch(
        [thing(f"lost {number}") for number in range(many)],
        [
            *(link(f"lost {number}", f"lost {number + 1}") for number in range(many - 1)),
            link("lost 0", "kept 0"),
        ],
        {f"lost {number}": vectors[number] for number in range(many)},
    )
    async with _held(server, "kept 0"):
        writing = asyncio.create_task(hasty.write(large))
        # All is written, and the commit waits for the node of its last edge.
        while not await _is_committing(server):
            assert not writing.done(), writing
            await asyncio.sleep(0.01)
        server.kill()
    ends = await asyncio.gather(writing, hasty.count(), return_exceptions=True)
    for end in ends:
        assert isinstance(end, KnowledgeUnavailable)
        assert end.hint
    assert hasty.notices == ()

    await asyncio.to_thread(server.start)
    # The same stores, not opened again.
    await _use(store)
    ids = [edge.id for edge in await hasty.edges(relations=["causes"])]
    assert ids == acknowledged
    there = (await hasty.size()).nodes["entity"]
    torn = len(await hasty.nodes([f"lost {number}" for number in range(many)]))
    assert torn in (0, many)
    assert there == before + torn
    (again,) = await hasty.write(Batch(edges=[causes("kept 5", "is", "there")]))
    assert again not in acknowledged
    assert [f.node.id for f in await hasty.find("kept 5")][:1] == ["kept 5"]


@contextlib.asynccontextmanager
async def _held(server: Server, node: str) -> AsyncIterator[None]:
    """The node locked by a transaction that is not Reverie's."""
    import neo4j

    driver = neo4j.AsyncGraphDatabase.driver(server.uri, auth=("neo4j", PASSWORD))
    session = driver.session()
    try:
        other = await session.begin_transaction()
        await (await other.run("MATCH (n:ReverieNode {id: $id}) SET n.x = 1", id=node)).consume()
        yield
    finally:
        session.cancel()  # nothing is asked of a server that may be gone by now
        await session.close()
        await driver.close()


async def _is_committing(server: Server) -> bool:
    rows = await run(
        settings(server.uri),
        "SHOW TRANSACTIONS YIELD statusDetails WHERE statusDetails = 'Committing' RETURN count(*)",
    )
    return bool(rows[0][0])


async def test_a_deadlock_is_tried_again(server: Server, store: Neo4jGraph) -> None:
    """With a transaction that is not Reverie's and takes the same locks the other way round."""
    import neo4j
    import neo4j.exceptions

    await store.write(Batch([thing("contested", "old")]))
    auth = ("neo4j", PASSWORD)
    async with (
        neo4j.AsyncGraphDatabase.driver(server.uri, auth=auth) as driver,
        driver.session() as session,
        await session.begin_transaction() as other,
    ):
        await (await other.run("MATCH (n:ReverieNode {id: 'contested'}) SET n.x = 1")).consume()
        writing = asyncio.create_task(store.write(Batch([thing("contested", "new")])))
        await asyncio.sleep(0.3)
        try:
            await (await other.run("MATCH (s:ReverieStore) SET s.x = 1")).consume()
            await other.commit()
        except neo4j.exceptions.TransientError:
            pass  # the server chose to end this one
    await writing
    assert (await store.nodes(["contested"]))["contested"].text == "new"
