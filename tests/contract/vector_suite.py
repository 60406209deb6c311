"""What every vector store does. A test module inherits ``VectorSuite`` and gives it ``store``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.vectors import VectorRecord, VectorStore
from reverie.knowledge.vectors.store import Value, Where

D = 16
EMBEDDER = "test"


def unit(number: int) -> NDArray[np.float32]:
    """A direction of its own for every number, [D]."""
    drawn = np.random.default_rng(number).normal(size=D)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def units(numbers: Sequence[int]) -> NDArray[np.float32]:
    return np.stack([unit(number) for number in numbers])


def record(number: int, **metadata: Value) -> VectorRecord:
    return VectorRecord(f"r{number}", f"text {number}", metadata)


async def fill(store: VectorStore, numbers: Sequence[int]) -> None:
    await store.write([record(n, parity=n % 2) for n in numbers], units(numbers))


async def found(
    store: VectorStore, number: int, *, limit: int = 10, where: Where | None = None
) -> list[str]:
    return [hit.record.id for hit in await store.search(unit(number), limit=limit, where=where)]


async def passing(store: VectorStore, where: Where) -> set[str]:
    return set(await found(store, 0, limit=100, where=where))


class VectorSuite:
    async def test_what_was_written_is_found_best_first(self, store: VectorStore) -> None:
        await fill(store, range(50))

        hits = await store.search(unit(7), limit=5)

        exact = units(range(50)) @ unit(7)
        best = np.argsort(-exact)[:5]
        assert [hit.record.id for hit in hits] == [f"r{n}" for n in best]
        assert [hit.similarity for hit in hits] == pytest.approx(exact[best], abs=1e-5)
        assert hits[0].record == VectorRecord("r7", "text 7", {"parity": 1})
        assert await store.count() == 50

    async def test_the_empty_store_finds_nothing(self, store: VectorStore) -> None:
        assert await store.search(unit(0)) == []
        assert await store.get(["r0"]) == {}
        assert await store.get([]) == {}
        await store.write([], np.zeros((0, D), dtype=np.float32))
        await store.delete([])
        await store.delete(["r0"])
        assert await store.count() == 0

    async def test_writing_again_replaces_the_whole_record(self, store: VectorStore) -> None:
        await store.write([record(1, kind="old", page=3), record(2, kind="old")], units([1, 2]))
        await store.write([record(1, line=4)], units([30]))
        await store.write([VectorRecord("r2")], units([2]))

        assert await store.count() == 2
        assert await store.get(["r1", "r2", "r3"]) == {
            "r1": record(1, line=4),
            "r2": VectorRecord("r2"),
        }
        assert (await found(store, 30))[0] == "r1"
        assert await passing(store, {"kind": "old"}) == set()

    async def test_of_several_with_one_id_the_last_stays(self, store: VectorStore) -> None:
        await store.write([record(1, n=1), record(2), record(1, n=2)], units([1, 2, 3]))

        assert await store.count() == 2
        assert (await store.get(["r1"]))["r1"].metadata == {"n": 2}
        assert (await found(store, 3))[0] == "r1"

    async def test_deleted_records_are_gone_and_the_others_found(self, store: VectorStore) -> None:
        await fill(store, range(300))
        await store.delete([f"r{n}" for n in range(5, 300)])

        assert await store.count() == 5
        assert set(await found(store, 9, limit=100)) == {f"r{n}" for n in range(5)}
        await fill(store, range(5, 10))
        assert (await found(store, 9))[0] == "r9"

    async def test_filters_let_through_what_agrees_in_every_key(self, store: VectorStore) -> None:
        records = [
            record(0, path="a.py", page=1, done=True),
            record(1, path="a.py", page=2, done=False),
            record(2, path="b.py", page=2),
            record(3, path="c.py", page=1.0),
            record(4),
        ]
        await store.write(records, units(range(5)))

        assert await passing(store, {"path": "a.py"}) == {"r0", "r1"}
        assert await passing(store, {"path": ["a.py", "c.py"], "page": 1}) == {"r0", "r3"}
        assert await passing(store, {"page": 1.0}) == {"r0", "r3"}
        assert await passing(store, {"page": [1, 2.0]}) == {"r0", "r1", "r2", "r3"}
        assert await passing(store, {"done": True}) == {"r0"}
        assert await passing(store, {"done": 1}) == set()
        assert await passing(store, {"page": True}) == set()
        assert await passing(store, {"path": "d.py"}) == set()
        assert await passing(store, {"path": []}) == set()
        assert len(await passing(store, {})) == 5
        assert await found(store, 1, limit=1, where={"path": ["b.py", "c.py"]}) != []

    @pytest.mark.parametrize(
        "odd", ["$and", "$ne", "", "#document", "chroma:document", "\\$and", "a.b", "é", "a\0b"]
    )
    async def test_odd_keys_and_values_are_data(self, store: VectorStore, odd: str) -> None:
        await store.write([record(0, **{odd: odd}), record(1, **{odd: "x"})], units([0, 1]))

        assert await passing(store, {odd: odd}) == {"r0"}
        assert await passing(store, {odd: [odd, "x"]}) == {"r0", "r1"}
        assert await passing(store, {"x": odd}) == set()
        assert (await store.get(["r0"]))["r0"].metadata == {odd: odd}

    async def test_odd_texts_and_ids_come_back(self, store: VectorStore) -> None:
        texts = [
            "",
            "\0",
            "<search>$where</search>",
            "'; DROP TABLE x; --",
            "日本語 🌧",
            "a" * 100_000,
        ]
        records = [VectorRecord(f"id {text[:50]}", text) for text in texts]
        await store.write(records, units(range(len(texts))))

        assert await store.get([r.id for r in records]) == {r.id: r for r in records}
        await store.write([VectorRecord("half", "half \ud83d")], units([9]))
        assert (await store.get(["half"]))["half"].text == "half ?"

    async def test_wrong_input_is_refused_and_nothing_written(self, store: VectorStore) -> None:
        bad = unit(0)[None].copy()
        bad[0, 3] = np.nan
        for records, vectors in (
            ([record(0)], units([0, 1])),
            ([record(0)], np.zeros((1, D + 1), dtype=np.float32)),
            ([record(0)], bad),
            ([VectorRecord("")], units([0])),
            ([record(0, n=float("nan"))], units([0])),
            ([record(0, n=2**63)], units([0])),
            ([record(0, n=None)], units([0])),  # type: ignore[arg-type]  # what is tested
            ([VectorRecord("x", None)], units([0])),  # type: ignore[arg-type]  # what is tested
            ([VectorRecord(7)], units([0])),  # type: ignore[arg-type]  # what is tested
        ):
            with pytest.raises(ConfigError):
                await store.write(records, vectors)
        with pytest.raises(ConfigError):
            await store.search(unit(0)[:5])
        for value in (None, b"ab", {"$ne": 1}):
            where: Any = {"n": value}
            with pytest.raises(ConfigError, match="is of type"):
                await store.search(unit(0), where=where)
        assert await store.count() == 0

    async def test_limits_may_be_larger_than_the_store(self, store: VectorStore) -> None:
        await fill(store, range(20))

        assert len(await found(store, 0, limit=1000)) == 20
        assert len(await found(store, 0, limit=1000, where={"parity": 1})) == 10
        assert await found(store, 0, limit=0) == []

    async def test_clear_begins_another_epoch(self, store: VectorStore) -> None:
        before = await store.epoch()
        await fill(store, range(5))
        assert await store.epoch() == before != ""

        await store.clear()

        assert await store.epoch() != before
        assert await store.count() == 0
        await fill(store, range(3))
        assert await found(store, 2, limit=1) == ["r2"]

    async def test_it_is_used_from_several_event_loops_at_once(self, store: VectorStore) -> None:
        async def work(name: int) -> None:
            for number in range(name * 100, name * 100 + 5):
                await fill(store, [number])
                assert (await found(store, number))[0] == f"r{number}"

        loops = [asyncio.to_thread(asyncio.run, work(name)) for name in range(1, 4)]
        await asyncio.gather(work(0), *loops)

        assert await store.count() == 20

    async def test_a_closed_store_says_so(self, store: VectorStore) -> None:
        await store.close()
        await store.close()

        with pytest.raises(KnowledgeUnavailable, match="closed"):
            await store.search(unit(0))
