"""The statements that rules find in one document, gathered without repetition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from reverie.knowledge.graph.records import Batch, Edge, Node, NodeKind, Span, thing_id

MOST_NAME: Final = 160
"""Characters of a name; what is longer is a sentence, and no thing is named by it."""
MOST_OF_ONE: Final = 64
"""Edges of one relation from which on a thing is common in a document."""


class Statements:
    """Nodes and edges of one source, in the order in which they were said first.

    Something said twice stays one edge, with the place where it was said first.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._nodes: dict[str, Node] = {}
        self._edges: dict[tuple[str, str, str, str], Edge] = {}
        self._degrees: Counter[tuple[str, str]] = Counter()

    def own(
        self,
        node_id: str,
        kind: NodeKind,
        label: str,
        text: str,
        properties: Mapping[str, Any] | None = None,
    ) -> str:
        """A node that goes with the source. Returns its id."""
        self._nodes[node_id] = Node(node_id, kind, label, text, self._source, properties or {})
        return node_id

    def thing(self, name: str) -> str:
        """The id of a thing, which other sources may share; empty when that is no name."""
        name = " ".join(name.split())
        node_id = thing_id(name) if len(name) <= MOST_NAME else ""
        if node_id:
            self._nodes.setdefault(node_id, Node(node_id, "entity", name))
        return node_id

    def elsewhere(self, node_id: str, label: str) -> str:
        """A document that another source may hold, now or later. Returns its id."""
        self._nodes.setdefault(node_id, Node(node_id, "document", label))
        return node_id

    def say(
        self,
        start: str,
        relation: str,
        end: str,
        span: Span,
        *,
        text: str = "",
        end_label: str = "",
        weight: float = 1.0,
        spare: str = "",
    ) -> None:
        """One edge; nothing when an end is empty, both are the same, or ``spare`` is common."""
        if start and end and start != end and not (spare and self.is_common(spare, relation)):
            edge = Edge(
                start,
                relation,
                end,
                text=text,
                end_label=end_label,
                source=self._source,
                span=span,
                weight=weight,
            )
            if self._edges.setdefault((start, relation, end, text), edge) is edge:
                self._degrees.update(((start, relation), (end, relation)))

    def is_common(self, thing: str, relation: str) -> bool:
        """Whether so much was said of ``thing`` that more would make it a hub."""
        return self._degrees[thing, relation] >= MOST_OF_ONE

    def batch(self) -> Batch:
        """Everything that was said."""
        return Batch(tuple(self._nodes.values()), tuple(self._edges.values()))
