"""Nodes and edges: what is stored, what counts as the same, what is refused."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch, Edge, Node, Span
from tests.contract.graph_examples import (
    DIMENSION,
    EMBEDDER,
    NOTES,
    OneStore,
    Reopen,
    causes,
    chain,
    chunk,
    link,
    notes,
    thing,
    unstamped,
    vector,
)

_REFUSED = [
    Batch([Node("", "entity", "x")]),
    Batch([Node("x", "animal", "x")]),  # type: ignore[arg-type] # what is tested
    Batch(edges=[link("", "b")]),
    Batch(edges=[link("a", "")]),
    Batch(edges=[link("a", "b", "")]),
    Batch(edges=[link("a", "b", "LINKS")]),
    Batch(edges=[link("a", "b", "x`]->() DETACH DELETE a //")]),
    Batch(edges=[link("a", "b", "x" * 41)]),
    Batch(edges=[link("a", "b", status="maybe")]),
    Batch(edges=[link("a", "b", weight=0.0)]),
    Batch(edges=[link("a", "b", weight=float("nan"))]),
    Batch(edges=[link("a", "b", confidence=1.5)]),
    Batch([thing("x")], node_vectors={"x": np.ones(DIMENSION + 1, dtype=np.float32)}),
    Batch([thing("x")], node_vectors={"x": np.full(DIMENSION, np.nan, dtype=np.float32)}),
    Batch([thing("x")], node_vectors={"y": vector("y")}),
    Batch(edges=[link("a", "b")], edge_vectors={0: np.ones((2, DIMENSION))}),  # type: ignore[dict-item] # what is tested
    Batch(edges=[link("a", "b")], edge_vectors={0: np.full(DIMENSION, np.inf)}),  # type: ignore[dict-item] # what is tested
    Batch(edges=[link("a", "b")], edge_vectors={7: vector("a")}),
]


class Writing(OneStore):
    async def test_what_is_written_is_read_again(self, store: GraphStore, reopen: Reopen) -> None:
        batch = notes()
        before = time.time()
        ids = await store.write(batch)
        assert len(set(ids)) == len(batch.edges)
        for opened in (store, await reopen()):
            found = await opened.nodes([node.id for node in batch.nodes])
            assert [found[node.id] for node in batch.nodes] == list(batch.nodes)
            edges = await opened.edges()
            assert [edge.id for edge in edges] == ids
            assert [unstamped(edge) for edge in edges] == list(batch.edges)
            for edge in edges:
                assert edge.valid_from is not None
                assert before - 1 <= edge.valid_from <= time.time() + 1
            assert {"ball", "it falls", "ice", "it melts"} == set(
                await opened.nodes(["ball", "it falls", "ice", "it melts", "nothing"])
            )

    async def test_everything_an_edge_says_is_kept(self, store: GraphStore) -> None:
        edge = Edge(
            "a",
            "worked_at",
            "b",
            text="since spring",
            start_label="A.",
            end_label="the B",
            status="hypothesis",
            source="book.pdf",
            span=Span("book.pdf", 3, 7, page=12),
            run="run-7",
            branch=3,
            expert="causal",
            model="toy",
            confidence=0.25,
            weight=2.5,
            valid_from=100.0,
            valid_to=2e10,
        )
        (number,) = await store.write(Batch(edges=[edge]))
        assert await store.edges() == [replace(edge, id=number)]

    async def test_an_empty_batch_is_nothing(self, store: GraphStore) -> None:
        assert await store.write(Batch()) == []
        assert (await store.size()).nodes == {}

    async def test_the_same_edge_keeps_its_id(self, store: GraphStore) -> None:
        first = causes("ball", "is dropped", "falls", source=NOTES, span=Span(NOTES, 1))
        (number,) = await store.write(Batch(edges=[first]))
        newer = replace(first, confidence=0.5, weight=3.0, span=Span(NOTES, 9))
        assert await store.write(Batch(edges=[newer, newer])) == [number, number]
        (edge,) = await store.edges()
        assert (edge.confidence, edge.weight, edge.span) == (0.5, 3.0, Span(NOTES, 9))
        assert await store.write(Batch(edges=[replace(first, span=None)])) == [number]
        (edge,) = await store.edges()
        assert (edge.confidence, edge.span) == (0.5, Span(NOTES, 9))

    async def test_another_edge_is_another_one(self, store: GraphStore) -> None:
        first = causes("a", "drops", "b")
        others: list[dict[str, Any]] = [
            {"text": "rolls"},
            {"status": "hypothesis"},
            {"source": "else"},
            {"run": "run-2"},
            {"relation": "calls"},
            {"start": "c"},
            {"end": "c"},
        ]
        edges = [first, *(replace(first, **other) for other in others)]
        numbers = await store.write(Batch(edges=edges))
        assert len(set(numbers)) == len(edges)
        assert await store.write(Batch(edges=edges)) == numbers
        assert len(await store.edges()) == len(edges)

    async def test_a_node_keeps_label_and_kind(self, store: GraphStore) -> None:
        await store.write(Batch([Node("b", "entity", "The B", "old", properties={"a": 1})]))
        await store.write(Batch([Node("b", "outcome", "b", "new", properties={"c": [2, "x"]})]))
        node = Node("b", "entity", "The B", "new", properties={"c": [2, "x"]})
        assert await store.nodes(["b"]) == {"b": node}
        # A triplet's nodes have nothing to say of a thing: what was said stays.
        await store.write(Batch([thing("b")]))
        assert await store.nodes(["b"]) == {"b": node}

    async def test_ends_that_are_no_nodes_become_entities(self, store: GraphStore) -> None:
        await store.write(chain("a", "b"))
        assert await store.nodes(["a", "b"]) == {"a": thing("a"), "b": thing("b")}

    async def test_an_end_becomes_what_is_written_of_it(self, store: GraphStore) -> None:
        await store.write(chain("document:a", "document:b"))
        node = Node("document:b", "document", "B", "all of it", "b", {"pages": 2})
        await store.write(Batch([node]))
        assert await store.nodes(["document:b"]) == {"document:b": node}
        assert (await store.size()).nodes == {"document": 1, "entity": 1}
        await store.write(Batch([replace(node, kind="chunk", label="other")]))
        assert await store.nodes(["document:b"]) == {"document:b": node}

    async def test_edges_have_the_labels_of_their_nodes(self, store: GraphStore) -> None:
        await store.write(Batch([Node("b", "entity", "The B")], [link("b", "c"), link("c", "c")]))
        first, second = await store.edges()
        assert (first.start_label, first.end_label) == ("The B", "c")
        assert (second.start, second.start_label, second.end) == ("c", "c", "c")

    async def test_ended_edges_are_history(self, store: GraphStore) -> None:
        past = causes("ball", "is dropped", "falls", valid_from=10.0, valid_to=20.0)
        (ended,) = await store.write(Batch(edges=[past]))
        assert await store.edges() == []
        (valid,) = await store.write(Batch(edges=[replace(past, valid_from=None, valid_to=None)]))
        assert valid != ended
        assert await store.write(Batch(edges=[past])) == [ended]
        assert [edge.id for edge in await store.edges(ended=True)] == [ended, valid]
        assert await store.count() == 1

    async def test_invalidate(self, store: GraphStore) -> None:
        a, b = await store.write(chain("a", "b", "c", valid_from=50.0))
        assert await store.invalidate([a, a, "99999999", "no number"], at=60.0) == 1
        assert await store.invalidate([a], at=70.0) == 0
        assert [edge.id for edge in await store.edges()] == [b]
        old, _ = await store.edges(ended=True)
        assert (old.valid_from, old.valid_to) == (50.0, 60.0)
        # An edge cannot end before it began.
        assert await store.invalidate([b], at=40.0) == 1
        assert (await store.edges(ended=True))[1].valid_to == 50.0
        assert await store.invalidate([]) == 0

    async def test_stated_again_is_a_new_edge(self, store: GraphStore) -> None:
        edge = causes("ball", "is dropped", "falls")
        (first,) = await store.write(Batch(edges=[edge], edge_vectors={0: vector("ball")}))
        before = time.time()
        assert await store.invalidate([first]) == 1
        assert await store.similar(vector("ball"), minimum=-1) == []
        (second,) = await store.write(Batch(edges=[edge], edge_vectors={0: vector("ball")}))
        assert first != second
        old, new = await store.edges(ended=True)
        assert old.valid_to is not None
        assert before - 1 <= old.valid_to <= time.time() + 1
        assert new.valid_to is None
        assert [m.id for m in await store.similar(vector("ball"), minimum=-1)] == [second]

    async def test_confirm(self, store: GraphStore) -> None:
        dreamed = causes("ball", "is dropped", "falls", status="hypothesis")
        known = replace(dreamed, text="rolls", status="fact")
        guess = replace(known, status="hypothesis")
        a, b, c = await store.write(Batch(edges=[dreamed, known, guess]))
        assert await store.confirm([a, b, c, "99999999"]) == 1
        assert [(edge.id, edge.status) for edge in await store.edges()] == [
            (a, "fact"),
            (b, "fact"),
        ]
        ended = (await store.edges(ended=True))[2]
        assert (ended.id, ended.status, ended.valid_to is None) == (c, "hypothesis", False)
        assert await store.confirm([a]) == 0

    async def test_what_is_refused_leaves_nothing(self, store: GraphStore) -> None:
        good = chain("c", "d")
        for batch in _REFUSED:
            nodes, edges = [thing("e"), *batch.nodes], [*batch.edges, *good.edges]
            with pytest.raises(ConfigError):
                await store.write(replace(batch, nodes=nodes, edges=edges))
        size = await store.size()
        assert (size.nodes, size.edges, size.vectors) == ({}, {}, 0)

    async def test_size_and_count(self, store: GraphStore) -> None:
        ids = await store.write(notes())
        size = await store.size()
        assert size.nodes == {"document": 1, "chunk": 2, "entity": 4}
        assert size.edges == {"contains": 2, "follows": 1, "mentions": 2, "causes": 2}
        assert (size.ended, size.vectors) == (0, 5)
        assert await store.count() == 2
        assert await store.count(status="fact") == 1
        await store.invalidate(ids[:1])
        await store.invalidate(ids[-1:])
        size = await store.size()
        assert size.edges == {"contains": 1, "follows": 1, "mentions": 2, "causes": 1}
        assert size.ended == 2
        assert await store.count(status="hypothesis") == 0

    async def test_edges_of_a_run_or_a_source(self, store: GraphStore) -> None:
        ids = await store.write(notes())
        assert [edge.id for edge in await store.edges(run="run-1")] == ids[-1:]
        assert [edge.id for edge in await store.edges(source=NOTES)] == ids[:-1]
        assert [edge.id for edge in await store.edges(source="")] == ids[-1:]
        assert [edge.id for edge in await store.edges(source=NOTES, run="run-1")] == []
        assert [edge.id for edge in await store.edges(relations=["follows", "causes"])] == [
            ids[2],
            *ids[-2:],
        ]
        assert [edge.id for edge in await store.edges(statuses=["hypothesis"])] == ids[-1:]
        assert [edge.id for edge in await store.edges(limit=2)] == ids[:2]
        assert await store.edges(limit=0) == []
        assert await store.edges(statuses=[]) == []

    async def test_two_stores_write_at_once(self, store: GraphStore, reopen: Reopen) -> None:
        other = await reopen()
        shared = [causes("ball", f"is dropped {n}", "falls") for n in range(5)]
        await asyncio.gather(
            *(
                writer.write(Batch([chunk(n)], [*shared, link(f"chunk:{n}", "ball", "mentions")]))
                for n, writer in enumerate([store, other] * 6)
            )
        )
        size = await store.size()
        assert size.edges == {"causes": 5, "mentions": 12}
        assert size.nodes == {"chunk": 12, "entity": 2}

    async def test_another_embedder_is_refused(self, store: GraphStore, reopen: Reopen) -> None:
        # Nothing is there yet whose vectors could be compared.
        early = await reopen("another", 8)
        await store.write(notes())
        with pytest.raises(KnowledgeUnavailable, match=f"embedder {EMBEDDER}"):
            await reopen("another", DIMENSION)
        with pytest.raises(KnowledgeUnavailable, match="16"):
            await reopen(EMBEDDER, 8)
        numbers = np.ones(8, dtype=np.float32)
        with pytest.raises(KnowledgeUnavailable, match="another"):
            await early.write(Batch([thing("x")], node_vectors={"x": numbers}))
        with pytest.raises(KnowledgeUnavailable, match="another"):
            await early.similar(numbers)

    async def test_closed_twice(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.close()
        await store.close()
        with pytest.raises(KnowledgeUnavailable, match="closed"):
            await store.count()
