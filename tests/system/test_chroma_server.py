"""Vectors on a real ``chroma run``, also one that is slow, stopped, killed, or none at all."""

from __future__ import annotations

import asyncio
import http.server
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.evals.bench.chroma_run import ChromaRun, chroma_run
from reverie.knowledge.vectors import VectorStore, open_vectors
from reverie.settings import Settings, load_settings
from tests.contract.vector_suite import EMBEDDER, D, VectorSuite, fill, found, units

pytest.importorskip("chromadb", reason="chromadb is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaRun]:
    with chroma_run(tmp_path_factory.mktemp("chroma")) as running:
        yield running


@pytest.fixture
def name() -> str:
    """Another one for every test: the server is one for all."""
    return f"documents {uuid.uuid4()}"


def settings_for(url: str, **environment: str) -> Settings:
    return load_settings(env={"REVERIE_CHROMA_URL": url, **environment}).settings


async def opened(url: str, name: str, **environment: str) -> VectorStore:
    settings = settings_for(url, **environment)
    return await open_vectors(settings, name, embedder=EMBEDDER, dimension=D)


class TestChromaServer(VectorSuite):
    @pytest.fixture
    async def store(self, server: ChromaRun, name: str) -> AsyncIterator[VectorStore]:
        store = await opened(server.url, name)
        yield store
        await store.close()


async def test_two_clients_share_what_is_there(server: ChromaRun, name: str) -> None:
    first, second = await asyncio.gather(opened(server.url, name), opened(server.url, name))
    await fill(first, range(250))

    assert await second.epoch() == await first.epoch()
    assert (await found(second, 7))[0] == "r7"
    await second.clear()  # the collection that the first one knows is gone
    assert (await first.count(), await first.epoch()) == (0, await second.epoch())
    await fill(first, [1])
    assert await found(second, 1) == ["r1"]
    await first.close()
    await second.close()


async def test_another_length_of_vectors_is_refused(server: ChromaRun, name: str) -> None:
    await (await opened(server.url, name)).close()

    with pytest.raises(KnowledgeUnavailable, match=f"with {D} numbers"):
        await open_vectors(settings_for(server.url), name, embedder=EMBEDDER, dimension=D + 1)


async def test_a_server_that_does_not_answer_is_waited_for_only_so_long(
    server: ChromaRun, name: str
) -> None:
    store = await opened(server.url, name, REVERIE_CHROMA_SECONDS="0.7")
    await fill(store, range(3))
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(KnowledgeUnavailable, match=r"within 0\.7 s") as caught:
            await found(store, 1)
        assert "chroma.seconds" in caught.value.hint
        with pytest.raises(KnowledgeUnavailable, match=r"within 0\.7 s"):
            await fill(store, [5])
    finally:
        server.signal(signal.SIGCONT)
    assert (await found(store, 1))[0] == "r1"
    await store.close()


async def test_a_server_that_dies_is_said_and_found_again(tmp_path: Path, name: str) -> None:
    server = ChromaRun(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        store = await opened(server.url, name)
        await fill(store, range(3))
        await asyncio.to_thread(server.kill)

        for work in (found(store, 1), fill(store, [4]), store.count(), opened(server.url, name)):
            with pytest.raises(KnowledgeUnavailable, match=r"reached|broke") as caught:
                await work
            assert "chroma run" in caught.value.hint
            assert "REVERIE_CHROMA_URL" in caught.value.hint

        await asyncio.to_thread(server.start)
        assert (await found(store, 1))[0] == "r1"
        await store.close()
    finally:
        await asyncio.to_thread(server.kill)


class _Website(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers))  # type: ignore[attr-defined]  # set below
        self.send_response(200 if "heartbeat" in self.path else 404)
        self.end_headers()
        self.wfile.write(b"<html><body>Welcome</body></html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def website() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Website) as running:
        running.seen = []  # type: ignore[attr-defined]  # what it was asked with
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


async def test_what_is_no_chroma_is_said(website: http.server.HTTPServer, name: str) -> None:
    url = f"http://127.0.0.1:{website.server_port}"

    with pytest.raises(KnowledgeUnavailable, match="no Chroma server") as caught:
        await opened(url, name, REVERIE_CHROMA_HEADERS='{"x-chroma-token": "secret-1"}')

    assert "chroma.headers" in caught.value.hint
    assert "secret-1" not in str(caught.value)
    assert website.seen[0]["x-chroma-token"] == "secret-1"  # type: ignore[attr-defined]  # as above


async def test_headers_go_to_no_other_server(
    server: ChromaRun, website: http.server.HTTPServer, name: str
) -> None:
    """As they would with chromadb's own client, which has one for all of a process."""
    store = await opened(server.url, name, REVERIE_CHROMA_HEADERS='{"x-chroma-token": "secret-2"}')

    with pytest.raises(KnowledgeUnavailable):
        await opened(f"http://127.0.0.1:{website.server_port}", name)
    await store.write([], units([0])[:0])
    await store.close()

    assert website.seen  # type: ignore[attr-defined]  # as above
    assert "secret-2" not in str(website.seen)  # type: ignore[attr-defined]  # as above
