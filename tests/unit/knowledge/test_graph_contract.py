"""The SQLite graph store does what every graph store has to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from reverie.knowledge.graph import GraphStore, SqliteGraph
from tests.contract.graph_examples import DIMENSION, EMBEDDER, Reopen
from tests.contract.graph_suite import GraphStoreSuite


@pytest.fixture
async def reopen(tmp_path: Path) -> AsyncIterator[Reopen]:
    async with AsyncExitStack() as stack:

        async def again(embedder: str = EMBEDDER, dimension: int = DIMENSION) -> GraphStore:
            path = tmp_path / "graph.sqlite"
            store = await SqliteGraph.open(path, embedder=embedder, dimension=dimension)
            stack.push_async_callback(store.close)
            return store

        yield again


class TestSqliteGraph(GraphStoreSuite):
    pass
