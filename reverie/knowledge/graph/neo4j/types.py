"""Labels of nodes and types of relationships.

Nodes are ``ReverieNode`` and, for people who browse, their kind: ``Entity``, ``Chunk`` ...; their
``name`` is what Neo4j Browser shows. Edges have a type for each relation that Reverie itself
writes, ``CAUSES``, ``MENTIONS`` ..., and ``RELATES`` for any other, with its name as ``relation``.
So the texts of queries, and the indexes, are known beforehand, and no text of a user is part of
one. Other data in the database is not touched, and not seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reverie.knowledge.graph.records import CAUSES, NODE_KINDS, NodeKind

LABELS: Final[dict[NodeKind, str]] = {kind: kind.capitalize() for kind in NODE_KINDS}

_OWN_TYPE: Final = (
    *(CAUSES, "contains", "follows", "mentions", "links_to", "about", "has", "imports"),
    *("calls", "defines", "same_as", "has_step", "tried"),
)
ANY_TYPE: Final = "RELATES"
TYPES: Final = (*(relation.upper() for relation in _OWN_TYPE), ANY_TYPE)

ALL_TYPES: Final = "|".join(TYPES)


def type_of(relation: str) -> str:
    """The type of relationship for a relation."""
    return relation.upper() if relation in _OWN_TYPE else ANY_TYPE


def types_of(relations: Iterable[str]) -> str:
    """The types that edges of these relations have, as a pattern has them; for none all."""
    return "|".join(dict.fromkeys(map(type_of, relations))) or ALL_TYPES
