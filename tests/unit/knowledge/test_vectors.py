"""The vector stores that need no server: FAISS in memory, Chroma in a folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.vectors import FaissVectors, VectorRecord, VectorStore, open_vectors
from reverie.knowledge.vectors.chroma import where_argument
from reverie.knowledge.vectors.faiss import Kind
from reverie.settings import Settings
from tests.contract.vector_suite import (
    EMBEDDER,
    D,
    VectorSuite,
    fill,
    found,
    passing,
    record,
    unit,
    units,
)


class TestFaissFlat(VectorSuite):
    @pytest.fixture
    def store(self) -> VectorStore:
        return FaissVectors(embedder=EMBEDDER, dimension=D)


class TestFaissHnsw(VectorSuite):
    @pytest.fixture
    def store(self) -> VectorStore:
        return FaissVectors(embedder=EMBEDDER, dimension=D, kind="hnsw")


class TestChromaFolder(VectorSuite):
    @pytest.fixture
    async def store(self, settings: Settings) -> AsyncIterator[VectorStore]:
        store = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
        yield store
        await store.close()


async def saved(folder: Path, kind: Kind = "flat") -> FaissVectors:
    store = FaissVectors(embedder=EMBEDDER, dimension=D, kind=kind)
    await fill(store, range(300))
    await store.delete(["r4", "r5"])
    await store.write([VectorRecord("r6", "new\nline é", {"$k": True})], units([900]))
    await store.save(folder)
    return store


async def load(folder: Path) -> FaissVectors:
    return await FaissVectors.load(folder, embedder=EMBEDDER, dimension=D)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
async def test_what_was_saved_is_loaded(tmp_path: Path, kind: Kind) -> None:
    store = await saved(tmp_path / "saved", kind)

    loaded = await load(tmp_path / "saved")

    assert (loaded.kind, await loaded.epoch()) == (kind, await store.epoch())
    assert await loaded.count() == await store.count() == 298
    assert await loaded.search(unit(8), limit=20) == await store.search(unit(8), limit=20)
    assert await loaded.get(["r4", "r6"]) == {"r6": VectorRecord("r6", "new\nline é", {"$k": True})}
    await fill(loaded, [4])
    assert (await found(loaded, 4))[0] == "r4"


async def test_saving_again_replaces_what_was_saved(tmp_path: Path) -> None:
    store = await saved(tmp_path)
    await store.clear()
    await fill(store, range(3))

    await store.save(tmp_path)

    assert await (await load(tmp_path)).count() == 3
    assert len(await asyncio.to_thread(lambda: list(tmp_path.glob("[!.]*")))) == 3
    await store.clear()
    await store.save(tmp_path)
    assert await (await load(tmp_path)).search(unit(0)) == []


async def test_a_save_that_fails_leaves_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await saved(tmp_path)

    def full(_: Path, __: Path) -> Path:
        raise OSError(28, "No space left on device")

    await fill(store, range(400, 500))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(KnowledgeUnavailable, match="No space left") as caught:
            await store.save(tmp_path)

    assert "free some space" in caught.value.hint
    assert await (await load(tmp_path)).count() == 298
    assert len(await asyncio.to_thread(lambda: list(tmp_path.glob("[!.]*")))) == 3


@pytest.mark.parametrize("pattern", ["index-*", "records-*", "vectors.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
async def test_damaged_files_are_named(tmp_path: Path, pattern: str, harm: str) -> None:
    await saved(tmp_path)

    def damage() -> None:
        (path,) = tmp_path.glob(pattern)
        held = path.read_bytes()
        if harm == "remove":
            path.unlink()
        elif harm == "cut":
            path.write_bytes(held[: len(held) // 2])
        else:
            middle = len(held) // 2
            path.write_bytes(held[:middle] + bytes([held[middle] ^ 0xFF]) + held[middle + 1 :])

    await asyncio.to_thread(damage)
    with pytest.raises(KnowledgeUnavailable, match=r"damaged|missing|cannot be read"):
        await load(tmp_path)


async def test_saves_and_loads_at_once_leave_what_the_last_one_saved(tmp_path: Path) -> None:
    stores = [FaissVectors(embedder=EMBEDDER, dimension=D) for _ in range(2)]
    for store in stores:
        await fill(store, range(20))
    await stores[0].save(tmp_path)

    async def saving(store: FaissVectors) -> None:
        for _ in range(10):
            await store.save(tmp_path)

    async def loading() -> None:
        for _ in range(30):
            loaded = await FaissVectors.load(tmp_path, embedder=EMBEDDER, dimension=D)
            assert await loaded.count() == 20

    await asyncio.gather(*map(saving, stores), loading())
    await loading()


async def test_vectors_of_another_embedder_are_not_loaded(tmp_path: Path) -> None:
    await saved(tmp_path)

    with pytest.raises(KnowledgeUnavailable, match=f"of {EMBEDDER} with {D} numbers"):
        await FaissVectors.load(tmp_path, embedder="other", dimension=D)
    with pytest.raises(KnowledgeUnavailable, match="no saved vectors"):
        await load(tmp_path / "nothing")


async def test_hnsw_finds_what_the_exact_search_finds() -> None:
    drawn = np.random.default_rng(0).normal(size=(5000, D)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    records = [record(n, half=n % 2, one=n) for n in range(5000)]
    hnsw = FaissVectors(embedder=EMBEDDER, dimension=D, kind="hnsw")
    flat = FaissVectors(embedder=EMBEDDER, dimension=D)
    for store in (hnsw, flat):
        await store.write(records, drawn)
        await store.delete([f"r{n}" for n in range(100)])

    for where in (None, {"half": 1}, {"one": [500, 600, 50]}):
        common = 0
        for query in range(40):
            near = await hnsw.search(unit(query), limit=10, where=where)
            exact = await flat.search(unit(query), limit=10, where=where)
            assert len(near) == len(exact)
            common += len({h.record.id for h in near} & {h.record.id for h in exact})
        assert common >= 0.98 * 40 * len(exact)


async def test_searches_and_writes_in_many_threads() -> None:
    store = FaissVectors(embedder=EMBEDDER, dimension=D)

    async def work(name: int) -> None:
        for number in range(name * 50, name * 50 + 50):
            await fill(store, [number])
            assert (await found(store, number))[0] == f"r{number}"
            if number % 3 == 0:
                await store.delete([f"r{number}"])

    await asyncio.gather(*(work(name) for name in range(8)))

    assert await store.count() == sum(1 for n in range(400) if n % 3)
    assert await passing(store, {"parity": 0}) == {
        hit.record.id for hit in await store.search(unit(0), limit=100, where={"parity": 0})
    }


# -- a folder --------------------------------------------------------------------------------------


async def test_a_folder_is_found_again_and_stores_in_it_are_apart(settings: Settings) -> None:
    first = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
    other = await open_vectors(settings, "sops", embedder=EMBEDDER, dimension=D)
    wide = await open_vectors(settings, "documents", embedder="wide", dimension=D * 2)
    await fill(first, range(5))
    epoch = await first.epoch()
    assert (await other.count(), await wide.count()) == (0, 0)
    for store in (first, other, wide):
        await store.close()

    again = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)

    assert (await again.epoch(), await again.count(), again.notices) == (epoch, 5, ())
    assert (await found(again, 3))[0] == "r3"
    await again.close()


async def test_an_embedder_whose_vectors_changed_their_length_is_refused(
    settings: Settings,
) -> None:
    store = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
    await store.close()

    with pytest.raises(KnowledgeUnavailable, match=f"with {D} numbers") as caught:
        await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D + 1)
    assert "REVERIE_HOME" in caught.value.hint


async def test_two_stores_of_one_process_see_what_the_other_writes(settings: Settings) -> None:
    first = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
    second = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
    for number in range(0, 10, 2):
        await fill(first, [number])
        assert (await found(second, number))[0] == f"r{number}"
        await fill(second, [number + 1])
        assert (await found(first, number + 1))[0] == f"r{number + 1}"
    await first.delete(["r3"])
    assert "r3" not in await found(second, 3, limit=20)
    await second.clear()
    assert (await first.count(), await first.epoch()) == (0, await second.epoch())
    await first.close()
    await second.close()


def harmed(home: Path, harm: str) -> None:
    (state,) = home.glob("vectors/.documents-*.json")
    (database,) = home.glob("vectors/documents-*/chroma.sqlite3")
    if harm == "overwritten":
        database.write_bytes(b"this is no database " * 500)
    elif harm == "cut":
        database.write_bytes(database.read_bytes()[:20_000])
    elif harm == "another version":
        told = json.loads(state.read_bytes())
        state.write_text(json.dumps({**told, "version": "0.4"}), encoding="utf-8")
        database.write_bytes(b"this is no database " * 500)
    else:
        state.write_bytes(b"{")


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("overwritten", "file is not a database"),
        ("cut", "kept as"),
        ("another version", "written by chromadb 0.4"),
    ],
)
async def test_a_folder_that_cannot_be_read_is_set_aside(
    settings: Settings, harm: str, why: str
) -> None:
    store = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
    await fill(store, range(5))
    epoch = await store.epoch()
    await store.close()
    await asyncio.to_thread(harmed, settings.home, harm)

    store = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)

    (notice,) = store.notices
    assert why in notice
    assert "begun anew" in notice
    assert (await store.count(), await store.epoch() != epoch) == (0, True)
    await fill(store, range(5))
    assert (await found(store, 3))[0] == "r3"
    await store.close()
    aside = await asyncio.to_thread(lambda: list(settings.home.glob("vectors/*.damaged-*")))
    assert len(aside) == 1


async def test_a_state_file_that_was_cut_off_costs_nothing(settings: Settings) -> None:
    store = await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
    await fill(store, range(5))
    await asyncio.to_thread(harmed, settings.home, "state")

    assert (await found(store, 3))[0] == "r3"
    (state,) = settings.home.glob("vectors/.documents-*.json")
    told = '{"generation": "", "writer": 1e999, "version": ""}'
    await asyncio.to_thread(state.write_text, told)
    assert (await found(store, 3))[0] == "r3"
    assert (await store.count(), store.notices) == (5, ())
    await store.close()


def test_a_filter_of_more_values_than_chroma_takes_is_refused() -> None:
    with pytest.raises(ConfigError, match="10,001 values"):
        where_argument({"n": list(range(10_001))})


async def test_without_chromadb_the_extra_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "chromadb", None)

    with pytest.raises(ConfigError) as caught:
        await open_vectors(settings, "documents", embedder=EMBEDDER, dimension=D)
    assert "pip install 'reverie[knowledge]'" in caught.value.hint
