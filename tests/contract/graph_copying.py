"""Everything a store holds, in pages, and copied to another store and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.graph import GraphStore, SqliteGraph
from reverie.knowledge.graph.copy import copy_graph
from reverie.knowledge.graph.records import Batch
from tests.contract.graph_examples import (
    DIMENSION,
    EMBEDDER,
    NOTES,
    OneStore,
    causes,
    chain,
    everything,
    notes,
    vector,
)


class Copying(OneStore):
    @pytest.fixture
    async def other(self, tmp_path: Path) -> AsyncIterator[GraphStore]:
        """A store in a file, to copy to and from."""
        path = tmp_path / "other.sqlite"
        opened = await SqliteGraph.open(path, embedder=EMBEDDER, dimension=DIMENSION)
        yield opened
        await opened.close()

    @pytest.fixture
    async def full(self, store: GraphStore) -> GraphStore:
        await _fill(store)
        return store

    async def test_pages_give_everything(self, full: GraphStore) -> None:
        held = await everything(full)
        assert len(held["nodes"]) == 14
        assert len(held["edges"]) == 18
        assert sum(numbers is not None for _, numbers in held["edges"]) == 3
        assert len(held["node_vectors"]) == 3
        assert held["aliases"] == {"sphere": "ball"}
        assert held["versions"] == {NOTES: "7", "motif": "1"}
        for size in (1, 3):
            assert await everything(full, size=size) == held

    async def test_an_empty_store_has_no_pages(self, store: GraphStore) -> None:
        held = await everything(store)
        assert not any(held.values())

    async def test_a_copy_is_the_same(self, full: GraphStore, other: GraphStore) -> None:
        told: list[tuple[int, int]] = []
        copied = await copy_graph(full, other, progress=lambda *done: told.append(done))
        assert await everything(other) == await everything(full)
        assert copied == 32
        assert told[-1] == (32, 32)
        assert told == sorted(told)
        # Again: nothing changes.
        await copy_graph(full, other)
        assert await everything(other) == await everything(full)

    async def test_a_copy_from_a_file(self, store: GraphStore, other: GraphStore) -> None:
        await _fill(other)
        await copy_graph(other, store)
        assert await everything(store) == await everything(other)

    async def test_a_copy_that_broke_off_is_completed(
        self, full: GraphStore, other: GraphStore
    ) -> None:
        class Breaks:
            """A target whose third write fails, as when its server dies."""

            writes = 0

            async def write(self, batch: Batch) -> list[str]:
                Breaks.writes += 1
                if Breaks.writes == 3:
                    raise KnowledgeUnavailable("the server is gone")
                return await other.write(batch)

        with pytest.raises(KnowledgeUnavailable):
            await copy_graph(full, Breaks(), size=4)  # type: ignore[arg-type] # write is all of it
        assert len((await everything(other))["nodes"]) > 0
        assert await everything(other) != await everything(full)
        await copy_graph(full, other, size=5)
        assert await everything(other) == await everything(full)

    async def test_what_the_target_holds_stays(self, full: GraphStore, other: GraphStore) -> None:
        await other.write(chain("its", "own"))
        await copy_graph(full, other)
        assert set(await other.nodes(["its", "own", "ball"])) == {"its", "own", "ball"}
        assert (await other.size()).edges["links_to"] == 7


async def _fill(store: GraphStore) -> None:
    ids = await store.write(notes())
    await store.write(chain(*(f"stop {n}" for n in range(7)), weight=0.5))
    await store.write(chain("stop 0", "stop 2", "stop 4", "stop 6", valid_from=5.0, valid_to=9.0))
    again = causes("ball", "is dropped", "it falls", source=NOTES, start_label="a ball")
    await store.invalidate(ids[5:6])
    (number,) = await store.write(Batch(edges=[again], edge_vectors={0: vector("again")}))
    await store.invalidate([number])
    await store.write(Batch(edges=[replace(again, confidence=0.1)]))
    await store.add_aliases({"sphere": "ball"})
    await store.write(Batch(versions={NOTES: "7", "motif": "1"}))
