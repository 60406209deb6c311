"""Ingesting with the graph in a Neo4j that dies meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reverie.knowledge.graph.neo4j import Neo4jGraph
from reverie.knowledge.library import Library
from reverie.knowledge.vectors import FaissVectors
from reverie.settings import Neo4jSettings, Settings
from tests.system.ingest_children import DIMENSION, NAME, SlowEmbedder
from tests.system.neo4j.conftest import PASSWORD, WIPE, Server, run


@pytest.mark.timeout(300)
async def test_a_server_that_dies_during_an_ingest_is_filled_by_the_next_one(
    neo4j_server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.md").write_text(f"# Book {number}\n\nIt names Cape{number}.\n")
    names = [(folder / f"{number:02}.md").as_posix() for number in range(12)]
    server = neo4j_server
    library = None
    try:
        patient = Neo4jSettings.model_validate(
            {"uri": server.uri, "password": PASSWORD, "query_seconds": 60}
        )
        await run(patient, WIPE)
        # A server that has just begun takes its time for the first queries, and the indexes.
        graph = await Neo4jGraph.open(patient, embedder=NAME, dimension=DIMENSION)
        await graph.close()
        neo4j = patient.model_copy(update={"query_seconds": 20.0})
        library = await Library.open(
            Settings(home=tmp_path / "home", neo4j=neo4j),
            embedder=SlowEmbedder(0.05),
            vectors=FaissVectors(embedder=NAME, dimension=DIMENSION),
        )
        done, warned = 0, []
        async for event in library.ingest([folder]):
            done += event.type == "done"
            warned += [event.message] if event.type == "warned" else []
            if event.type == "done" and done == 3:
                await asyncio.to_thread(server.kill)
        assert done == 12
        assert len(warned) == 1
        assert warned[0].startswith("The graph cannot be written: ")
        assert 0 < (await library.status()).ungraphed < 12
        await asyncio.to_thread(server.start)
        events = [event.type async for event in library.ingest([folder])]
        assert events.count("skipped") == 12
        assert "warned" not in events
        assert (await library.status()).ungraphed == 0
        graph = await Neo4jGraph.open(patient, embedder=NAME, dimension=DIMENSION)
        versions = [await graph.source_version(name) for name in names]
        await graph.close()
        assert all(versions)
    finally:
        if library is not None:
            await library.close()
        await asyncio.to_thread(server.start_if_killed)
