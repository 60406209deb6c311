"""The graph store's file: what older ones become, what is shared, damaged or full.

What every graph store does is in test_graph_contract.py.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Schema, open_database
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.graph.records import Batch, Edge, EdgeFilter, Node, Span, thing_id
from reverie.knowledge.graph.sqlite import SqliteGraphCore
from reverie.knowledge.graph.sqlite.paging import BEGINNING
from reverie.knowledge.graph.sqlite.schema import GRAPH_SCHEMA
from reverie.knowledge.graph.triplet import Triplet, triplet_batch

D = 8
DROP = Triplet("a ball", "is dropped", "it falls", source="book")
ICE = Triplet("ice", "gets warm", "it melts", source="book")


def axis(*numbers: int) -> NDArray[np.float32]:
    """Unit vectors along the numbered axes, [N, D]: similarity 1 to themselves, 0 to others."""
    return np.eye(D, dtype=np.float32)[list(numbers)]


def open_core(path: Path, embedder: str = "test", dimension: int = D) -> SqliteGraphCore:
    return SqliteGraphCore(path, embedder=embedder, dimension=dimension)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "graph.sqlite"


@pytest.fixture
def core(path: Path) -> Iterator[SqliteGraphCore]:
    with closing(open_core(path)) as opened:
        yield opened


def chain(*names: str) -> Batch:
    return Batch(edges=[Edge(start, "links_to", end) for start, end in pairwise(names)])


# -- a file of version 1 -------------------------------------------------------------------------


@pytest.fixture
def first_version(path: Path) -> Path:
    """What the first version of the store wrote."""
    schema = Schema(GRAPH_SCHEMA.kind, GRAPH_SCHEMA.application_id, GRAPH_SCHEMA.migrations[:1])
    with closing(open_database(path, schema)) as database, database.writing() as connection:
        connection.executemany(
            "INSERT INTO nodes (id, name, label, kind) VALUES (?, ?, ?, ?)",
            [
                (1, "ball", "a ball", "entity"),
                (2, "it falls", "it falls", "outcome"),
                (3, "it flies", "it flies", "outcome"),
            ],
        )
        connection.executemany(
            "INSERT INTO edges (id, what_id, result_id, what, action, result, status, source, run, "
            "branch, expert, model, confidence, created, valid_from, valid_to) "
            "VALUES (?, 1, ?, ?, 'is dropped', ?, ?, ?, ?, ?, ?, ?, ?, 9.0, ?, ?)",
            [
                (1, 2, "a ball", "it falls", "fact", "old", "", None, "", "", None, 9.0, 20.0),
                (2, 2, "The ball", "It falls.", "fact", "motif", "", None, "", "", None, 9.0, None),
                (
                    5,
                    3,
                    "a ball",
                    "it flies",
                    "hypothesis",
                    "dream",
                    "r1",
                    2,
                    "bold",
                    "m",
                    0.5,
                    9,
                    None,
                ),
            ],
        )
        connection.executemany(
            "INSERT INTO vectors (edge_id, vector) VALUES (?, ?)",
            [(number, axis(number)[0].tobytes()) for number in (1, 2, 5)],
        )
        connection.execute("INSERT INTO embedder VALUES (1, 'test', ?)", (D,))
        connection.execute("INSERT INTO sources VALUES ('motif', 'abc', 9.0)")
    return path


def test_a_file_of_version_1_keeps_everything(first_version: Path) -> None:
    with closing(open_core(first_version)) as core:
        (match,) = core.similar(axis(2)[0])
        assert match.id == "2"
        assert match.triplet == Triplet("The ball", "is dropped", "It falls.", source="motif")
        (guess,) = core.similar(axis(5)[0], statuses=["hypothesis"])
        assert guess.triplet == Triplet(
            "a ball",
            "is dropped",
            "it flies",
            status="hypothesis",
            source="dream",
            run="r1",
            branch=2,
            expert="bold",
            model="m",
            confidence=0.5,
        )
        assert core.similar(axis(1)[0]) == []  # ended
        (ended,) = core.edges(source="old", ended=True)
        assert (ended.id, ended.valid_from, ended.valid_to) == ("1", 9.0, 20.0)
        assert core.source_version("motif") == "abc"
        assert (core.count(status="fact"), core.count(status="hypothesis")) == (1, 1)
        assert core.size().vectors == 3
        assert [found.node.id for found in core.find("falls")] == ["it falls"]
        assert core.nodes(["ball"])["ball"] == Node("ball", "entity", "a ball")


def test_a_file_of_version_1_goes_on_being_written(first_version: Path) -> None:
    with closing(open_core(first_version)) as core:
        told = Triplet("a ball", "is dropped", "it falls", source="motif")
        again, new = core.write(triplet_batch([told, ICE], axis(2, 3)))
        assert again == "2"
        assert int(new) > 5
        assert core.confirm(["5"]) == 1
        assert core.count(status="fact") == 3
        assert core.delete_source("dream") == 2
    with closing(open_core(first_version)) as core:
        assert core.count() == 2
        assert core.notices == ()


def test_a_version_1_file_of_another_embedder_is_refused(first_version: Path) -> None:
    with pytest.raises(KnowledgeUnavailable, match="embedder test") as caught:
        open_core(first_version, "other")
    assert "embedded anew" in caught.value.hint


# -- shared with other connections ---------------------------------------------------------------


def test_what_another_connection_does_to_vectors_is_seen(path: Path) -> None:
    with closing(open_core(path)) as ours, closing(open_core(path)) as other:
        question = axis(0)[0]
        assert ours.similar(question) == []
        ids = other.write(triplet_batch([DROP, ICE], axis(0, 1)))
        assert [match.id for match in ours.similar(question)] == ids[:1]
        other.invalidate(ids[:1])
        assert ours.similar(question) == []
        dreamed = Triplet("a ball", "is dropped", "it flies", "hypothesis", "dream")
        (guess,) = other.write(triplet_batch([dreamed], axis(0)))
        assert ours.similar(question) == []
        other.confirm([guess])
        assert [match.id for match in ours.similar(question)] == [guess]
        other.delete_source("dream")
        assert ours.similar(question) == []
        assert len(ours.similar(axis(1)[0])) == 1
        other.write(Batch(edges=ours.edges(source="book"), edge_vectors={0: question}))
        assert [match.triplet for match in ours.similar(question)] == [ICE]
        assert ours.similar(axis(1)[0]) == []


def test_an_embedder_that_came_second_can_neither_write_nor_compare(path: Path) -> None:
    with closing(open_core(path)) as first, closing(open_core(path, "other", 16)) as second:
        assert second.similar(np.eye(16, dtype=np.float32)[0]) == []
        first.write(triplet_batch([DROP], axis(0)))
        with pytest.raises(KnowledgeUnavailable, match="embedder test"):
            second.similar_nodes(np.eye(16, dtype=np.float32)[0])
        with pytest.raises(KnowledgeUnavailable, match="embedder test"):
            second.write(chain("a", "b"))
        assert first.count() == 1


async def test_many_tasks_may_use_one_store_at_once(path: Path) -> None:
    store = await SqliteGraph.open(path, embedder="test", dimension=D)

    async def one(number: int) -> None:
        told = Triplet(f"thing {number}", "moves", "it is elsewhere")
        await store.write(triplet_batch([told], axis(number % D)))
        assert await store.similar(axis(number % D)[0], limit=100)

    await asyncio.gather(*(one(number) for number in range(40)))
    assert await store.count() == 40
    await store.close()


def test_pages_hold_no_edge_whose_nodes_came_later(path: Path) -> None:
    with closing(open_core(path)) as core, closing(open_core(path)) as other:
        core.write(chain("a", "b", "c"))
        first = core.page(BEGINNING, size=2)
        assert first is not None
        other.write(chain("d", "e"))
        nodes, place = [*first[0].nodes], first[1]
        edges: list[Edge] = []
        while (found := core.page(place, size=2)) is not None:
            batch, place = found
            nodes += batch.nodes
            edges += batch.edges
        assert {edge.start for edge in edges} == {"a", "b"}
        with pytest.raises(ConfigError):
            core.page(BEGINNING, size=0)


# -- time ----------------------------------------------------------------------------------------


def test_a_clock_set_back_hides_nothing_but_what_lies_ahead_is_hidden(
    core: SqliteGraphCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    ahead = Edge("a", "links_to", "later", valid_from=now + 60)
    core.write(Batch(edges=[Edge("a", "links_to", "b"), ahead]))

    assert list(core.neighbourhood(["a"]).nodes) == ["a", "b"]
    later = EdgeFilter(at=now + 61)
    assert list(core.neighbourhood(["a"], along=later).nodes) == ["a", "b", "later"]
    now -= 1000
    assert list(core.neighbourhood(["a"]).nodes) == ["a", "b"]
    now += 2000
    assert list(core.neighbourhood(["a"]).nodes) == ["a", "b", "later"]
    assert core.size().edges == {"links_to": 2}


@pytest.mark.parametrize("at", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(core: SqliteGraphCore, at: float) -> None:
    (identity,) = core.write(chain("a", "b"))
    with pytest.raises(ConfigError):
        core.invalidate([identity], at=at)
    with pytest.raises(ConfigError):
        core.neighbourhood(["a"], along=EdgeFilter(at=at))
    with pytest.raises(ConfigError):
        core.write(Batch(edges=[Edge("a", "links_to", "c", valid_to=at)]))


@pytest.mark.parametrize(
    "edge",
    [
        Edge("a", "links_to", "b", branch=2**63),
        Edge("a", "links_to", "b", span=Span("x", 1, 2**70)),
        Edge("a", "links_to", "b", span=Span("x", -1, 2)),
    ],
)
def test_numbers_that_do_not_fit_are_refused(core: SqliteGraphCore, edge: Edge) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        core.write(Batch(edges=[edge]))


def test_no_limit_is_too_large(core: SqliteGraphCore) -> None:
    core.write(chain("a", "b"))
    assert len(core.edges(limit=10**30)) == 1
    assert len(core.find("a", limit=10**30)) == 1
    assert len(core.neighbourhood(["a"], limit=10**30).nodes) == 2
    assert core.page(BEGINNING, size=10**30) is not None


def test_reach_is_a_neighbourhood_without_records(core: SqliteGraphCore) -> None:
    core.write(chain("a", "b", "c", "d"))
    core.write(Batch(edges=[Edge("a", "links_to", "z", weight=5.0), Edge("e", "links_to", "a")]))
    for hops, limit in ((0, 10), (1, 10), (2, 10), (2, 3), (9, 10)):
        around = core.neighbourhood(["a"], hops=hops, limit=limit)
        reached = core.reach(["a"], hops=hops, limit=limit)
        assert list(reached.items()) == list(around.hops.items())
    assert list(core.reach(["a"])) == ["a", "z", "b", "e"]


# -- words ---------------------------------------------------------------------------------------


def test_words_stay_in_step_with_nodes(path: Path) -> None:
    with closing(open_core(path)) as core:
        nodes = [Node(f"chunk:{n}", "chunk", f"part {n}", "red", "s") for n in range(20)]
        core.write(Batch(nodes))
        core.write(Batch([Node(n.id, "chunk", n.label, "blue", "s") for n in nodes[:10]]))
        core.replace_source("s", "2", Batch(nodes[5:15]))
        core.write(chain("orphan", "chunk:5"))
        core.delete_source("s")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        assert connection.execute("SELECT count(*) FROM nodes").fetchone() == (0,)


# -- damage --------------------------------------------------------------------------------------


def test_a_damaged_store_begins_anew_and_says_so(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to look at" * 100)

    with closing(open_core(path)) as core:
        assert "was damaged" in core.notices[0]
        assert core.count() == 0


def filled(path: Path) -> None:
    """More than SQLite keeps in memory."""
    with closing(open_core(path)) as core:
        core.write(Batch([Node(f"n{n}", "entity", f"n{n}", f"{n} x " * 400) for n in range(3000)]))
        core.write(chain(*(f"n{n}" for n in range(3000))))


def everything(core: SqliteGraphCore) -> None:
    place = BEGINNING
    while (found := core.page(place)) is not None:
        _, place = found


def test_a_page_damaged_while_it_is_open_is_an_error_with_a_way_out(path: Path) -> None:
    filled(path)
    with closing(open_core(path)) as core:
        with path.open("r+b") as file:
            for page in range(200, 1200):
                file.seek(4096 * page)
                file.write(b"\xff" * 4096)
        with pytest.raises(KnowledgeUnavailable, match="damaged") as caught:
            everything(core)
        assert "Start again" in caught.value.hint

    with closing(open_core(path)) as core:  # as the hint says
        assert "was damaged" in core.notices[0]
        core.write(chain("a", "b"))


def test_text_damaged_in_place_is_an_error_too(path: Path) -> None:
    with closing(open_core(path)) as core:
        core.write(Batch([Node("a", "entity", "a", "some words that are easy to find")]))
    path.write_bytes(path.read_bytes().replace(b"easy to find", b"easy \xff\xfe find"))

    with (
        closing(open_core(path)) as core,
        pytest.raises(KnowledgeUnavailable, match="damaged"),
    ):
        core.nodes(["a"])


def look_up(core: SqliteGraphCore) -> object:
    return core.nodes(["ball"])


def look_around(core: SqliteGraphCore) -> object:
    return core.neighbourhood(["ball"])


def compare(core: SqliteGraphCore) -> object:
    return core.similar(axis(0)[0])


@pytest.mark.parametrize(
    ("damage", "ask"),
    [
        ("UPDATE nodes SET properties = '{no json'", look_up),
        ("UPDATE edge_vectors SET vector = x'00'", compare),
        ("DELETE FROM relations", look_around),
        ("DELETE FROM nodes WHERE id = 'it falls'", look_around),
    ],
)
def test_rows_that_do_not_fit_together_are_an_error_too(
    path: Path, damage: str, ask: Callable[[SqliteGraphCore], object]
) -> None:
    with closing(open_core(path)) as core:
        core.write(triplet_batch([DROP], axis(0)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)

    with (
        closing(open_core(path)) as core,
        pytest.raises(KnowledgeUnavailable, match="damaged") as caught,
    ):
        ask(core)
    assert caught.value.hint


def run(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(program)
    subprocess.run([found, *arguments], check=True, capture_output=True)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where this machine lets us make one."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    try:
        run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mounted))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not allowed here")
    yield mounted
    run("umount", str(mounted))


def test_a_full_disk_is_an_error_and_keeps_what_was_stored(tiny_disk: Path) -> None:
    with closing(open_core(tiny_disk / "graph.sqlite")) as core:
        core.write(triplet_batch([DROP], axis(0)))
        with pytest.raises(KnowledgeUnavailable, match="full"):
            core.write(Batch([Node("big", "entity", "big", "word " * 1_000_000)]))
        assert core.nodes(["big"]) == {}
        assert len(core.similar(axis(0)[0])) == 1


def test_a_closed_store_says_so(path: Path) -> None:
    core = open_core(path)
    core.close()
    core.close()
    with pytest.raises(KnowledgeUnavailable, match="is closed"):
        core.count()


# -- names ---------------------------------------------------------------------------------------


@given(st.text())
def test_a_thing_s_id_is_already_normal(text: str) -> None:
    name = thing_id(text)

    assert name == " ".join(name.split())
    assert thing_id(f"  {text}  ") == name


@pytest.mark.parametrize("text", ["a ball", "The  ball.", "BALL", "an ball", "ball"])
def test_articles_case_and_spaces_do_not_make_another_thing(text: str) -> None:
    assert thing_id(text) == "ball"
