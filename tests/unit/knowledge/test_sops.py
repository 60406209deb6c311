"""The book of procedures: versions, several processes, matching, and what outcomes make of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.sops import (
    MINIMUM,
    PACKAGED,
    Match,
    Sop,
    SopBook,
    SopStatistics,
    StoredSop,
    Used,
    matches,
    packaged_sops,
    similarities,
    sop_id,
    sync_sops,
)
from reverie.knowledge.sops.beta import beta_below, beta_quantile
from reverie.knowledge.sops.trigger import triggers_in
from reverie.settings import Settings
from tests.unit.conftest import HashEmbedder

PLANTS = Sop.model_validate(
    {"name": "water", "description": "Water the plants", "trigger": "plants", "steps": ["Go"]}
)
MORE = PLANTS.model_copy(update={"description": "Water all the plants"})


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[SopBook]:
    opened = await SopBook.open(tmp_path / "sops.sqlite")
    yield opened
    await opened.close()


# -- versions ------------------------------------------------------------------------------------


async def test_other_content_under_a_name_is_a_new_version_and_old_ones_stay(
    book: SopBook,
) -> None:
    changes = [(await book.add([one], "x"))[0].change for one in (PLANTS, PLANTS, MORE, PLANTS)]

    assert changes == ["new", "same", "version", "again"]
    versions = await book.versions("water")
    assert [(v.number, v.sop, v.current) for v in versions] == [
        (1, PLANTS, True),
        (2, MORE, False),
    ]
    assert (await book.get("water")).sop == PLANTS
    assert (await book.get("water@2")).sop == MORE
    assert (await book.get(f"water@{MORE.version[:6]}")).sop == MORE


async def test_a_removed_one_keeps_its_versions_and_can_come_back(book: SopBook) -> None:
    await book.add([PLANTS, MORE.model_copy(update={"name": "other"})], "x")

    await book.remove("water")

    assert "water" not in {s.name for s in await book.current()}
    assert await book.removed() == ["water"]
    with pytest.raises(ConfigError, match=r"there is no SOP called 'water' any more"):
        await book.get("water")
    assert (await book.get("water@1")).sop == PLANTS
    assert (await book.add([PLANTS], "x"))[0].change == "again"


async def test_unknown_names_and_versions_are_wrong_use(book: SopBook) -> None:
    with pytest.raises(ConfigError) as caught:
        await book.get("debug_python_cod")
    assert "did you mean debug_python_code?" in caught.value.hint
    with pytest.raises(ConfigError, match="has no version '7'"):
        await book.get("debug_python_code@7")
    with pytest.raises(ConfigError):
        await book.remove("nothing")


async def test_all_are_added_or_none(book: SopBook) -> None:
    def given() -> Any:
        yield PLANTS
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await book.add(given(), "x")

    assert await book.versions("water") == []


async def test_the_packaged_ones_are_there_once_and_leave_the_users_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sops.sqlite"
    book = await SopBook.open(path)
    packaged = {s.name: s for s in await book.current()}
    assert {s.source for s in packaged.values()} == {PACKAGED}
    own = packaged["check_fact"].sop.model_copy(update={"description": "My own way"})
    await book.add([own], "mine.yaml")
    await book.remove("review_code")
    await book.close()

    # Another release of Reverie, with other procedures.
    read = await asyncio.to_thread(packaged_sops)
    newer = [s.model_copy(update={"category": "newer"}) for s in read]
    monkeypatch.setattr("reverie.knowledge.sops.book.packaged_sops", lambda: newer)
    monkeypatch.setattr("reverie.knowledge.sops.book._packaged_content", lambda: "newer")
    book = await SopBook.open(path)

    current = {s.name: s for s in await book.current()}
    assert current["check_fact"].sop == own
    assert current["convert_units"].sop.category == "newer"
    assert current["convert_units"].number == 2
    assert "review_code" not in current
    await book.close()


async def test_two_processes_add_versions_at_once(tmp_path: Path) -> None:
    """Two connections, as two processes have them: every version gets a number of its own."""
    path = tmp_path / "sops.sqlite"
    books = [await SopBook.open(path) for _ in range(2)]

    async def add(one: SopBook, numbers: Sequence[int]) -> None:
        for number in numbers:
            await one.add([PLANTS.model_copy(update={"description": f"{number}"})], "x")

    await asyncio.gather(add(books[0], range(10)), add(books[1], range(10, 20)))

    versions = await books[0].versions("water")
    assert [v.number for v in versions] == list(range(1, 21))
    assert sum(v.current for v in versions) == 1
    for one in books:
        await one.close()


async def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "sops.sqlite"
    await asyncio.to_thread(path.write_bytes, b"no database" * 1000)

    book = await SopBook.open(path)

    assert "was damaged" in book.notices[0]
    assert len(await book.current()) == 10
    await book.close()


async def test_a_row_of_another_version_is_a_typed_error(tmp_path: Path, book: SopBook) -> None:
    def spoil() -> None:
        with sqlite3.connect(tmp_path / "sops.sqlite") as connection:
            connection.execute("UPDATE versions SET document = '{}' WHERE name = 'check_fact'")
        connection.close()

    await asyncio.to_thread(spoil)

    with pytest.raises(KnowledgeUnavailable, match="check_fact, version 1"):
        await book.current()


# -- triggers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "trigger", "found"),
    [
        ("An ERROR, again", "error", True),
        ("The terror attack", "error", False),
        ("Two errors", "error", False),
        ("Two errors", "error*", True),
        ("It is not\n  working", "not working", True),
        ("It\u2019s broken", "it's broken", True),
        ("Use C++ here", "c++", True),
        ("in the code.", "code", True),
        ("code_review", "code", False),
        ("Der Fehler.", "fehler", True),
        ("Fehlerfrei", "fehler", False),
        ("ça ne marche pas", "ne marche pas", True),
        ("cafe\u0301", "cafe", False),  # the accent belongs to the word
        ("Ошибка в коде", "ошибка", True),
        ("调试这段代码", "调试", True),
        ("このエラーは何", "エラー", True),
        ("FULL \uff25\uff32\uff32\uff2f\uff32", "error", True),
        ("STRASSE", "straße", True),
        ("a.b", "a.b", True),
        ("axb", "a.b", False),  # no pattern
    ],
)
def test_triggers_are_whole_words_in_any_language(task: str, trigger: str, found: bool) -> None:
    assert bool(triggers_in(task, [trigger])) is found


@given(st.text(max_size=60), st.text(min_size=1, max_size=10))
def test_no_trigger_breaks_the_search(task: str, trigger: str) -> None:
    assert set(triggers_in(task, [trigger])) <= {trigger}


# -- matching ------------------------------------------------------------------------------------


def stored(sop: Sop) -> StoredSop:
    return StoredSop(sop, 1, "x", 0.0, current=True)


def match_of(task: str, cosine: float, *used: Used, sop: Sop = PLANTS) -> Match:
    (found,) = matches(task, [stored(sop)], {sop.key: cosine}, SopStatistics(used), "other")
    return found


def uses(scores: Sequence[float], *, key: str = PLANTS.key, **fields: Any) -> list[Used]:
    given = {"task_type": "other", "weight": 1.0, "age": 0, "at": 0.0, "fault": False, **fields}
    return [Used(key=key, score=score, **given) for score in scores]


def test_every_part_is_there_and_success_and_priority_alone_are_not_enough() -> None:
    best = PLANTS.model_copy(update={"priority": 10})
    found = match_of("Nothing like it", 0.1, *uses([1.0] * 50, key=best.key), sop=best)

    assert found.parts["priority"] == 1.0
    assert found.parts["success"] > 0.9
    assert found.score < MINIMUM / 2
    assert found.why_not == f"its score is below {MINIMUM:g}"


def test_words_or_meaning_are_enough() -> None:
    assert match_of("My plants", 0.25).why_not == ""
    assert match_of("My flowers", 0.4).why_not == ""
    assert match_of("My plants", 0.25).triggers == ("plants",)
    assert match_of("My plants", 0.4).score > match_of("My plants", 0.25).score


def test_a_version_that_fails_is_ranked_down_then_left_out_and_another_begins_anew() -> None:
    scores = [match_of("My plants", 0.3, *uses([0.0] * n)).score for n in range(3)]
    assert scores == sorted(scores, reverse=True)

    demoted = match_of("My plants", 0.3, *uses([0.0] * 6))
    assert demoted.why_not == "demoted: it failed too often"
    assert match_of("My plants", 0.3, *uses([0.0] * 6), sop=MORE).why_not == ""


def test_it_recovers_by_success_and_as_failures_fade() -> None:
    assert match_of("My plants", 0.3, *uses([0.0] * 6), *uses([1.0] * 6)).why_not == ""
    assert match_of("My plants", 0.3, *uses([0.0] * 6, age=2500)).why_not == ""


def test_a_few_failures_do_not_demote() -> None:
    assert match_of("My plants", 0.3, *uses([0.0] * 3)).record["state"] == "tried"


def test_success_on_a_type_of_task_counts_there() -> None:
    used = [*uses([1.0] * 8, task_type="code"), *uses([0.0] * 8, task_type="logic")]
    statistics = SopStatistics(used)

    there = statistics.by_type(PLANTS.key)
    assert there["code"]["mean"] > 0.8
    assert there["logic"]["mean"] < 0.2
    assert statistics.record(PLANTS.key, "factual")["mean"] == pytest.approx(0.5, abs=0.05)
    assert there["code"]["uses"] == 8


def test_weak_and_missing_scores() -> None:
    none = SopStatistics(uses([1.0], weight=0.0)).record(PLANTS.key)
    assert none["mean"] == pytest.approx(0.5)
    pending = Used(PLANTS.key, "other", None, 0.0, 0, 0.0, fault=False)
    record = SopStatistics([pending]).record(PLANTS.key)
    assert (record["uses"], record["scored"], record["state"]) == (1, 0, "untried")


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5000)), max_size=30),
)
def test_the_interval_holds_the_mean_and_everything_lies_between_0_and_1(
    given: list[tuple[float, float, int]],
) -> None:
    used = [
        Used(PLANTS.key, "other", score, weight, age, 0.0, fault=False)
        for score, weight, age in given
    ]
    record = SopStatistics(used).record(PLANTS.key)

    assert 0 <= record["low"] <= record["mean"] <= record["high"] <= 1
    assert record["alpha"] > 0 < record["beta"]


def test_the_beta_distribution_at_known_places() -> None:
    assert beta_below(0.5, 3, 3) == pytest.approx(0.5)
    assert beta_below(0.3, 1, 1) == pytest.approx(0.3)
    assert beta_below(0.2, 1, 4) == pytest.approx(1 - 0.8**4)
    assert beta_quantile(0.025, 3, 5) == pytest.approx(0.0989883, abs=1e-6)  # scipy 1.17
    assert beta_quantile(0.975, 100.5, 7.25) == pytest.approx(0.9717202, abs=1e-6)


# -- meaning and graph ---------------------------------------------------------------------------


async def test_vectors_are_made_once_and_kept(book: SopBook, tmp_path: Path) -> None:
    embedder: Any = HashEmbedder()
    embedded: list[int] = []
    make = embedder.embed

    async def counting(texts: Sequence[str]) -> Any:
        embedded.append(len(texts))
        return await make(texts)

    embedder.embed = counting
    current = await book.current()
    task = (await make([current[0].sop.text]))[0]

    for _ in range(2):
        found = await similarities(task, book, current, embedder, Settings(home=tmp_path))

    assert embedded == [10]
    assert max(found, key=found.__getitem__) == current[0].key
    assert found[current[0].key] == pytest.approx(1.0, abs=1e-5)


async def test_the_graph_says_what_the_book_does(book: SopBook, tmp_path: Path) -> None:
    graph = await SqliteGraph.open(tmp_path / "graph.sqlite", embedder="hashed words", dimension=64)
    await book.add([PLANTS.model_copy(update={"steps": PLANTS.steps * 2})], "x")

    assert await sync_sops(graph, book) == 11
    assert await sync_sops(graph, book) == 0

    around = await graph.neighbourhood([sop_id("check_fact")], hops=1)
    edges = [e for e in around.edges if e.start == "sop:check_fact"]
    assert {e.relation for e in edges} == {"has_step"}
    assert sorted(e.text for e in edges) == [f"step {n}" for n in (1, 2, 3, 4)]
    assert around.nodes["sop:check_fact"].kind == "sop"
    await book.add([MORE], "x")
    await book.remove("check_fact")
    assert await sync_sops(graph, book) == 2
    assert await graph.nodes(["sop:check_fact"]) == {}
    await graph.close()
