"""Ending edges, confirming them, and taking out sources. Runs inside a write transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable
from typing import Final

from reverie.knowledge.graph.records import RESOLVED, SAME_AS, Batch
from reverie.knowledge.graph.sqlite.bookkeeping import (
    note_change,
    set_version,
    sources_of,
    version_of,
)
from reverie.knowledge.graph.sqlite.rows import array
from reverie.knowledge.graph.sqlite.writing import SAME_EDGE, write

# IS, as there may be no such relation or source.
_MADE_BY_RESOLUTION: Final = (
    f"(relation IS (SELECT number FROM relations WHERE name = '{SAME_AS}') "  # noqa: S608  # ours
    f"AND source IS (SELECT number FROM sources WHERE name = '{RESOLVED}') AND valid_to IS NULL)"
)
_ALONE: Final = (
    "SELECT n.number FROM json_each(?) f CROSS JOIN nodes n ON n.number = f.value "  # noqa: S608  # ours
    "JOIN sources s ON s.number = n.source "
    "WHERE s.name = '' AND n.kind IN ('entity', 'action', 'outcome') "
    f"AND NOT EXISTS (SELECT 1 FROM edges WHERE start_node = n.number "
    f"AND NOT {_MADE_BY_RESOLUTION}) "
    f"AND NOT EXISTS (SELECT 1 FROM edges WHERE end_node = n.number AND NOT {_MADE_BY_RESOLUTION})"
)


def end_edges(connection: sqlite3.Connection, numbers: Iterable[int], at: float) -> int:
    """Ends those that are valid beyond ``at``; how many."""
    ended = connection.executemany(
        "UPDATE edges SET valid_to = max(?1, valid_from) "
        "WHERE number = ?2 AND (valid_to IS NULL OR valid_to > max(?1, valid_from))",
        [(at, number) for number in numbers],
    ).rowcount
    note_change(connection)
    return max(ended, 0)


def confirm(connection: sqlite3.Connection, numbers: Iterable[int]) -> int:
    """Makes facts of valid hypotheses; ends one whose statement is a fact already."""
    confirmed = 0
    for number in numbers:
        row = connection.execute(
            "SELECT start_node, end_node, relation, 1, text, source, run FROM edges "
            "WHERE number = ? AND NOT fact AND (valid_to IS NULL OR valid_to > ?)",
            (number, time.time()),
        ).fetchone()
        if row is None:
            continue
        if connection.execute(SAME_EDGE, row).fetchone() is not None:
            end_edges(connection, [number], time.time())
        else:
            connection.execute("UPDATE edges SET fact = 1 WHERE number = ?", (number,))
            confirmed += 1
    note_change(connection)
    return confirmed


def replace_source(connection: sqlite3.Connection, source: str, version: str, batch: Batch) -> bool:
    """Makes ``batch`` all that ``source`` says, unless it is there in that version."""
    if version_of(connection, source) == version:
        return False
    kept = set(write(connection, batch))
    number = sources_of(connection, [source])[source]
    now = time.time()
    valid = connection.execute(
        "SELECT number FROM edges WHERE source = ? AND (valid_to IS NULL OR valid_to > ?)",
        (number, now),
    )
    end_edges(connection, [edge for (edge,) in valid if edge not in kept], now)
    written = {node.id for node in batch.nodes}
    owned = connection.execute("SELECT number, id FROM nodes WHERE source = ?", (number,))
    _delete_nodes(connection, [node for node, identity in owned if identity not in written])
    set_version(connection, source, version)
    return True


def delete_source(connection: sqlite3.Connection, source: str) -> int:
    """Takes out a source and all it said; how many nodes and edges went."""
    row = connection.execute("SELECT number FROM sources WHERE name = ?", (source,)).fetchone()
    if row is None:
        return 0
    owned = [
        node for (node,) in connection.execute("SELECT number FROM nodes WHERE source = ?", row)
    ]
    ends = {
        node
        for pair in connection.execute(
            "SELECT start_node, end_node FROM edges WHERE source = ?", row
        )
        for node in pair
    }
    edges = connection.execute("DELETE FROM edges WHERE source = ?", row).rowcount
    gone = edges + _delete_nodes(connection, owned, ends)
    connection.execute("UPDATE sources SET version = NULL, loaded = NULL WHERE number = ?", row)
    return gone


def _delete_nodes(
    connection: sqlite3.Connection, numbers: Collection[int], ends: Collection[int] = ()
) -> int:
    """Takes out nodes with their edges, then things among ``ends`` and the nodes' neighbours that
    are left with none but those of entity resolution. How many nodes and edges went.
    """
    near = set(ends)
    for here, there in (("start_node", "end_node"), ("end_node", "start_node")):
        near.update(
            node
            for (node,) in connection.execute(
                f"SELECT {there} FROM edges WHERE {here} IN (SELECT value FROM json_each(?))",  # noqa: S608  # ours
                (array(numbers),),
            )
        )
    edges = _delete_edges_of(connection, numbers)
    alone = [node for (node,) in connection.execute(_ALONE, (array(near),))]
    edges += _delete_edges_of(connection, alone)
    gone = array({*numbers, *alone})
    connection.execute(
        "DELETE FROM aliases WHERE node IN (SELECT id FROM nodes WHERE number IN "
        "(SELECT value FROM json_each(?)))",
        (gone,),
    )
    nodes = connection.execute(
        "DELETE FROM nodes WHERE number IN (SELECT value FROM json_each(?))", (gone,)
    ).rowcount
    note_change(connection)
    return edges + nodes


def _delete_edges_of(connection: sqlite3.Connection, nodes: Collection[int]) -> int:
    """Takes out all edges from and to nodes; how many."""
    gone = 0
    for here in ("start_node", "end_node"):
        gone += connection.execute(
            f"DELETE FROM edges WHERE {here} IN (SELECT value FROM json_each(?))",  # noqa: S608  # ours
            (array(nodes),),
        ).rowcount
    return gone
