"""What is Neo4j's own: other data beside Reverie's, any event loop, routing, what one browses."""

from __future__ import annotations

import asyncio
import threading

import pytest

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.graph.neo4j import Neo4jGraph
from reverie.knowledge.graph.open import open_graph
from reverie.knowledge.graph.records import Batch
from reverie.settings import Neo4jSettings, Settings
from tests.contract.graph_examples import (
    DIMENSION,
    EMBEDDER,
    NOTES,
    Reopen,
    chain,
    link,
    notes,
    thing,
)
from tests.system.neo4j.conftest import run


async def test_other_data_is_left_alone(empty: Neo4jSettings, reopen: Reopen) -> None:
    try:
        await run(
            empty,
            "CREATE (:Entity:Foreign {id: 'ball', text: 'theirs'})-[:CAUSES {source: $source}]->"
            "(:Foreign {id: 'x', source: $source})",
            source=NOTES,
        )
        store = await reopen()
        await store.write(notes())
        await run(
            empty,
            "MATCH (n:ReverieNode {id: 'ball'}), (f:Foreign {id: 'x'}) CREATE (n)-[:CAUSES]->(f)",
        )
        assert (await store.nodes(["ball", "x"])).keys() == {"ball"}
        assert set((await store.neighbourhood(["ball"], hops=3)).nodes).isdisjoint({"x"})
        assert await store.shortest_path("ball", "x") is None
        assert (await store.size()).nodes == {"document": 1, "chunk": 2, "entity": 4}
        assert len(await store.edges()) == 7
        assert await store.count() == 2
        assert await store.find("theirs") == []
        assert sum([len(batch.nodes) async for batch in store.pages()]) == 7
        await store.delete_source(NOTES)
        # Something of theirs hangs on it.
        assert set(await store.nodes(["ball"])) == {"ball"}
        left = await run(empty, "MATCH (f:Foreign) RETURN f.id, f.text ORDER BY f.id")
        assert left == [["ball", "theirs"], ["x", None]]
    finally:
        await run(empty, "MATCH (f:Foreign) DETACH DELETE f")


async def test_what_a_person_browses(empty: Neo4jSettings, reopen: Reopen) -> None:
    store = await reopen()
    await store.write(notes())
    await store.write(Batch(edges=[link("ball", "ice", "is_unlike")]))
    rows = await run(
        empty,
        "MATCH (c:Chunk)-[:MENTIONS]->(b:Entity)-[r:CAUSES]->(o) RETURN c.name, b.name, r.text, "
        "o.name ORDER BY b.name",
    )
    assert rows[0] == ["part 1", "ball", "is dropped", "it falls"]
    assert await run(empty, "MATCH ()-[r:RELATES]->() RETURN r.relation") == [["is_unlike"]]


async def test_cypher_only_reads(reopen: Reopen) -> None:
    store = await reopen()
    await store.write(chain("a", "b"))
    query = "MATCH (n:ReverieNode) WHERE n.id IN $ids RETURN n.id AS id, n.kind AS kind"
    assert await store.cypher(query, {"ids": ["b"]}) == [{"id": "b", "kind": "entity"}]
    for refused in ("MATCH (n) DETACH DELETE n", "CREATE (n:ReverieNode {id: 'c'})", "no Cypher"):
        with pytest.raises(KnowledgeUnavailable):
            await store.cypher(refused)
    assert set(await store.nodes(["a", "b", "c"])) == {"a", "b"}


async def test_any_event_loop(empty: Neo4jSettings, reopen: Reopen) -> None:
    store = await reopen()
    await store.write(chain("a", "b", "c"))
    found: list[int] = []

    async def ask() -> None:
        subgraphs = (store.neighbourhood([node], hops=2) for node in "abc")
        found.extend(len(s.nodes) for s in await asyncio.gather(*subgraphs))

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    await ask()
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    assert found == [3] * 12
    # Closed by another loop than the one that opened it.
    await asyncio.to_thread(asyncio.run, store.close())
    with pytest.raises(KnowledgeUnavailable, match="closed"):
        await store.count()


async def test_a_cancelled_question_leaves_the_store_usable(reopen: Reopen) -> None:
    store = await reopen()
    await store.write(chain("a", "b"))
    # Connections first: the driver forgets to close one that is cancelled while it connects.
    await asyncio.gather(*(store.walk({"a": 1.0}) for _ in range(5)))
    asking = [asyncio.create_task(store.walk({"a": 1.0})) for _ in range(5)]
    await asyncio.sleep(0.002)
    for task in asking:
        task.cancel()
    ended = await asyncio.gather(*asking, return_exceptions=True)
    assert any(isinstance(end, asyncio.CancelledError) for end in ended)
    assert len(await store.edges()) == 1


async def test_routing_and_settings(empty: Neo4jSettings, tmp_path: object) -> None:
    routed = str(empty.uri).replace("bolt://", "neo4j://")
    settings = Settings.model_validate(
        {"home": tmp_path, "neo4j": {**empty.model_dump(), "uri": routed}}
    )
    store = await open_graph(settings, embedder=EMBEDDER, dimension=DIMENSION)
    assert isinstance(store, Neo4jGraph)
    await store.write(Batch([thing("ball")]))
    assert set(await store.nodes(["ball"])) == {"ball"}
    await store.close()
    embedded = await open_graph(Settings(home=settings.home), embedder=EMBEDDER, dimension=16)
    assert isinstance(embedded, SqliteGraph)
    await embedded.close()


async def test_ids_that_no_index_takes(reopen: Reopen) -> None:
    store = await reopen()
    with pytest.raises(ConfigError, match="too long for Neo4j"):
        await store.write(Batch([thing("x" * 9000)]))
    long = "y" * 6000
    await store.write(Batch([thing(long, "z" * 100_000)], [link(long, "b", text="t" * 100_000)]))
    assert set((await store.neighbourhood(["b"])).nodes) == {"b", long}
