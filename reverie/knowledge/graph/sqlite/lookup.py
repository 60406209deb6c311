"""Edges by where they come from, what a name means, and how many triplets there are."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Final

from reverie.knowledge.graph.checks import alias_key, plain
from reverie.knowledge.graph.records import CAUSES, Edge, Status, thing_id
from reverie.knowledge.graph.sqlite.rows import EDGES, MOST_ROWS, edge_of, numbers_of

_VALID: Final = (
    "(e.valid_to IS NULL OR e.valid_to > :now) AND (e.begins IS NULL OR e.begins <= :now)"
)


def edges(
    connection: sqlite3.Connection,
    *,
    run: str | None,
    source: str | None,
    relations: Sequence[str],
    statuses: Sequence[Status],
    ended: bool,
    limit: int,
) -> list[Edge]:
    """See ``GraphStore.edges``."""
    conditions = ["e.fact IN (SELECT value FROM json_each(:facts))"]
    if run is not None:
        # So that the index of runs, which leaves out the empty one, is used.
        conditions.append("e.run = :run AND e.run <> ''" if run else "e.run = :run")
    if source is not None:
        conditions.append("e.source = (SELECT number FROM sources WHERE name = :source)")
    if relations:
        conditions.append("r.name IN (SELECT value FROM json_each(:relations))")
    if not ended:
        conditions.append(_VALID)
    rows = connection.execute(
        f"{EDGES} WHERE {' AND '.join(conditions)} ORDER BY e.number LIMIT :limit",
        {
            "facts": json.dumps([int(status == "fact") for status in statuses]),
            "run": run,
            "source": source,
            "relations": json.dumps(list(relations)),
            "now": time.time(),
            "limit": min(max(limit, 0), MOST_ROWS),
        },
    )
    return [edge_of(row) for row in rows]


def resolve(connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, str]:
    """See ``GraphStore.resolve``."""
    ids = {name: (plain(name), thing_id(plain(name))) for name in names}
    known = numbers_of(connection, {identity for pair in ids.values() for identity in pair})
    aliases = dict(
        connection.execute(
            "SELECT a.name, a.node FROM aliases a JOIN nodes n ON n.id = a.node "
            "WHERE a.name IN (SELECT value FROM json_each(?))",
            (json.dumps([alias_key(name) for name in ids]),),
        )
    )
    found: dict[str, str] = {}
    for name, pair in ids.items():
        meant = next((identity for identity in pair if identity in known), None)
        meant = meant or aliases.get(alias_key(name))
        if meant is not None:
            found[name] = meant
    return found


def count(connection: sqlite3.Connection, status: Status | None) -> int:
    """See ``GraphStore.count``."""
    (number,) = connection.execute(
        "SELECT count(*) FROM edges e WHERE relation = (SELECT number FROM relations "  # noqa: S608  # ours
        f"WHERE name = :causes) AND (:fact IS NULL OR fact = :fact) AND {_VALID}",
        {
            "causes": CAUSES,
            "fact": None if status is None else status == "fact",
            "now": time.time(),
        },
    ).fetchone()
    return int(number)
