"""All of a graph in pages, and how much it is."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from reverie.knowledge.graph.records import Batch, GraphSize
from reverie.knowledge.graph.sqlite.rows import (
    EDGES,
    MOST_ROWS,
    NODES_AFTER,
    array,
    edge_of,
    node_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """How far pages have come."""

    part: Literal["nodes", "edges", "names", "over"] = "nodes"
    after: int = 0
    """The number of the last row that was given."""
    last_edge: int | None = None
    """The last edge that counts: its nodes are among those given. None: not known yet."""


BEGINNING: Final = Place()


def page(
    connection: sqlite3.Connection, place: Place, size: int, dimension: int
) -> tuple[Batch, Place] | None:
    """The page at ``place`` and the place after it; None when it is over."""
    size = min(size, MOST_ROWS)
    if place.last_edge is None:
        (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM edges").fetchone()
        place = replace(place, last_edge=last)
    if place.part == "nodes":
        rows = connection.execute(NODES_AFTER, (place.after, size)).fetchall()
        if rows:
            vectors = _vectors(connection, "node_vectors", [row[0] for row in rows], dimension)
            batch = Batch(
                nodes=[node_of(row) for row in rows],
                node_vectors={row[1]: vectors[row[0]] for row in rows if row[0] in vectors},
            )
            return batch, replace(place, after=rows[-1][0])
        place = replace(place, part="edges", after=0)
    if place.part == "edges":
        rows = connection.execute(
            f"{EDGES} WHERE e.number > ? AND e.number <= ? ORDER BY e.number LIMIT ?",
            (place.after, place.last_edge, size),
        ).fetchall()
        if rows:
            numbers = [row[16] for row in rows]
            vectors = _vectors(connection, "edge_vectors", numbers, dimension)
            batch = Batch(
                edges=[edge_of(row) for row in rows],
                edge_vectors={at: vectors[n] for at, n in enumerate(numbers) if n in vectors},
            )
            return batch, replace(place, after=numbers[-1])
        place = replace(place, part="names")
    if place.part == "names":
        batch = Batch(
            aliases=dict(connection.execute("SELECT name, node FROM aliases ORDER BY name")),
            versions=dict(
                connection.execute(
                    "SELECT name, version FROM sources WHERE version IS NOT NULL ORDER BY name"
                )
            ),
        )
        if batch.aliases or batch.versions:
            return batch, replace(place, part="over")
    return None


def size(connection: sqlite3.Connection) -> GraphSize:
    """See ``GraphStore.size``."""
    now = time.time()
    (ended,) = connection.execute(
        "SELECT count(*) FROM edges WHERE valid_to <= ?", (now,)
    ).fetchone()
    (vectors,) = connection.execute(
        "SELECT (SELECT count(*) FROM node_vectors) + (SELECT count(*) FROM edge_vectors)"
    ).fetchone()
    return GraphSize(
        nodes=dict(
            connection.execute("SELECT kind, count(*) FROM nodes GROUP BY kind ORDER BY kind")
        ),
        edges=dict(
            connection.execute(
                "SELECT r.name, count(*) FROM edges e JOIN relations r ON r.number = e.relation "
                "WHERE (e.valid_to IS NULL OR e.valid_to > :now) "
                "AND (e.begins IS NULL OR e.begins <= :now) GROUP BY r.name ORDER BY r.name",
                {"now": now},
            )
        ),
        ended=ended,
        vectors=vectors,
    )


def _vectors(
    connection: sqlite3.Connection, table: str, owners: list[int], dimension: int
) -> dict[int, NDArray[np.float32]]:
    import numpy as np

    rows = connection.execute(
        f"SELECT owner, vector FROM {table} WHERE owner IN (SELECT value FROM json_each(?))",  # noqa: S608  # ours
        (array(owners),),
    )
    return {
        owner: np.frombuffer(vector, dtype="<f4", count=dimension).astype(np.float32)
        for owner, vector in rows
    }
