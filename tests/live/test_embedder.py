"""The real embedding model: its vectors, and what the motif facts answer with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from reverie.knowledge.graph.motif import seed
from reverie.knowledge.graph.sqlite import SqliteGraph
from reverie.models.embedder import MiniLM

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def embedder(model_cache: Path) -> MiniLM:
    return MiniLM(model_cache)


async def test_vectors_have_length_one_and_the_promised_shape(embedder: MiniLM) -> None:
    vectors = await embedder.embed(["a ball", "", "日本語", "\ud800", "word " * 2000])

    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert (await embedder.embed([])).shape == (0, 384)


async def test_similar_sentences_are_near_and_others_far(embedder: MiniLM) -> None:
    a, b, c = await embedder.embed(
        [
            "A ball is dropped and falls to the ground.",
            "When you let go of a ball it falls down.",
            "The capital of France is Paris.",
        ]
    )

    assert a @ b > 0.7
    assert abs(a @ c) < 0.1


async def test_order_and_batch_do_not_change_a_vector(embedder: MiniLM) -> None:
    texts = [f"{'very ' * (i % 9)}small thing number {i}" for i in range(100)]

    together = await embedder.embed(texts)
    alone = np.concatenate([await embedder.embed([text]) for text in texts[::10]])

    np.testing.assert_allclose((together[::10] * alone).sum(axis=1), 1.0, atol=1e-3)


async def test_many_at_once_load_it_once(model_cache: Path) -> None:
    embedder = MiniLM(model_cache)

    first, *others = await asyncio.gather(*(embedder.embed(["ice melts"]) for _ in range(4)))

    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize(
    ("question", "result"),
    [
        (
            "What happens when I drop a ball?",
            "it falls to the ground because gravity pulls it down",
        ),
        ("What happens to ice left in a warm room?", "it melts into water"),
        ("What happens if I don't water my plants?", "it wilts and dies"),
        ("What happens when you mix blue and yellow paint?", "the mixture is green"),
        ("What happens if you spend more than you earn?", "they run into debt"),
        ("What is the capital of France?", None),
        ("How many legs do three cats have?", None),
        ("What is 17 times 23?", None),
    ],
)
async def test_motif_facts_answer_everyday_questions_and_only_those(
    tmp_path: Path, embedder: MiniLM, question: str, result: str | None
) -> None:
    store = await SqliteGraph.open(
        tmp_path / "graph.sqlite", embedder=embedder.name, dimension=embedder.dimension
    )
    try:
        assert await seed(store, embedder)
        matches = await store.similar((await embedder.embed([question]))[0])
    finally:
        await store.close()

    best = matches[0].triplet.result if matches else None
    assert best == result
