"""What is written in one transaction. Each takes the store's lock first.

So writers come one after the other, as in SQLite: nothing is written twice, edges are numbered in
the order they were written, and writers never wait for each other in a circle.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reverie.errors import ConfigError
from reverie.knowledge.graph.neo4j.connection import Transaction
from reverie.knowledge.graph.neo4j.rows import (
    NODE,
    edge_values,
    node_of,
    node_values,
    span_values,
)
from reverie.knowledge.graph.neo4j.schema import check_embedder
from reverie.knowledge.graph.neo4j.types import LABELS, type_of
from reverie.knowledge.graph.records import Batch, Edge, Node

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
K = TypeVar("K")

_ROWS: Final = 2000
"""Of one query."""
_NUMBERS: Final = 500_000
"""In the vectors of one query: about 5 MB."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Whom the store is open for."""

    embedder: str
    dimension: int


async def lock(tx: Transaction, opened: Opened, *, vectors: bool = False) -> tuple[int, bool]:
    """Waits until no other transaction writes. Returns the number of the newest edge, and whether
    the embedder was recorded just now, which the first ``vectors`` do.

    Raises ``KnowledgeUnavailable`` when the store holds another embedder's vectors.
    """
    rows = await tx.rows(
        # Setting a property is what locks.
        "MATCH (s:ReverieStore {name: 'reverie'}) SET s.writes = coalesce(s.writes, 0) + 1 "
        "RETURN s.edges, s.embedder, s.dimension"
    )
    if not rows:
        # Somebody emptied the database under an open store.
        await tx.rows("MERGE (s:ReverieStore {name: 'reverie'}) SET s.schema = 1, s.edges = 0")
        return await lock(tx, opened, vectors=vectors)
    number, *kept = rows[0]
    check_embedder(kept, opened.embedder, opened.dimension)
    first = vectors and kept[0] is None
    if first:
        await tx.rows(
            "MATCH (s:ReverieStore {name: 'reverie'}) "
            "SET s.embedder = $embedder, s.dimension = $dimension",
            embedder=opened.embedder,
            dimension=opened.dimension,
        )
    return number, first


async def write(tx: Transaction, batch: Batch, newest: int) -> list[str]:
    """Writes a checked batch; ``newest`` is the number of the newest edge. The edges' ids."""
    await _write_nodes(tx, batch)
    found = await _write_edges(tx, batch.edges, newest)
    await _write_vectors(tx, batch, found)
    await _write_names(tx, batch)
    return [str(number) for number in found]


async def record_version(tx: Transaction, source: str, version: str) -> None:
    await tx.rows(
        "MERGE (s:ReverieSource {name: $source}) SET s.version = $version, s.loaded = $now",
        source=source,
        version=version,
        now=time.time(),
    )


async def _write_nodes(tx: Transaction, batch: Batch) -> None:
    given = {node.id for node in batch.nodes}
    ends = {e for edge in batch.edges for e in (edge.start, edge.end)}
    ids = list(dict.fromkeys((*given, *ends, *batch.node_vectors)))
    there: dict[str, Node] = {}
    implied: set[str] = set()
    for some in parts(ids, _ROWS):
        rows = await tx.rows(
            "UNWIND $ids AS id MATCH (n:ReverieNode {id: id}) "
            f"RETURN {NODE}, n.implied IS NOT NULL",
            ids=some,
        )
        for row in rows:
            there[row[0]] = node_of(row)
            if row[6]:
                implied.add(row[0])
    known = dict(there)
    said: dict[str, Node] = {}
    for node in batch.nodes:
        before = None if node.id in implied and node.id not in said else known.get(node.id)
        said[node.id] = known[node.id] = _together(before, node)
    for end in ends - known.keys():
        known[end] = Node(end, "entity", end)
    if lost := batch.node_vectors.keys() - known.keys():
        raise ConfigError(f"A vector is for the node {min(lost)!r}, which is not there")
    new = [node for identity_, node in known.items() if identity_ not in there]
    changed = [node for node in said.values() if node.id in there and node != there[node.id]]
    revealed = [node for node in said.values() if node.id in implied]
    await _create_nodes(tx, new, given)
    for nodes in parts(changed, _ROWS):
        await tx.rows(
            "UNWIND $rows AS row MATCH (n:ReverieNode {id: row.id}) SET n += row",
            rows=[node_values(node) for node in nodes],
        )
    for kind, nodes_of_kind in _by(revealed, lambda node: node.kind).items():
        for nodes in parts(nodes_of_kind, _ROWS):
            await tx.rows(
                "UNWIND $ids AS id MATCH (n:ReverieNode {id: id}) "
                f"REMOVE n.implied, n:{LABELS['entity']} SET n:{LABELS[kind]}",
                ids=[node.id for node in nodes],
            )


async def _create_nodes(tx: Transaction, new: Iterable[Node], given: set[str]) -> None:
    for kind, nodes_of_kind in _by(new, lambda node: node.kind).items():
        for nodes in parts(nodes_of_kind, _ROWS):
            await tx.rows(
                f"UNWIND $rows AS row CREATE (n:ReverieNode:{LABELS[kind]}) SET n = row",
                rows=[
                    # Who only ends an edge is whatever the first to describe it says.
                    node_values(node) | ({} if node.id in given else {"implied": True})
                    for node in nodes
                ],
            )


def _together(before: Node | None, node: Node) -> Node:
    """A node that is there, with what was written of it now."""
    if before is None:
        return node
    return Node(
        node.id,
        before.kind,
        before.label,
        node.text or before.text,
        node.source or before.source,
        node.properties or before.properties,
    )


@dataclass(slots=True)
class _There:
    """An edge that is there: its number and when it was valid."""

    number: int
    valid_from: float
    valid_to: float | None


async def _write_edges(tx: Transaction, edges: Sequence[Edge], newest: int) -> list[int]:
    """By position, the number of each edge."""
    now = time.time()
    values = [edge_values(edge, now) for edge in edges]
    there = await _same_edges(tx, edges, values)
    found: list[int] = []
    new: dict[int, tuple[Edge, dict[str, Any]]] = {}
    changed: list[tuple[Edge, dict[str, Any]]] = []
    for edge, said in zip(edges, values, strict=True):
        same = there[said["identity"]]
        match = next((t for t in same if _is_same(t, edge)), None)
        if match is None:
            newest += 1
            match = _There(newest, said["valid_from"], said["valid_to"])
            same.append(match)
            new[newest] = edge, said | {"number": newest}
        elif match.number in new:
            first = new[match.number][1]
            first.update(_news(edge))
        else:
            changed.append((edge, {"number": match.number, "news": _news(edge)}))
        found.append(match.number)
    await _create_edges(tx, list(new.values()))
    await _change_edges(tx, changed)
    if new:
        await tx.rows("MATCH (s:ReverieStore {name: 'reverie'}) SET s.edges = $n", n=newest)
    return found


def _is_same(there: _There, edge: Edge) -> bool:
    """Whether an edge of the same identity is the one to be written: of valid ones every one."""
    if edge.valid_to is None:
        return there.valid_to is None
    return (there.valid_from, there.valid_to) == (edge.valid_from, edge.valid_to)


def _news(edge: Edge) -> dict[str, Any]:
    """What an edge that is there takes from one that is written."""
    weight = None if edge.weight == 1.0 else edge.weight
    news = {"weight": weight, **span_values(edge.span)}
    return news if edge.confidence is None else news | {"confidence": edge.confidence}


async def _same_edges(
    tx: Transaction, edges: Sequence[Edge], values: Sequence[Mapping[str, Any]]
) -> defaultdict[str, list[_There]]:
    """By identity, the edges that are there, ended ones too."""
    there: defaultdict[str, list[_There]] = defaultdict(list)
    wanted: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for edge, said in zip(edges, values, strict=True):
        wanted[type_of(edge.relation)][said["identity"]] = None
    for name, identities in wanted.items():
        for some in parts(list(identities), _ROWS):
            rows = await tx.rows(
                f"UNWIND $identities AS identity MATCH ()-[e:{name} {{identity: identity}}]->() "
                "RETURN identity, e.number, e.valid_from, e.valid_to ORDER BY e.number",
                identities=some,
            )
            for key, *rest in rows:
                there[key].append(_There(*rest))
    return there


async def _create_edges(tx: Transaction, new: Iterable[tuple[Edge, dict[str, Any]]]) -> None:
    for name, edges in _by(new, lambda pair: type_of(pair[0].relation)).items():
        for some in parts(edges, _ROWS):
            await tx.rows(
                "UNWIND $rows AS row MATCH (a:ReverieNode {id: row.start}) "
                "MATCH (b:ReverieNode {id: row.end}) "
                f"CREATE (a)-[e:{name}]->(b) SET e = row.values",
                rows=[
                    {"start": edge.start, "end": edge.end, "values": values}
                    for edge, values in some
                ],
            )


async def _change_edges(tx: Transaction, changed: Iterable[tuple[Edge, dict[str, Any]]]) -> None:
    for name, edges in _by(changed, lambda pair: type_of(pair[0].relation)).items():
        for some in parts(edges, _ROWS):
            await tx.rows(
                f"UNWIND $rows AS row MATCH ()-[e:{name} {{number: row.number}}]->() "
                "SET e += row.news",
                rows=[row for _, row in some],
            )


async def _write_vectors(tx: Transaction, batch: Batch, found: Sequence[int]) -> None:
    # These procedures keep float32; a property that is set keeps float64.
    await _each_vector(
        tx,
        "UNWIND $rows AS row MATCH (n:ReverieNode {id: row.key}) "
        "CALL db.create.setNodeVectorProperty(n, 'embedding', row.vector) RETURN count(*)",
        list(batch.node_vectors.items()),
    )
    relations = {position: batch.edges[position].relation for position in batch.edge_vectors}
    for name, positions in _by(relations, lambda position: type_of(relations[position])).items():
        await _each_vector(
            tx,
            f"UNWIND $rows AS row MATCH ()-[e:{name} {{number: row.key}}]->() "
            # What stands for an edge never changes.
            "WHERE e.embedding IS NULL "
            "CALL db.create.setRelationshipVectorProperty(e, 'embedding', row.vector) "
            "RETURN count(*)",
            [(found[position], batch.edge_vectors[position]) for position in positions],
        )


async def _each_vector(
    tx: Transaction, query: str, vectors: Sequence[tuple[str | int, NDArray[np.float32]]]
) -> None:
    if vectors:
        size = max(1, _NUMBERS // len(vectors[0][1]))
        for some in parts(vectors, size):
            rows = [{"key": key, "vector": vector.tolist()} for key, vector in some]
            await tx.rows(query, rows=rows)


async def _write_names(tx: Transaction, batch: Batch) -> None:
    for some in parts(list(batch.aliases.items()), _ROWS):
        await tx.rows(
            "UNWIND $rows AS row MERGE (a:ReverieAlias {name: row[0]}) SET a.node = row[1]",
            rows=[list(pair) for pair in some],
        )
    for source, version in batch.versions.items():
        await record_version(tx, source, version)


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items``, at most ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: defaultdict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
