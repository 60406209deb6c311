"""Sources: replaced, deleted, and versioned; other names of nodes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from reverie.errors import ConfigError
from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch
from tests.contract.graph_examples import (
    NOTES,
    OneStore,
    Reopen,
    causes,
    chunk,
    link,
    notes,
    pairs,
    thing,
    vector,
)


class Sources(OneStore):
    async def test_replace_source(self, store: GraphStore) -> None:
        first = Batch(
            [chunk(1), chunk(2)],
            [
                link("chunk:1", "ball", "mentions", source=NOTES),
                link("chunk:2", "ice", "mentions", source=NOTES),
                causes("ball", "is dropped", "falls", source=NOTES),
                causes("ice", "is warm", "melts", source=NOTES),
            ],
            edge_vectors={2: vector("ball falls"), 3: vector("ice melts")},
        )
        assert await store.source_version(NOTES) is None
        assert await store.replace_source(NOTES, "1", first)
        assert await store.source_version(NOTES) == "1"
        before = {edge.end: edge.id for edge in await store.edges()}

        assert not await store.replace_source(NOTES, "1", Batch())
        assert len(await store.edges()) == 4

        second = Batch(
            [chunk(1), chunk(3)],
            [first.edges[0], link("chunk:3", "sun", "mentions", source=NOTES), first.edges[2]],
        )
        assert await store.replace_source(NOTES, "2", second)
        assert await store.source_version(NOTES) == "2"
        edges = await store.edges()
        assert {edge.end for edge in edges} == {"ball", "sun", "falls"}
        assert {edge.end: edge.id for edge in edges}.items() >= {
            ("ball", before["ball"]),
            ("falls", before["falls"]),
        }
        # The triplet stays as history; what the second chunk said went with it.
        assert {edge.end for edge in await store.edges(ended=True)} == {
            *("ball", "sun", "falls", "melts"),
        }
        assert set(await store.nodes(["chunk:1", "chunk:2", "chunk:3", "ice", "sun"])) == {
            *("chunk:1", "chunk:3", "ice", "sun"),
        }
        assert [m.triplet.what for m in await store.similar(vector("ice melts"), minimum=0.4)] == []

    async def test_other_sources_are_left_alone(self, store: GraphStore) -> None:
        await store.write(notes())
        other = Batch([chunk(9, source="b")], [link("chunk:9", "ball", "mentions", source="b")])
        await store.replace_source("b", "1", other)
        await store.replace_source("b", "2", Batch())
        assert len(await store.edges()) == 7
        assert await store.nodes(["chunk:9"]) == {}
        assert await store.source_version(NOTES) is None

    async def test_replacing_twice_at_once_writes_once(
        self, store: GraphStore, reopen: Reopen
    ) -> None:
        batch = Batch(edges=[causes("ball", "is dropped", "falls", source=NOTES)])
        stores = [store, await reopen(), await reopen()]
        wrote = await asyncio.gather(*(s.replace_source(NOTES, "1", batch) for s in stores))
        assert sorted(wrote) == [False, False, True]
        assert await store.count() == 1

    @pytest.mark.parametrize(
        "batch",
        [
            Batch(edges=[causes("a", "b", "c", source="other")]),
            Batch(edges=[causes("a", "b", "c")]),
            Batch([chunk(1, source="other")]),
        ],
        ids=["edge", "edge of none", "node"],
    )
    async def test_only_its_own_can_replace_a_source(self, store: GraphStore, batch: Batch) -> None:
        with pytest.raises(ConfigError):
            await store.replace_source(NOTES, "1", batch)
        assert await store.source_version(NOTES) is None
        assert (await store.size()).nodes == {}

    async def test_delete_source(self, store: GraphStore) -> None:
        batch = notes()
        ids = await store.write(batch)
        await store.invalidate(ids[2:3])
        await store.write(Batch([chunk(9, source="b")]))
        await store.write(Batch(edges=[link("chunk:9", "ball", "mentions", source="b")]))
        await store.write(Batch([thing("alone")], versions={NOTES: "1"}))
        # document, 2 chunks, "it falls", and 6 edges; "ball", "ice" and "it melts" have others.
        assert await store.delete_source(NOTES) == 10
        assert await store.delete_source(NOTES) == 0
        size = await store.size()
        assert size.nodes == {"chunk": 1, "entity": 4}
        assert size.edges == {"mentions": 1, "causes": 1}
        assert (size.ended, size.vectors) == (0, 1)
        assert await store.source_version(NOTES) is None
        assert set(await store.nodes(["ball", "ice", "it melts", "it falls", "alone"])) == {
            *("ball", "ice", "it melts", "alone"),
        }
        assert await store.find("Notes falls dropped") == []
        with pytest.raises(ConfigError):
            await store.delete_source("")

    async def test_what_resolution_alone_keeps_goes_with_its_document(
        self, store: GraphStore
    ) -> None:
        said = [
            link("chunk:1", "e-mail", "mentions", source=NOTES),
            link("chunk:1", "e mail", "mentions", source=NOTES),
            link("chunk:1", "lens", "mentions", source=NOTES),
            link("chunk:1", "kept apart", "mentions", source=NOTES),
            link("chunk:9", "email", "mentions", source="b"),
        ]
        await store.write(Batch([chunk(1), chunk(9, source="b")], said))
        made = [
            link("e-mail", "email", "same_as", source="resolution"),
            link("e mail", "e-mail", "same_as", source="resolution", status="hypothesis"),
            link("kept apart", "email", "same_as", source="resolution"),
            link("lens", "email", "same_as", source="a person"),
        ]
        ids = await store.write(Batch(edges=made))
        await store.invalidate(ids[2:3])

        # The chunk and its 4 edges; two things, of two edges that no document says.
        assert await store.delete_source(NOTES) == 9
        left = {*("email", "lens", "kept apart", "chunk:9")}
        assert set(await store.nodes(["e-mail", "e mail", *left])) == left
        assert len(await store.edges(ended=True)) == 3
        # The last one that is left has an edge of a person still, and one that a person ended.
        assert await store.delete_source("b") == 2

    async def test_a_deleted_source_can_come_again(self, store: GraphStore) -> None:
        batch = replace(notes(), edges=[replace(e, source=NOTES) for e in notes().edges])
        assert await store.replace_source(NOTES, "1", batch)
        assert await store.delete_source(NOTES) > 0
        assert (await store.size()).nodes == {}
        assert await store.replace_source(NOTES, "1", batch)
        assert pairs(await store.edges()) == pairs(batch.edges)

    async def test_names(self, store: GraphStore) -> None:
        await store.write(Batch([thing("ball"), chunk(1), thing("sun")]))
        await store.add_aliases({"The  Sphere": "ball", "Sol": "sun", "nobody": "no node"})
        names = ["ball", "A Ball.", "chunk:1", "sphere", "a SPHERE", "sol", "nobody", "moon", ""]
        assert await store.resolve(names) == {
            "ball": "ball",
            "A Ball.": "ball",
            "chunk:1": "chunk:1",
            "sphere": "ball",
            "a SPHERE": "ball",
            "sol": "sun",
        }
        await store.add_aliases({"sol": "chunk:1", "ball": "sun"})
        # A node's own name goes before an alias.
        assert await store.resolve(["sol", "ball"]) == {"sol": "chunk:1", "ball": "ball"}
        await store.delete_source(NOTES)
        assert await store.resolve(["sol"]) == {}
        assert await store.resolve([]) == {}
