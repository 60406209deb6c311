"""One graph file, several processes."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest

from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.graph.records import Batch, Edge, Node
from reverie.knowledge.graph.sqlite import SqliteGraphCore

EDGES = 30
EMBEDDER = "test"
D = 8


def opened(path: Path) -> SqliteGraphCore:
    return SqliteGraphCore(path, embedder=EMBEDDER, dimension=D)


def write_edges(path: Path, first: int, go: Event) -> None:
    """Single edges between things that both writers know, some of them the same."""
    go.wait(60)
    with closing(opened(path)) as core:
        for number in range(first, first + EDGES):
            edge = Edge(f"thing {number % 7}", "causes", f"thing {number}", text="moves")
            vector = np.eye(D, dtype=np.float32)[number % D]
            core.write(Batch(edges=[edge], edge_vectors={0: vector}))


def replace_source(path: Path, go: Event) -> None:
    """A source of two nodes that always link to each other, over and over."""
    go.wait(60)
    with closing(opened(path)) as core:
        for version in range(40):
            ids = [f"chunk:{version}:{n}" for n in range(2)]
            nodes = [Node(i, "chunk", i, "words that are found", "notes.md") for i in ids]
            edge = Edge(ids[0], "follows", ids[1], source="notes.md")
            core.replace_source("notes.md", str(version), Batch(nodes, [edge]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "graph.sqlite"


async def test_processes_write_at_once_while_another_reads(path: Path) -> None:
    """Two write the same, one replaces a source; what is read in the meantime is always whole."""
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    children = [
        context.Process(target=write_edges, args=(path, 0, go)),
        context.Process(target=write_edges, args=(path, 20, go)),
        context.Process(target=replace_source, args=(path, go)),
    ]
    for child in children:
        child.start()
    store = await SqliteGraph.open(path, embedder=EMBEDDER, dimension=D)
    counts, versions = [0], set()
    go.set()
    while any(child.is_alive() for child in children):
        counts.append(await store.count())
        found = await store.find("words", limit=10)
        assert len(found) in (0, 2)
        if found:
            around = await store.neighbourhood([found[0].node.id])
            # The source may have been replaced between the two questions, never within one.
            assert len(around.nodes) in (0, 2)
            versions.add(found[0].node.id)
        await store.similar(np.eye(D, dtype=np.float32)[0], limit=100)
    for child in children:
        await asyncio.to_thread(child.join)

    assert [child.exitcode for child in children] == [0, 0, 0]
    assert counts == sorted(counts)
    assert versions
    assert await store.count() == EDGES + 20
    assert await store.source_version("notes.md") == "39"
    size = await store.size()
    assert (size.nodes, size.vectors) == ({"chunk": 2, "entity": EDGES + 20}, EDGES + 20)
    # Thing 0 does something to itself; every vector that was written is compared.
    assert len(await store.similar(np.eye(D, dtype=np.float32)[0], limit=100)) == 7
    await store.close()
