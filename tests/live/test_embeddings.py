"""Vectors from a real vLLM: the packaged model, pooled, and what vLLM does with odd texts.

It takes a minute to come up. While working on these tests, start one by hand and name it::

    reverie up smollm2 --port 8823 -- --runner pooling --convert embed &
    TEST_VLLM_EMBEDDINGS=http://127.0.0.1:8823/v1 pytest tests/live/test_embeddings.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reverie.errors import ModelRejected
from reverie.knowledge.graph import SqliteGraph, seed
from reverie.models.embedded.checkpoint import prepare
from reverie.models.embedder import Embedder
from reverie.models.embeddings import ServedEmbedder, load_embedder
from reverie.models.vllm.environment import VllmEnvironment
from reverie.models.vllm.options import VllmOptions
from reverie.models.vllm.server import VllmServer
from reverie.models.wire.connection import Connection
from reverie.models.wire.endpoint import Endpoint
from reverie.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

WINDOW = 512
_RUNNING = os.environ.get("TEST_VLLM_EMBEDDINGS", "")


@pytest.fixture(scope="module")
def address(
    request: pytest.FixtureRequest, model_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if _RUNNING:
        yield _RUNNING
        return
    environment: VllmEnvironment = request.getfixturevalue("vllm_environment")
    options = VllmOptions(
        model=str(prepare(model_cache)),
        name="smollm2-embeddings",
        port=0,
        window=WINDOW,
        dtype="float32",
        kv_cache_gb=1,
        tool_parser=None,
        arguments=("--runner", "pooling", "--convert", "embed"),
        start_seconds=270,
    )
    server = VllmServer(options, environment, logs=tmp_path_factory.mktemp("vllm"))
    with ThreadPoolExecutor(1) as thread:  # apart from the event loops of the tests
        thread.submit(asyncio.run, server.start()).result()
        try:
            yield server.served.address
        finally:
            thread.submit(asyncio.run, server.stop()).result()


@pytest.fixture
async def embedder(address: str) -> AsyncIterator[Embedder]:
    served = load_embedder(Settings(embedder=address))
    await served.load()
    yield served
    await served.aclose()


async def test_vectors_have_length_one_and_the_models_width(embedder: Embedder) -> None:
    vectors = await embedder.embed(["a ball", "", "日本語", "\ud800", "a ball"])

    assert embedder.dimension == 576
    assert vectors.shape == (5, 576)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[4] == pytest.approx(1.0, abs=1e-3)
    assert vectors[0] @ vectors[2] < 0.99
    assert (await embedder.embed([])).shape == (0, 576)


async def test_order_and_batch_do_not_change_a_vector(embedder: Embedder) -> None:
    texts = [f"{'very ' * (i % 9)}small thing number {i}" for i in range(100)]

    together = await embedder.embed(texts)
    alone = np.concatenate([await embedder.embed([text]) for text in texts[::25]])

    np.testing.assert_allclose((together[::25] * alone).sum(axis=1), 1.0, atol=1e-3)


async def test_what_is_too_long_is_cut_by_vllm_at_its_window(embedder: Embedder) -> None:
    long = "word " * 2000

    vectors = await embedder.embed(["before", long, "after"])

    # vLLM keeps the beginning: of a repeated word, any part as long as the window is the same.
    (same,) = await embedder.embed(["word " * 600])
    assert vectors[1] @ same == pytest.approx(1.0, abs=1e-3)
    assert len(embedder.notices) == 1


async def test_vllm_refuses_shorter_vectors_and_unknown_models_in_words(address: str) -> None:
    connection = Connection(Endpoint(address))
    name = load_embedder(Settings(embedder=address))
    await name.load()
    model = name.name.partition("@")[0]
    try:
        with pytest.raises(ModelRejected, match="Matryoshka"):
            await ServedEmbedder(connection, model, dimensions=64).embed(["a"])
        with pytest.raises(ModelRejected, match="no such model"):
            await ServedEmbedder(connection, "other").embed(["a"])
    finally:
        await connection.aclose()
        await name.aclose()


async def test_a_graph_store_is_filled_and_asked_with_them(
    tmp_path: Path, embedder: Embedder
) -> None:
    store = await SqliteGraph.open(
        tmp_path / "graph.sqlite", embedder=embedder.name, dimension=embedder.dimension
    )
    try:
        assert await seed(store, embedder)
        assert not await seed(store, embedder)
        matches = await store.similar((await embedder.embed(["ice melts"]))[0], minimum=0.0)
    finally:
        await store.close()

    assert len(matches) == 3
