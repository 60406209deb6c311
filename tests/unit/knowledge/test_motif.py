"""The packaged motif facts and their loading."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reverie.knowledge.graph import motif
from reverie.knowledge.graph.motif import seed
from reverie.knowledge.graph.sqlite import SqliteGraph
from reverie.knowledge.graph.triplet import Triplet, embedding_text

LINES = (
    resources.files("reverie.knowledge.graph")
    .joinpath("motif.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
)


class RandomEmbedder:
    """A test double: a fixed random direction per text, so only equal texts are similar."""

    name = "random"
    dimension = 16

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "big") for t in texts]
        rows = [np.random.default_rng(s).standard_normal(self.dimension) for s in seeds]
        return np.array(rows, dtype=np.float32)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteGraph]:
    graph = await SqliteGraph.open(tmp_path / "graph.sqlite", embedder="random", dimension=16)
    yield graph
    await graph.close()


def test_the_facts_are_many_distinct_short_and_complete() -> None:
    facts = [json.loads(line) for line in LINES]

    assert len(facts) >= 320
    assert len({(f["what"], f["action"]) for f in facts}) == len(facts)
    assert len({f["domain"] for f in facts}) >= 18
    for fact in facts:
        assert set(fact) == {"what", "action", "result", "domain"}
        assert all(text == text.strip() and text for text in fact.values())
        assert len(fact["result"].split()) <= 14, fact


async def test_seeding_loads_every_fact_once(store: SqliteGraph) -> None:
    embedder = RandomEmbedder()
    seen: list[tuple[int, int]] = []

    assert await seed(store, embedder, progress=lambda done, total: seen.append((done, total)))
    assert not await seed(store, embedder)

    assert await store.count(status="fact") == len(LINES)
    assert len(embedder.texts) == len(LINES)  # the second call embedded nothing
    assert seen[-1] == (len(LINES), len(LINES))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


async def test_a_fact_is_found_by_its_own_text(store: SqliteGraph) -> None:
    embedder = RandomEmbedder()
    await seed(store, embedder)
    fact = json.loads(LINES[0])
    triplet = Triplet(fact["what"], fact["action"], fact["result"], source="motif")

    vector = (await embedder.embed([embedding_text(triplet)]))[0]

    assert (await store.similar(vector))[0].triplet == triplet


async def test_changed_facts_replace_the_old_ones(
    store: SqliteGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(store, RandomEmbedder())
    newer = [Triplet("a kite", "catches the wind", "it rises", source="motif")]
    monkeypatch.setattr(motif, "_packaged", lambda: (newer, "newer"))

    assert await seed(store, RandomEmbedder())

    assert await store.count() == 1
    assert await store.source_version("motif") == "newer"


async def test_seeding_twice_at_once_stores_the_facts_once(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    stores = [await SqliteGraph.open(path, embedder="random", dimension=16) for _ in range(2)]

    wrote = await asyncio.gather(*(seed(store, RandomEmbedder()) for store in stores))

    assert sorted(wrote) == [False, True]
    assert await stores[0].count() == len(LINES)
    for store in stores:
        await store.close()
