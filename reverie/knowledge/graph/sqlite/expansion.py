"""Going along edges: neighbourhoods, shortest paths, and the arrays that walks run on.

Nodes and edges are numbers here, and indexes alone are read; records come at the end, for what is
returned.
"""

from __future__ import annotations

import functools
import itertools
import operator
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from reverie.knowledge.graph.checks import checked_time
from reverie.knowledge.graph.records import EdgeFilter, Subgraph
from reverie.knowledge.graph.sqlite.rows import (
    BARE_EDGE,
    Names,
    array,
    bare_edges,
    edges_among,
    nodes_by_number,
    numbers_of,
    relations_of,
)

Direction = Literal["both", "out", "in"]

_ENDS: Final = {"out": ("start_node", "end_node"), "in": ("end_node", "start_node")}
_SIDES: Final[Mapping[Direction, tuple[str, ...]]] = {
    "both": ("out", "in"),
    "out": ("out",),
    "in": ("in",),
}
_BACK: Final[Mapping[Direction, Direction]] = {"both": "both", "out": "in", "in": "out"}


@dataclass(frozen=True, slots=True)
class Along:
    """An ``EdgeFilter`` as conditions on rows."""

    edges: str
    """Which edges ``e`` count: SQL, beginning with AND."""
    values: Mapping[str, Any]
    direction: Direction
    kinds: bool
    """Whether ``values`` has the kinds that may be reached."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Nodes that a search came to."""

    hops: Mapping[int, int]
    """How far each is from the seeds, nearest first."""
    strengths: Mapping[int, float]
    """Of the strongest edge that reached it; 0 of a seed."""
    truncated: bool


def along_of(connection: sqlite3.Connection, along: EdgeFilter) -> Along:
    """The conditions that ``along`` stands for, now."""
    values: dict[str, Any] = {"time": time.time() if along.at is None else checked_time(along.at)}
    if along.relations:
        known = relations_of(connection)
        values["relations"] = array(known[name] for name in along.relations if name in known)
    if along.kinds:
        values["kinds"] = _texts(along.kinds)
    statuses = ("fact" in along.statuses) + 2 * ("hypothesis" in along.statuses)
    conditions = _conditions(statuses, bool(along.relations), along.at is None)
    return Along(conditions, values, along.direction, bool(along.kinds))


def reach(
    connection: sqlite3.Connection,
    seeds: Iterable[int],
    along: Along,
    *,
    hops: int,
    limit: int,
) -> Reached:
    """What lies within ``hops`` of the seeds: at most ``limit`` nodes, nearest first.

    Where the limit cuts a hop, those reached by the strongest edges are kept, then those of the
    smallest id.
    """
    layer = list(dict.fromkeys(seeds))
    truncated = len(layer) > limit
    layer = layer[:limit]
    found = dict.fromkeys(layer, 0)
    strengths = dict.fromkeys(layer, 0.0)
    for hop in range(1, hops + 1):
        if not layer or truncated:
            break
        strongest = _neighbours(connection, layer, along, found)
        room = limit - len(found)
        truncated = len(strongest) > room
        layer = _strongest(connection, strongest, room) if truncated else list(strongest)
        found.update(dict.fromkeys(layer, hop))
        strengths.update((node, strongest[node]) for node in layer)
    return Reached(found, strengths, truncated)


def neighbourhood(
    connection: sqlite3.Connection,
    ids: Sequence[str],
    *,
    hops: int,
    along: EdgeFilter,
    limit: int,
    names: Names,
) -> Subgraph:
    """See ``GraphStore.neighbourhood``."""
    way = along_of(connection, along)
    reached = reach(connection, _seeds(connection, ids), way, hops=hops, limit=max(limit, 0))
    return subgraph(connection, reached, way, names)


def reached_ids(
    connection: sqlite3.Connection,
    ids: Sequence[str],
    *,
    hops: int,
    along: EdgeFilter,
    limit: int,
) -> dict[str, int]:
    """See ``SqliteGraphCore.reach``."""
    way = along_of(connection, along)
    reached = reach(connection, _seeds(connection, ids), way, hops=hops, limit=max(limit, 0))
    rows = connection.execute(
        "SELECT n.number, n.id FROM json_each(?) f CROSS JOIN nodes n ON n.number = f.value",
        (array(reached.hops),),
    )
    known = dict(rows)
    return {known[number]: reached.hops[number] for number in _nearest(reached, known)}


def subgraph(
    connection: sqlite3.Connection, reached: Reached, along: Along, names: Names
) -> Subgraph:
    """The records of what was reached, and of every edge between that counts."""
    hops = reached.hops
    nodes = nodes_by_number(connection, hops, names)
    between = connection.execute(
        f"SELECT {BARE_EDGE} FROM ({_between('e.number', along)}) f "  # noqa: S608  # ours
        "CROSS JOIN edges e ON e.number = f.number",
        {**along.values, "ids": array(hops)},
    ).fetchall()
    between.sort(key=operator.itemgetter(0))  # as they were written
    ids = {number: node.id for number, node in nodes.items()}
    order = _nearest(reached, ids)
    return Subgraph(
        nodes={ids[number]: nodes[number] for number in order},
        edges=bare_edges(connection, between, nodes, names),
        hops={ids[number]: hops[number] for number in order},
        truncated=reached.truncated,
    )


def edges_between(
    connection: sqlite3.Connection, numbers: Iterable[int], along: Along
) -> list[tuple[int, int, float, int]]:
    """Start, end, strength and number of every edge between these nodes that counts."""
    return connection.execute(
        _between("e.start_node, e.end_node, e.strength, e.number", along),
        {**along.values, "ids": array(numbers)},
    ).fetchall()


def _between(columns: str, along: Along) -> str:
    """Selects columns that the index over edges has, of every edge between the nodes ``:ids``."""
    return (
        f"SELECT {columns} FROM json_each(:ids) f CROSS JOIN edges e ON e.start_node = f.value "  # noqa: S608  # ours
        # The + keeps SQLite from looking up every pair of nodes.
        f"WHERE +e.end_node IN (SELECT value FROM json_each(:ids)) {along.edges}"
    )


def shortest_path(
    connection: sqlite3.Connection,
    start: str,
    end: str,
    *,
    most_hops: int,
    along: EdgeFilter,
    names: Names,
) -> Subgraph | None:
    """See ``GraphStore.shortest_path``. From both ends at once, the smaller side first."""
    numbers = numbers_of(connection, [start, end])
    if start not in numbers or end not in numbers:
        return None
    way = along_of(connection, along)
    first, last = numbers[start], numbers[end]
    if first == last:
        return _path(connection, first, ({first: (0, 0)}, {first: (0, 0)}), names)
    if way.kinds and not _of_kinds(connection, last, way):
        return None
    # By node: the node before it on the way from that side's end, and the edge between.
    sides: tuple[dict[int, tuple[int, int]], ...] = ({first: (0, 0)}, {last: (0, 0)})
    layers = [[first], [last]]
    directions = (way.direction, _BACK[way.direction])
    for _ in range(most_hops):
        side = 0 if len(layers[0]) <= len(layers[1]) else 1
        layers[side] = _layer(connection, layers[side], way, directions[side], sides[side])
        if meeting := [node for node in layers[side] if node in sides[1 - side]]:
            return _path(connection, min(meeting), sides, names)
        if not layers[side]:
            return None
    return None


def _layer(
    connection: sqlite3.Connection,
    layer: Sequence[int],
    along: Along,
    direction: Direction,
    seen: dict[int, tuple[int, int]],
) -> list[int]:
    """The nodes one step from ``layer`` that are not ``seen`` yet; notes how they were reached."""
    near: list[int] = []
    for side in _SIDES[direction]:
        here, there = _ENDS[side]
        rows = connection.execute(
            f"SELECT e.{there}, e.{here}, e.number FROM json_each(:layer) f "  # noqa: S608  # ours
            f"CROSS JOIN edges e ON e.{here} = f.value {_kinds(along.kinds, there)} "
            f"WHERE 1 {along.edges} ORDER BY e.strength DESC, e.number",
            {**along.values, "layer": array(layer)},
        )
        for node, before, edge in rows:
            if node not in seen:
                seen[node] = (before, edge)
                near.append(node)
    return near


def _path(
    connection: sqlite3.Connection,
    middle: int,
    sides: Sequence[Mapping[int, tuple[int, int]]],
    names: Names,
) -> Subgraph:
    numbers, edges = [middle], []
    for side in (0, 1):
        before, edge = sides[side][middle]
        while edge:
            numbers.append(before)
            edges.append(edge)
            before, edge = sides[side][before]
        if side == 0:
            numbers.reverse()
            edges.reverse()
    nodes = nodes_by_number(connection, numbers, names)
    return Subgraph(
        nodes={nodes[number].id: nodes[number] for number in numbers},
        edges=edges_among(connection, edges, nodes, names),
        hops={nodes[number].id: hop for hop, number in enumerate(numbers)},
    )


def _neighbours(
    connection: sqlite3.Connection, layer: Sequence[int], along: Along, found: Mapping[int, int]
) -> dict[int, float]:
    """Nodes one step from ``layer`` that are not found yet, and the strongest edge to each."""
    strongest: dict[int, float] = {}
    rows = connection.execute(
        _steps(along.edges, along.kinds, along.direction), {**along.values, "layer": array(layer)}
    )
    for node, strength in rows:
        if node not in found and strength > strongest.get(node, -1.0):
            strongest[node] = strength
    return strongest


@functools.cache
def _steps(edges: str, kinds: bool, direction: Direction) -> str:
    """One statement for both sides: the other end and the strength of every edge of ``:layer``."""
    return " UNION ALL ".join(
        f"SELECT e.{there}, e.strength FROM json_each(:layer) f "  # noqa: S608  # ours
        f"CROSS JOIN edges e ON e.{here} = f.value {_kinds(kinds, there)} WHERE 1 {edges}"
        for here, there in map(_ENDS.__getitem__, _SIDES[direction])
    )


def _strongest(
    connection: sqlite3.Connection, strongest: Mapping[int, float], room: int
) -> list[int]:
    """The ``room`` strongest nodes, those of the smallest id where they are equal."""
    rows = connection.execute(
        "SELECT n.number FROM json_each(?) f CROSS JOIN nodes n ON n.number = f.value "
        "ORDER BY n.id",
        (array(strongest),),
    )
    by_id = [number for (number,) in rows]
    by_id.sort(key=strongest.__getitem__, reverse=True)  # stable
    return by_id[:room]


def _seeds(connection: sqlite3.Connection, ids: Sequence[str]) -> list[int]:
    numbers = numbers_of(connection, dict.fromkeys(ids))
    return [numbers[identity] for identity in dict.fromkeys(ids) if identity in numbers]


def _nearest(reached: Reached, ids: Mapping[int, str]) -> list[int]:
    """By hops, within a hop the strongest first, then by id; seeds as they were given."""
    hops = reached.hops
    seeds = [number for number in hops if not hops[number]]
    order = sorted(itertools.islice(hops, len(seeds), None), key=ids.__getitem__)
    order.sort(key=reached.strengths.__getitem__, reverse=True)  # stable, as the next one
    order.sort(key=hops.__getitem__)
    return seeds + order


def _of_kinds(connection: sqlite3.Connection, number: int, along: Along) -> bool:
    row = connection.execute(
        "SELECT 1 FROM nodes WHERE number = :number "
        "AND kind IN (SELECT value FROM json_each(:kinds))",
        {"number": number, "kinds": along.values["kinds"]},
    ).fetchone()
    return row is not None


def _kinds(kinds: bool, there: str) -> str:
    if not kinds:
        return ""
    return (
        f"JOIN nodes k ON k.number = e.{there} AND k.kind IN (SELECT value FROM json_each(:kinds))"  # noqa: S608  # ours
    )


@functools.cache
def _conditions(statuses: int, relations: bool, now: bool) -> str:
    """``statuses``: 1 facts, 2 hypotheses, 3 both."""
    parts = {0: ["AND 0"], 1: ["AND e.fact = 1"], 2: ["AND e.fact = 0"], 3: []}[statuses]
    parts = list(parts)
    if relations:
        parts.append("AND e.relation IN (SELECT value FROM json_each(:relations))")
    parts.append("AND (e.valid_to IS NULL OR e.valid_to > :time)")
    # Not "valid_from <= now": a clock set back must not hide what was just stored.
    parts.append(
        "AND (e.begins IS NULL OR e.begins <= :time)" if now else "AND e.valid_from <= :time"
    )
    return " ".join(parts)


def _texts(texts: Iterable[str]) -> str:
    import json

    return json.dumps(list(texts))
