"""Rows of the tables as records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from reverie.knowledge.graph.records import Edge, Node, Span, Status
from reverie.knowledge.graph.sqlite.making import maker

_NODE: Final = (
    "SELECT n.number, n.id, n.kind, n.label, n.text, s.name, n.properties "
    "FROM nodes n JOIN sources s ON s.number = n.source"
)
_BARE_NODES_BY_NUMBER: Final = (
    "SELECT n.number, n.id, n.kind, n.label, n.text, n.source, n.properties "
    "FROM json_each(?) f CROSS JOIN nodes n ON n.number = f.value"
)
_EDGE: Final = (
    "SELECT a.id, r.name, b.id, e.text, coalesce(e.start_label, a.label), "
    "coalesce(e.end_label, b.label), e.fact, s.name, e.run, e.branch, e.expert, e.model, "
    "e.confidence, e.weight, e.valid_from, e.valid_to, e.number, e.path, e.first_line, "
    "e.last_line, e.page "
)
_JOINED: Final = (
    "JOIN nodes a ON a.number = e.start_node JOIN nodes b ON b.number = e.end_node "
    "JOIN relations r ON r.number = e.relation JOIN sources s ON s.number = e.source "
)

NODES_BY_ID: Final = f"{_NODE} WHERE n.id IN (SELECT value FROM json_each(?))"  # noqa: S608  # ours
NODES_AFTER: Final = f"{_NODE} WHERE n.number > ? ORDER BY n.number LIMIT ?"
EDGES: Final = f"{_EDGE} FROM edges e {_JOINED}"
"""Edges, as ``e``; conditions follow."""
BARE_EDGE: Final = (
    "e.number, e.start_node, e.relation, e.end_node, e.text, e.start_label, e.end_label, e.fact, "
    "e.source, e.weight, e.valid_from, e.path, e.first_line, e.last_line, "
    "e.run <> '' OR e.branch IS NOT NULL OR e.expert <> '' OR e.model <> '' "
    "OR e.confidence IS NOT NULL OR e.valid_to IS NOT NULL OR e.page IS NOT NULL"
)
"""The columns of an edge ``e`` that ``bare_edges`` wants. Handing each of them to Python takes a
good part of the time: so numbers stand in the place of names (see ``Names``), and the last one says
whether there is more to read, which edges that come from rules do not have.
"""
_MORE: Final = (
    "SELECT e.number, e.run, e.branch, e.expert, e.model, e.confidence, e.valid_to, e.page "
    "FROM json_each(?) f CROSS JOIN edges e ON e.number = f.value"
)
_NO_MORE: Final = (0, "", None, "", "", None, None, None)
_BARE_EDGES_BY_NUMBER: Final = (
    f"SELECT {BARE_EDGE} FROM json_each(?) f CROSS JOIN edges e ON e.number = f.value"  # noqa: S608  # ours
)

MOST_ROWS: Final = 2**62
"""A limit that SQLite still takes for a number."""

STATUSES: Final[tuple[Status, Status]] = ("hypothesis", "fact")

_make_node: Final = maker(Node)
_make_edge: Final = maker(Edge)
_make_span: Final = maker(Span)


def node_of(row: Sequence[Any]) -> Node:
    """A node of a row of one of the queries above."""
    _, identity, kind, label, text, source, properties = row
    return _make_node(
        identity, kind, label, text, source, {} if properties == "{}" else json.loads(properties)
    )


def edge_of(row: tuple[Any, ...]) -> Edge:
    """An edge of a row of ``EDGES``; the node's label stands where the edge has none."""
    path = row[17]
    return _make_edge(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        STATUSES[row[6]],
        row[7],
        None if path is None else _make_span(path, row[18], row[19], row[20]),
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
        row[14],
        row[15],
        str(row[16]),
    )


class Names:
    """Relations and sources by number. Neither ever goes or changes its name, so what is known
    stays right whoever writes.
    """

    def __init__(self) -> None:
        self.relations: dict[int, str] = {}
        self.sources: dict[int, str] = {}

    def learn(self, connection: sqlite3.Connection) -> None:
        """Reads those that came since."""
        for table, known in (("relations", self.relations), ("sources", self.sources)):
            rows = connection.execute(
                f"SELECT number, name FROM {table} WHERE number > ?",  # noqa: S608  # ours
                (max(known, default=0),),
            )
            known.update(rows)


def nodes_by_number(
    connection: sqlite3.Connection, numbers: Iterable[int], names: Names
) -> dict[int, Node]:
    """By number, the nodes of those that are there."""
    rows = connection.execute(_BARE_NODES_BY_NUMBER, (array(numbers),)).fetchall()
    sources = names.sources
    if not sources.keys() >= {row[5] for row in rows}:
        names.learn(connection)
    return {
        number: _make_node(
            identity,
            kind,
            label,
            text,
            sources[source],
            {} if properties == "{}" else json.loads(properties),
        )
        for number, identity, kind, label, text, source, properties in rows
    }


def edges_among(
    connection: sqlite3.Connection, numbers: Iterable[int], nodes: Mapping[int, Node], names: Names
) -> list[Edge]:
    """Edges by number, in that order; ``nodes`` has their ends."""
    rows = connection.execute(_BARE_EDGES_BY_NUMBER, (array(numbers),)).fetchall()
    return bare_edges(connection, rows, nodes, names)


def bare_edges(
    connection: sqlite3.Connection,
    rows: Sequence[tuple[Any, ...]],
    nodes: Mapping[int, Node],
    names: Names,
) -> list[Edge]:
    """The edges of rows of ``BARE_EDGE``; ``nodes`` has their ends."""
    relations, sources = names.relations, names.sources
    if not (
        relations.keys() >= {row[2] for row in rows} and sources.keys() >= {row[8] for row in rows}
    ):
        names.learn(connection)
    more: dict[int, tuple[Any, ...]] = {}
    if marked := [row[0] for row in rows if row[14]]:
        more = {row[0]: row for row in connection.execute(_MORE, (array(marked),))}
    edges: list[Edge] = []
    for row in rows:
        number, path = row[0], row[11]
        start, end = nodes[row[1]], nodes[row[3]]
        rest = more[number] if row[14] else _NO_MORE
        edges.append(
            _make_edge(
                start.id,
                relations[row[2]],
                end.id,
                row[4],
                row[5] or start.label,
                row[6] or end.label,
                STATUSES[row[7]],
                sources[row[8]],
                None if path is None else _make_span(path, row[12], row[13], rest[7]),
                rest[1],
                rest[2],
                rest[3],
                rest[4],
                rest[5],
                row[9],
                row[10],
                rest[6],
                str(number),
            )
        )
    return edges


def edges_by_number(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, Edge]:
    """By number, the edges of those that are there."""
    rows = connection.execute(
        f"{EDGES} WHERE e.number IN (SELECT value FROM json_each(?))",  # noqa: S608  # ours
        (array(numbers),),
    )
    return {row[16]: edge_of(row) for row in rows}


def numbers_of(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, int]:
    """By id, the number of the nodes that are there."""
    wanted = list(ids)
    if len(wanted) == 1:  # the usual question, in half the time
        rows = connection.execute("SELECT id, number FROM nodes WHERE id = ?", wanted)
    else:
        rows = connection.execute(
            "SELECT id, number FROM nodes WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(wanted),),
        )
    return dict(rows)


def relations_of(connection: sqlite3.Connection) -> Mapping[str, int]:
    """By name, the number of every relation; there are few."""
    return dict(connection.execute("SELECT name, number FROM relations"))


def array(numbers: Iterable[int]) -> str:
    """A JSON array, which is one parameter, however many numbers it holds."""
    return f"[{','.join(map(str, numbers))}]"


def edge_numbers(ids: Iterable[str]) -> list[int]:
    """Edge ids as this store counts them; other stores' ids match nothing here."""
    return [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) < 19]
