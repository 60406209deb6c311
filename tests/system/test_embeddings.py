"""The embeddings client and a server over HTTP: good, odd and broken ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.errors import (
    KnowledgeUnavailable,
    ModelRejected,
    ModelUnavailable,
    OutputInvalid,
    ReverieError,
)
from reverie.evals.quirks import Fail, Quirks, QuirkServer
from reverie.evals.quirks.embeddings import vector
from reverie.knowledge.graph import SqliteGraph, seed
from reverie.models.embedder import Embedder
from reverie.models.embeddings import load_embedder
from reverie.settings import Settings

TEXTS = ["a ball is dropped", "it falls down", "", "日本語", "a ball"]
SENT = [text or "." for text in TEXTS]


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Callable[..., Embedder]]:
    """Makes embedders for a server's address, and closes them."""
    made: list[Embedder] = []

    def make(address: str, **options: Any) -> Embedder:
        settings = Settings(
            home=tmp_path,
            embedder={"name": address, **options},
            server={"retries": 1, "deadline_seconds": 3.0, "connect_seconds": 1.0},
        )
        made.append(load_embedder(settings))
        return made[-1]

    yield make
    for embedder in made:
        await embedder.aclose()


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(),
        Quirks(embeddings_unnormalised=True),
        Quirks(embeddings_shuffled=True),
        Quirks(embeddings_base64=True),
        Quirks(embeddings_most=2),
        Quirks(usage="never", embeddings_base64=True, embeddings_shuffled=True),
    ],
    ids=["good", "any length", "shuffled", "base64", "two at a time", "base64 shuffled"],
)
async def test_vectors_are_the_same_whatever_the_server_s_ways(
    quirks: Quirks, connect: Callable[..., Embedder]
) -> None:
    with QuirkServer(quirks) as server:
        embedder = connect(f"{server.address}#toy")

        vectors = await embedder.embed(TEXTS)

        assert embedder.name == f"toy@{server.address}"
        assert (await embedder.embed([])).shape == (0, quirks.dimension)
        await embedder.aclose()
    np.testing.assert_allclose(vectors, [vector(text, 8) for text in SENT], atol=1e-6)


async def test_the_only_model_need_not_be_named(connect: Callable[..., Embedder]) -> None:
    with QuirkServer(Quirks(models=("bge",), dimension=5)) as server:
        embedder = connect(server.address)
        await embedder.load()

        assert (embedder.name, embedder.dimension) == (f"bge@{server.address}", 5)
        await embedder.aclose()
    with QuirkServer(Quirks(models=("bge", "e5"))) as server:
        embedder = connect(server.address)
        with pytest.raises(ReverieError, match="has 2 models") as caught:
            await embedder.load()
        assert f"{server.address}#MODEL: bge, e5" in caught.value.hint
        await embedder.aclose()


async def test_long_texts_are_cut_and_it_is_said(connect: Callable[..., Embedder]) -> None:
    with QuirkServer(Quirks(window=20)) as server:
        embedder = connect(f"{server.address}#toy")

        vectors = await embedder.embed(["short", "word " * 200, "also short"])

        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(vectors[0], vector("short", 8), atol=1e-6)
        assert len(embedder.notices) == 1
        assert server.address in embedder.notices[0]
        await embedder.aclose()


async def test_failures_in_passing_are_repeated(connect: Callable[..., Embedder]) -> None:
    with QuirkServer() as server:
        server.script(Fail(status=503))
        embedder = connect(f"{server.address}#toy")

        assert (await embedder.embed(["a"])).shape == (1, 8)
        assert len(server.requests) == 2
        await embedder.aclose()


@pytest.mark.parametrize(
    ("quirks", "error", "said"),
    [
        (Quirks(embeddings_lost=1), OutputInvalid, "sent 4 vectors for 5 texts"),
        (Quirks(embeddings_lost=5), OutputInvalid, "sent 0 vectors for 5 texts"),
        (Quirks(absent=("/v1/embeddings",)), ModelRejected, "has no embeddings"),
        (Quirks(models=("other",)), ModelRejected, "no such model"),
        (Quirks(html=200), ModelUnavailable, "web page"),
        (Quirks(key="sk-right"), ModelRejected, "key"),
        (Quirks(hang=True), ModelUnavailable, "within"),
        (Quirks(fail=Fail(status=500)), ModelUnavailable, "500"),
    ],
    ids=["one lost", "all lost", "none", "no model", "page", "wrong key", "hangs", "fails"],
)
async def test_what_fails_is_a_typed_error_with_the_address_and_a_remedy(
    quirks: Quirks, error: type[ReverieError], said: str, connect: Callable[..., Embedder]
) -> None:
    with QuirkServer(quirks) as server:
        embedder = connect(f"{server.address}#toy", api_key="sk-wrong")

        async with asyncio.timeout(10):
            with pytest.raises(error, match=said) as caught:
                await embedder.embed(TEXTS)

        assert server.address in caught.value.message
        assert caught.value.hint
        assert "sk-wrong" not in str(caught.value)
        await embedder.aclose()


async def test_nobody_listening_is_an_error_within_the_deadline(
    connect: Callable[..., Embedder],
) -> None:
    with QuirkServer() as server:
        address = server.address
    with pytest.raises(ModelUnavailable, match=address):
        await connect(f"{address}#toy").embed(["a"])


async def test_a_model_that_changes_under_its_name_is_noticed(
    connect: Callable[..., Embedder],
) -> None:
    with QuirkServer(Quirks(dimension=8)) as server:
        embedder = connect(f"{server.address}#toy")
        await embedder.embed(["a"])
        server.quirks = Quirks(dimension=9)

        with pytest.raises(OutputInvalid, match="9 numbers, and before that of 8"):
            await embedder.embed(["a"])
        await embedder.aclose()


async def test_many_calls_at_once_keep_their_texts_apart(connect: Callable[..., Embedder]) -> None:
    with QuirkServer(Quirks(embeddings_shuffled=True)) as server:
        embedder = connect(f"{server.address}#toy")
        groups = [[f"word{i} thing{j}" for j in range(40)] for i in range(20)]

        found = await asyncio.gather(*(embedder.embed(group) for group in groups))

        for vectors, group in zip(found, groups, strict=True):
            np.testing.assert_allclose(vectors, [vector(text, 8) for text in group], atol=1e-6)
        await embedder.aclose()


async def test_a_store_of_one_server_s_vectors_refuses_another_s(
    tmp_path: Path, connect: Callable[..., Embedder]
) -> None:
    path = tmp_path / "graph.sqlite"
    with QuirkServer(Quirks(dimension=32)) as server:
        first = connect(f"{server.address}#toy")
        await first.load()
        store = await SqliteGraph.open(path, embedder=first.name, dimension=first.dimension)
        assert await seed(store, first)
        (match,) = await store.similar((await first.embed(["ice melts"]))[0], limit=1, minimum=0.0)
        assert math.isfinite(match.similarity)
        await store.close()

        with QuirkServer(Quirks(dimension=32)) as elsewhere:
            second = connect(f"{elsewhere.address}#toy")
            await second.load()
            with pytest.raises(KnowledgeUnavailable, match="holds vectors") as caught:
                await SqliteGraph.open(path, embedder=second.name, dimension=second.dimension)
            assert "embedder.name" in caught.value.hint
            await second.aclose()
        await first.aclose()
