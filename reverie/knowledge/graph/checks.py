"""What a batch must be before any store writes it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reverie.errors import ConfigError
from reverie.knowledge.database import storable
from reverie.knowledge.graph.records import NODE_KINDS, Batch, Edge, Node, Span, thing_id
from reverie.knowledge.graph.vectors import checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST = 2**63
"""What stores keep as a whole number is below this."""
_RELATION = re.compile(r"[a-z0-9_]{1,40}")


def checked_batch(batch: Batch, dimension: int) -> Batch:
    """``batch`` as stores keep it: storable text, and vectors of length one, float32 [dimension].

    Raises ConfigError for an empty id or name, a kind, status or relation that cannot be, a weight,
    confidence or time out of range, properties that are not JSON, and vectors of another length or
    with values that are not finite.
    """
    nodes = [_node(node) for node in batch.nodes]
    relations: set[str] = set()
    edges = [_edge(edge, relations) for edge in batch.edges]
    for position in batch.edge_vectors:
        if not 0 <= position < len(edges):
            raise ConfigError(f"A vector is for edge {position} of {len(edges)}")
    return Batch(
        nodes=nodes,
        edges=edges,
        node_vectors=_vectors({plain(k): v for k, v in batch.node_vectors.items()}, dimension),
        edge_vectors=_vectors(batch.edge_vectors, dimension),
        aliases=checked_aliases(batch.aliases),
        versions={plain(source): plain(v) for source, v in batch.versions.items()},
    )


def checked_aliases(aliases: Mapping[str, str]) -> dict[str, str]:
    """By name as ``alias_key`` has it, the node's id. Raises ConfigError for an empty one."""
    found = {alias_key(name): plain(node) for name, node in aliases.items()}
    if "" in found or "" in found.values():
        raise ConfigError("An alias needs a name and the id of a node")
    return found


def alias_key(name: str) -> str:
    """What an alias is kept and looked up under: as with things, case and articles do not count."""
    cleaned = plain(name)
    return thing_id(cleaned) or cleaned.strip()


def plain(text: str) -> str:
    """``text`` as every store can keep it: without lone surrogates and NUL characters."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else storable(text)


def properties_json(node: Node) -> str:
    """The node's properties as JSON. Raises ConfigError."""
    if not node.properties:
        return "{}"
    try:
        return json.dumps(dict(node.properties), allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"The properties of the node {node.id!r} are no JSON: {error}") from error


def _node(node: Node) -> Node:
    identity = plain(node.id)
    if not identity:
        raise ConfigError("A node has an empty id", hint=f"Its label is {node.label!r}")
    if node.kind not in NODE_KINDS:
        raise ConfigError(
            f"The node {identity!r} has the unknown kind {node.kind!r}",
            hint=f"Known: {', '.join(NODE_KINDS)}",
        )
    if node.properties:
        properties_json(node)
    return Node(
        identity,
        node.kind,
        plain(node.label) or identity,
        plain(node.text),
        plain(node.source),
        node.properties,
    )


def _edge(edge: Edge, relations: set[str]) -> Edge:
    """``relations`` are those that were found right already."""
    if edge.relation not in relations:
        if not _RELATION.fullmatch(edge.relation):
            raise ConfigError(
                f"An edge cannot have the relation {edge.relation!r}",
                hint="1 to 40 of the characters a to z, 0 to 9 and _",
            )
        relations.add(edge.relation)
    if edge.status not in ("fact", "hypothesis"):
        raise ConfigError(f"An edge cannot have the status {edge.status!r}")
    _numbers(edge)
    texts = (
        edge.start,
        edge.end,
        edge.text,
        edge.start_label,
        edge.end_label,
        edge.source,
        edge.run,
        edge.expert,
        edge.model,
    )
    cleaned = [plain(text) for text in texts]
    if not (cleaned[0] and cleaned[1]):
        raise ConfigError(f"An edge {edge.relation!r} begins or ends at a node with an empty id")
    span = edge.span
    if span is not None and (path := plain(span.path)) != span.path:
        span = Span(path, span.first_line, span.last_line, span.page)
    if span is edge.span and tuple(cleaned) == texts:
        return edge
    names = ("start", "end", "text", "start_label", "end_label", "source", "run", "expert", "model")
    changed: dict[str, Any] = dict(zip(names, cleaned, strict=True))
    return replace(edge, span=span, **changed)


def _numbers(edge: Edge) -> None:
    if not 0.0 < edge.weight < math.inf:
        raise ConfigError(f"The weight of an edge must be above 0 and finite, not {edge.weight!r}")
    if edge.confidence is not None and not 0.0 <= edge.confidence <= 1.0:
        raise ConfigError(f"The confidence of an edge is from 0 to 1, not {edge.confidence!r}")
    for moment in (edge.valid_from, edge.valid_to):
        if moment is not None:
            checked_time(moment)
    span = edge.span
    lines = () if span is None else (span.first_line, span.last_line, span.page)
    if any(number is not None and not 0 <= number < _MOST for number in (edge.branch, *lines)):
        raise ConfigError(
            f"An edge has a branch, line or page that cannot be: {edge.branch}, {span}"
        )


def checked_time(moment: float) -> float:
    """Seconds since 1970. Raises ConfigError for what is no number."""
    if not math.isfinite(moment):
        raise ConfigError(f"A time must be in seconds since 1970, not {moment!r}")
    return moment


def _vectors(vectors: Mapping[Any, NDArray[np.float32]], dimension: int) -> dict[Any, Any]:
    """All of them checked at once, which is fast."""
    if not vectors:
        return {}
    import numpy as np

    try:
        stacked = np.stack([np.asarray(v, dtype=np.float32) for v in vectors.values()])
    except ValueError as error:
        raise ConfigError(
            f"Vectors of {dimension} numbers each are expected: {error}",
            hint="All from the embedder that the store was opened for",
        ) from error
    return dict(zip(vectors, checked(stacked, (len(vectors), dimension)), strict=True))
