"""Nodes and edges as maps of properties, and back."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reverie.errors import ConfigError
from reverie.knowledge.graph.checks import properties_json
from reverie.knowledge.graph.neo4j.types import ANY_TYPE, type_of
from reverie.knowledge.graph.neo4j.words import indexed
from reverie.knowledge.graph.records import Edge, EdgeFilter, Node, Span, Status

_LONGEST_KEY: Final = 7000
"""Bytes of UTF-8. Neo4j's indexes take keys of about 8000."""

NODE: Final = "n.id, n.kind, n.name, n.text, n.source, n.properties"
"""What ``node_of`` wants of a node ``n``."""

RELATION: Final = "coalesce(e.relation, toLower(type(e)))"
STRENGTH: Final = "coalesce(e.weight, 1.0) * coalesce(e.confidence, 1.0)"

EDGE: Final = (
    f"a.id, {RELATION}, b.id, coalesce(e.text, ''), coalesce(e.start_label, a.name), "
    "coalesce(e.end_label, b.name), e.status, coalesce(e.source, ''), e.path, e.first_line, "
    "e.last_line, e.page, coalesce(e.run, ''), e.branch, coalesce(e.expert, ''), "
    "coalesce(e.model, ''), e.confidence, coalesce(e.weight, 1.0), e.valid_from, e.valid_to, "
    "e.number"
)
"""What ``edge_of`` wants of an edge ``e`` from ``a`` to ``b``. What says nothing (an empty text, a
weight of 1) is not stored: a transaction's memory on the server goes by properties.
"""

VALID_NOW: Final = (
    "e.number IS NOT NULL AND (e.valid_to IS NULL OR e.valid_to > $now) "
    # A clock that was set back hides nothing that was just stored.
    "AND (e.valid_from <= $now OR e.valid_from <= coalesce(e.created, e.valid_from))"
)

ALONG: Final = (
    # One text for every filter: the server plans a query once for each text.
    f"e.status IN $statuses AND ($relations = [] OR {RELATION} IN $relations) "
    "AND e.number IS NOT NULL AND (e.valid_to IS NULL OR e.valid_to > $time) AND "
    "(e.valid_from <= $time OR ($is_now AND e.valid_from <= coalesce(e.created, e.valid_from)))"
)
"""Which edges ``e`` count, with ``along_values``."""


def node_values(node: Node) -> dict[str, Any]:
    """A node's properties."""
    _check_key("id of a node", node.id)
    _check_key("source", node.source)
    return {
        "id": node.id,
        "kind": node.kind,
        "name": node.label,
        "text": node.text,
        "words": indexed((node.label, node.text)),
        "source": node.source,
        "properties": properties_json(node),
    }


def edge_values(edge: Edge, now: float) -> dict[str, Any]:
    """An edge's properties, without its number."""
    _check_key("source", edge.source)
    _check_key("id of a run", edge.run)
    values = {
        "identity": identity(edge),
        "text": edge.text,
        "start_label": edge.start_label,
        "end_label": edge.end_label,
        "status": edge.status,
        "source": edge.source,
        "run": edge.run,
        "expert": edge.expert,
        "model": edge.model,
    }
    return {name: text for name, text in values.items() if text} | {
        "relation": edge.relation if type_of(edge.relation) == ANY_TYPE else None,
        "branch": edge.branch,
        "confidence": edge.confidence,
        "weight": None if edge.weight == 1.0 else edge.weight,
        # When it was written, if that is not since when it is valid.
        "created": None if edge.valid_from is None else now,
        "valid_from": now if edge.valid_from is None else edge.valid_from,
        "valid_to": edge.valid_to,
        **span_values(edge.span),
    }


def span_values(span: Span | None) -> dict[str, Any]:
    if span is None:
        return {}
    return {
        "path": span.path,
        "first_line": span.first_line,
        "last_line": span.last_line,
        "page": span.page,
    }


def identity(edge: Edge, status: Status | None = None) -> str:
    """What two valid edges have in common when they are the same; of one with another status."""
    said = [edge.start, edge.relation, edge.end, edge.text, status or edge.status]
    parts = json.dumps([*said, edge.source, edge.run]).encode()
    return hashlib.blake2b(parts, digest_size=16).hexdigest()


def node_of(row: Sequence[Any]) -> Node:
    identity_, kind, label, text, source, properties, *_ = row
    known = {} if properties == "{}" else json.loads(properties)
    return Node(identity_, kind, label, text, source, known)


def edge_of(row: Sequence[Any]) -> Edge:
    start, relation, end, text, start_label, end_label, status, source, *rest = row
    path, first_line, last_line, page, run, branch, expert, model, *rest = rest
    confidence, weight, valid_from, valid_to, number, *_ = rest
    return Edge(
        start=start,
        relation=relation,
        end=end,
        text=text,
        start_label=start_label,
        end_label=end_label,
        status=status,
        source=source,
        span=None if path is None else Span(path, first_line, last_line, page),
        run=run,
        branch=branch,
        expert=expert,
        model=model,
        confidence=confidence,
        weight=weight,
        valid_from=valid_from,
        valid_to=valid_to,
        id=str(number),
    )


def numbers(ids: Sequence[str]) -> list[int]:
    """Edge ids as this store counts them; other stores' ids match nothing here."""
    return [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) < 19]


def along_values(along: EdgeFilter) -> Mapping[str, Any]:
    """The parameters that ``ALONG`` has, and ``kinds``."""
    return {
        "statuses": list(along.statuses),
        "relations": list(along.relations),
        "kinds": list(along.kinds),
        "time": time.time() if along.at is None else along.at,
        "is_now": along.at is None,
    }


def _check_key(what: str, text: str) -> None:
    if len(text) * 4 > _LONGEST_KEY and len(text.encode()) > _LONGEST_KEY:
        raise ConfigError(
            f"The {what} has {len(text)} characters, which is too long for Neo4j: {text[:40]!r}...",
            hint=f"At most {_LONGEST_KEY} bytes",
        )
