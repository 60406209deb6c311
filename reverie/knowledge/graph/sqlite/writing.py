"""Putting nodes and edges in. Runs inside a write transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError
from reverie.knowledge.graph.checks import properties_json
from reverie.knowledge.graph.records import Batch, Edge, Node
from reverie.knowledge.graph.sqlite.bookkeeping import note_change, set_version, sources_of
from reverie.knowledge.graph.sqlite.rows import numbers_of, relations_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INSERT_NODE: Final = (
    "INSERT INTO nodes (number, id, kind, label, text, source, properties, implied) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# What is empty leaves what is there. One that so far was only an edge's end, or that nobody had as
# their own, becomes what is said of it now.
_UPDATE_NODE: Final = (
    "UPDATE nodes SET kind = iif(implied OR (:named AND source = :nobody), :kind, kind), "
    "label = iif(implied OR (:named AND source = :nobody), :label, label), "
    "text = iif(:text = '', text, :text), source = iif(:named, :source, source), "
    "properties = iif(:properties = '{}', properties, :properties), implied = 0 "
    "WHERE number = :number"
)
_INSERT_EDGE: Final = (
    "INSERT INTO edges (number, start_node, end_node, relation, fact, strength, valid_from, "
    "valid_to, begins, text, start_label, end_label, source, run, branch, expert, model, "
    "confidence, weight, path, first_line, last_line, page) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
SAME_EDGE: Final = (
    "SELECT number FROM edges WHERE start_node = ? AND end_node = ? AND relation = ? AND fact = ? "
    "AND text = ? AND source = ? AND run = ? AND valid_to IS NULL"
)
_SAME_ENDED_EDGE: Final = SAME_EDGE.replace(
    "valid_to IS NULL", "valid_to = ? AND (? IS NULL OR valid_from = ?)"
)
_UPDATE_EDGE: Final = (
    "UPDATE edges SET confidence = coalesce(:confidence, confidence), weight = :weight, "
    "strength = :weight * coalesce(:confidence, confidence, 1.0), "
    "path = iif(:spanned, :path, path), first_line = iif(:spanned, :first, first_line), "
    "last_line = iif(:spanned, :last, last_line), page = iif(:spanned, :page, page) "
    "WHERE number = :number"
)


def write(connection: sqlite3.Connection, batch: Batch) -> list[int]:
    """Stores a checked batch; the numbers of its edges, in order."""
    names = {node.source for node in batch.nodes} | {edge.source for edge in batch.edges}
    sources = sources_of(connection, names)
    known, old = _write_nodes(connection, batch, sources)
    edges = _write_edges(connection, batch.edges, known, old, sources)
    _write_vectors(connection, "node_vectors", _owned(batch.node_vectors, known))
    _write_vectors(
        connection, "edge_vectors", {edges[at]: v for at, v in batch.edge_vectors.items()}
    )
    connection.executemany(
        "INSERT INTO aliases (name, node) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET node = excluded.node",
        batch.aliases.items(),
    )
    for source, version in batch.versions.items():
        set_version(connection, source, version)
    return edges


def _write_nodes(
    connection: sqlite3.Connection, batch: Batch, sources: Mapping[str, int]
) -> tuple[dict[str, int], int]:
    """The numbers of all nodes that the batch names, and the largest that was there before."""
    nodes: dict[str, Node] = {}
    for node in batch.nodes:
        nodes[node.id] = _together(nodes[node.id], node) if node.id in nodes else node
    ends = {end: None for edge in batch.edges for end in (edge.start, edge.end)}
    known = numbers_of(connection, {*nodes, *ends, *batch.node_vectors})
    old = _last(connection, "nodes")
    nobody = sources_of(connection, [""])[""]
    if any(node.id in known for node in nodes.values()):
        note_change(connection)  # of a kind
    connection.executemany(
        _UPDATE_NODE,
        [
            {
                "kind": node.kind,
                "label": node.label,
                "text": node.text,
                "named": bool(node.source),
                "source": sources[node.source],
                "nobody": nobody,
                "properties": properties_json(node),
                "number": known[node.id],
            }
            for node in nodes.values()
            if node.id in known
        ],
    )
    rows = []
    number = old
    for node in nodes.values():
        if node.id not in known:
            number += 1
            known[node.id] = number
            said = (node.kind, node.label, node.text, sources[node.source], properties_json(node))
            rows.append((number, node.id, *said, 0))
    missing = [end for end in ends if end not in known]
    for end in missing:
        number += 1
        known[end] = number
        rows.append((number, end, "entity", end, "", nobody, "{}", 1))
    connection.executemany(_INSERT_NODE, rows)
    return known, old


def _together(first: Node, second: Node) -> Node:
    """Two of one batch with the same id, as if they had been written one after the other."""
    return Node(
        first.id,
        first.kind,
        first.label,
        second.text or first.text,
        second.source or first.source,
        second.properties or first.properties,
    )


def _write_edges(
    connection: sqlite3.Connection,
    edges: Sequence[Edge],
    known: Mapping[str, int],
    old: int,
    sources: Mapping[str, int],
) -> list[int]:
    now = time.time()
    relations = _relations(connection, {edge.relation for edge in edges})
    number = _last(connection, "edges")
    numbers: list[int] = []
    inserted: list[tuple[object, ...]] = []
    updated: list[dict[str, object]] = []
    fresh: dict[tuple[object, ...], int] = {}  # of this batch, by identity; the row's position
    for edge in edges:
        start, end, confidence = known[edge.start], known[edge.end], edge.confidence
        fact, ended = edge.status == "fact", edge.valid_to
        said = (
            start,
            end,
            relations[edge.relation],
            fact,
            edge.text,
            sources[edge.source],
            edge.run,
        )
        identity = said if ended is None else (*said, ended, edge.valid_from)
        there = None
        if (seen := fresh.get(identity)) is not None:
            numbers.append(seen)
            updated.append(_change(edge, seen))
            continue
        if start <= old and end <= old:  # an edge of a new node cannot be there
            there = _find_edge(connection, edge, said)
        if there is not None:
            fresh[identity] = there
            numbers.append(there)
            updated.append(_change(edge, there))
            continue
        number += 1
        fresh[identity] = number
        numbers.append(number)
        begins = edge.valid_from
        if begins is None:
            begins = now if ended is None else min(now, ended)
        span = edge.span
        inserted.append(
            (
                *(number, start, end, said[2], fact),
                edge.weight if confidence is None else edge.weight * confidence,
                *(begins, ended, begins if begins > now else None),
                *(edge.text, edge.start_label or None, edge.end_label or None),
                *(said[5], edge.run, edge.branch, edge.expert, edge.model, confidence),
                edge.weight,
                *(
                    (None, None, None, None)
                    if span is None
                    else (span.path, span.first_line, span.last_line, span.page)
                ),
            )
        )
    connection.executemany(_INSERT_EDGE, inserted)
    connection.executemany(_UPDATE_EDGE, updated)
    return numbers


def _find_edge(connection: sqlite3.Connection, edge: Edge, said: tuple[object, ...]) -> int | None:
    ended, begins = edge.valid_to, edge.valid_from
    row = (
        connection.execute(SAME_EDGE, said)
        if ended is None
        else connection.execute(_SAME_ENDED_EDGE, (*said, ended, begins, begins))
    ).fetchone()
    return None if row is None else int(row[0])


def _change(edge: Edge, number: int) -> dict[str, object]:
    span = edge.span
    return {
        "number": number,
        "confidence": edge.confidence,
        "weight": edge.weight,
        "spanned": span is not None,
        "path": span and span.path,
        "first": span and span.first_line,
        "last": span and span.last_line,
        "page": span and span.page,
    }


def _relations(connection: sqlite3.Connection, names: Collection[str]) -> Mapping[str, int]:
    known = relations_of(connection)
    if missing := sorted(set(names) - set(known)):
        connection.executemany(
            "INSERT INTO relations (name) VALUES (?)", [(name,) for name in missing]
        )
        known = relations_of(connection)
    return known


def _owned(
    vectors: Mapping[str, NDArray[np.float32]], known: Mapping[str, int]
) -> dict[int, NDArray[np.float32]]:
    for node in vectors:
        if node not in known:
            raise ConfigError(
                f"A vector is for the node {node!r}, which is not there",
                hint="Write the node in the same batch or before",
            )
    return {known[node]: vector for node, vector in vectors.items()}


def _write_vectors(
    connection: sqlite3.Connection, table: str, vectors: Mapping[int, NDArray[np.float32]]
) -> None:
    rows = [(owner, vector.tobytes()) for owner, vector in vectors.items()]
    if not rows:
        return
    replaced = connection.executemany(
        f"DELETE FROM {table} WHERE owner = ? AND vector <> ?",  # noqa: S608  # ours
        rows,
    ).rowcount
    if replaced > 0:
        note_change(connection)
    connection.executemany(f"INSERT OR IGNORE INTO {table} (owner, vector) VALUES (?, ?)", rows)  # noqa: S608  # ours


def _last(connection: sqlite3.Connection, table: str) -> int:
    """The largest number that the table ever gave."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])
