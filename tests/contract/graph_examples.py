"""Graphs to test with, and how stores to test with are opened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch, Edge, Node, NodeKind, Span

EMBEDDER = "hashed words"
DIMENSION = 16

NOTES = "notes.md"


class Reopen(Protocol):
    """Opens the test's store; what it opened is closed when the test ends."""

    def __call__(
        self, embedder: str = EMBEDDER, dimension: int = DIMENSION
    ) -> Awaitable[GraphStore]: ...


class OneStore:
    """The fixture ``store``: the test's store, opened once."""

    @pytest.fixture
    async def store(self, reopen: Reopen) -> GraphStore:
        return await reopen()


def vector(text: str) -> NDArray[np.float32]:
    """[D], of length one: texts that share words are similar."""
    numbers = np.zeros(DIMENSION, dtype=np.float32)
    for word in re.findall(r"\w+", text.lower()) or [""]:
        numbers[hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1
    return np.asarray(numbers / np.linalg.norm(numbers), dtype=np.float32)


def axis(number: int, *, towards: int | None = None, cosine: float = 1.0) -> NDArray[np.float32]:
    """The unit vector [D] along an axis, or one that has ``cosine`` with it in a plane."""
    numbers = np.zeros(DIMENSION, dtype=np.float32)
    numbers[number] = cosine
    if towards is not None:
        numbers[towards] = np.sqrt(1 - cosine**2)
    return numbers


def thing(name: str, text: str = "", kind: NodeKind = "entity") -> Node:
    return Node(name, kind, name, text)


def chunk(number: int, text: str = "", source: str = NOTES) -> Node:
    return Node(f"chunk:{number}", "chunk", f"part {number}", text, source, {"number": number})


def link(start: str, end: str, relation: str = "links_to", **more: Any) -> Edge:
    return Edge(start, relation, end, **more)


def causes(what: str, action: str, result: str, **more: Any) -> Edge:
    return Edge(what, "causes", result, text=action, **more)


def chain(*names: str, **more: Any) -> Batch:
    """A way through ``names``, in that direction."""
    return Batch(edges=[link(start, end, **more) for start, end in pairwise(names)])


def notes() -> Batch:
    """A document of two chunks, what they mention, and what is said of that."""
    nodes = (
        Node(f"document:{NOTES}", "document", "Notes", "Notes on falling", NOTES),
        chunk(1, "A ball falls when it is dropped."),
        chunk(2, "Ice melts in the sun."),
        thing("ball"),
        thing("ice"),
    )
    edges = (
        link(f"document:{NOTES}", "chunk:1", "contains", source=NOTES),
        link(f"document:{NOTES}", "chunk:2", "contains", source=NOTES),
        link("chunk:2", "chunk:1", "follows", source=NOTES),
        link("chunk:1", "ball", "mentions", source=NOTES, span=Span(NOTES, 1, 1)),
        link("chunk:2", "ice", "mentions", source=NOTES, span=Span(NOTES, 3, 4)),
        causes("ball", "is dropped", "it falls", source=NOTES, confidence=0.9, model="toy"),
        causes("ice", "lies in the sun", "it melts", status="hypothesis", run="run-1", branch=2),
    )
    vectors = {
        position: vector(f"{edge.start} {edge.text} {edge.end}")
        for position, edge in enumerate(edges)
        if edge.relation == "causes"
    }
    return Batch(nodes, edges, {n.id: vector(n.text) for n in nodes if n.text}, vectors)


def said(edge: Edge) -> tuple[str, str, str]:
    """The statement alone."""
    return edge.start, edge.relation, edge.end


def pairs(edges: Sequence[Edge]) -> list[tuple[str, str]]:
    return [(edge.start, edge.end) for edge in edges]


def unstamped(edge: Edge) -> Edge:
    """Without what a store adds by itself."""
    return replace(edge, id="", valid_from=None, start_label="", end_label="")


async def everything(store: GraphStore, *, size: int = 1000) -> dict[str, Any]:
    """What ``pages`` gives, in a form that can be compared between stores."""
    nodes: dict[str, Node] = {}
    edges: list[Any] = []
    node_vectors: dict[str, list[float]] = {}
    aliases: dict[str, str] = {}
    versions: dict[str, str] = {}
    async for batch in store.pages(size=size):
        assert len(batch.nodes) <= size
        assert len(batch.edges) <= size
        nodes.update(
            (node.id, replace(node, properties=dict(node.properties))) for node in batch.nodes
        )
        for position, edge in enumerate(batch.edges):
            assert edge.start in nodes
            assert edge.end in nodes
            edges.append((replace(edge, id=""), _rounded(batch.edge_vectors.get(position))))
        for node, numbers in batch.node_vectors.items():
            assert node in nodes
            node_vectors[node] = _rounded(numbers) or []
        aliases |= batch.aliases
        versions |= batch.versions
    return {
        "nodes": nodes,
        "edges": edges,
        "node_vectors": node_vectors,
        "aliases": aliases,
        "versions": versions,
    }


def _rounded(numbers: NDArray[np.float32] | None) -> list[float] | None:
    return None if numbers is None else [round(float(number), 5) for number in numbers]
