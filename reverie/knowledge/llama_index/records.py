"""Between LlamaIndex's nodes and relations and those of the graph store.

An entity's id in LlamaIndex is its name; in the store it is the name without case. A chunk's id has
``chunk:`` in front of it there. What LlamaIndex wrote has a source of its own for every node, so
that each can be deleted by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from llama_index.core.graph_stores.types import ChunkNode, EntityNode, LabelledNode, Relation
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from reverie.knowledge.graph.records import CAUSES, Edge, Node, thing_id

WRITER: Final = "llama_index:"
"""What the sources of nodes and edges written here begin with."""
SOURCE_KEY: Final = "triplet_source_id"
"""LlamaIndex's name for the chunk that a triplet was read from."""

_LABEL: Final = "_label"
_NAME: Final = "_name"
_LABEL_WORDS = 10
_SPOKEN = frozenset({CAUSES, "has"})
"""Relations of ours whose words say more than they do."""


def stored_node(node: LabelledNode) -> Node:
    """A node of LlamaIndex as the store keeps it."""
    # A copy: the embedding goes elsewhere, and the type has to be found again.
    properties: dict[str, Any] = {**node.properties, _LABEL: node.label, _NAME: node.id}
    if isinstance(node, ChunkNode):
        label = " ".join(node.text.split()[:_LABEL_WORDS])[:80] or node.id
        key = chunk_key(node.id)
        return Node(key, "chunk", label, node.text, WRITER + node.id, properties)
    return Node(new_key(node.id), "entity", node.id, "", WRITER + node.id, properties)


def llama_node(node: Node) -> LabelledNode:
    """A node of the store as LlamaIndex knows it. What Reverie wrote itself has its kind as label;
    a chunk of it, ``chunk:`` and a hash as its id.
    """
    properties = {**node.properties}
    label = str(properties.pop(_LABEL, node.kind))
    name = str(properties.pop(_NAME, ""))
    if node.kind == "chunk":
        if not name:  # of a document that was ingested: its own text is where it comes from
            properties[SOURCE_KEY] = node.id
        return ChunkNode(id_=name or node.id, text=node.text, label=label, properties=properties)
    shown = node.label if thing_id(node.label) == node.id else node.id
    if shown != node.label:
        properties.setdefault("name", node.label)
    if node.source.startswith(WRITER) or not node.source:
        return EntityNode(name=name or shown, label=label, properties=properties)
    properties.setdefault("source", node.source)
    return EntityNode(name=name or shown, label=label, properties=properties)


def text_node(node: LabelledNode) -> BaseNode | None:
    """The text behind a chunk; None for what is none."""
    if not isinstance(node, ChunkNode):
        return None
    if "_node_content" in node.properties:
        made = metadata_dict_to_node(node.properties)
        made.set_content(node.text)
        return made
    return TextNode(id_=node.id, text=node.text, metadata=dict(node.properties))


def stored_edge(relation: Relation, keys: Mapping[str, str]) -> Edge:
    """A relation as the store keeps it; ``keys`` are the ids of nodes by those of LlamaIndex."""
    name = relation_name(relation.label)
    return Edge(
        start=keys[relation.source_id],
        relation=name,
        end=keys[relation.target_id],
        text="" if name == relation.label else relation.label,
        start_label=relation.source_id,
        end_label=relation.target_id,
        source=WRITER + str(relation.properties.get(SOURCE_KEY, "")),
    )


def llama_relation(edge: Edge, ends: tuple[LabelledNode, LabelledNode]) -> Relation:
    """An edge as a relation between two nodes."""
    properties: dict[str, Any] = {}
    ours = not edge.source.startswith(WRITER)
    if ours:
        known = {
            "relation": edge.relation,
            "status": edge.status,
            "source": edge.source,
            "span": str(edge.span) if edge.span is not None else "",
            "confidence": edge.confidence,
        }
        properties = {name: value for name, value in known.items() if value not in {None, ""}}
    elif chunk := edge.source.removeprefix(WRITER):
        properties = {SOURCE_KEY: chunk}
    spoken = edge.text if not ours or edge.relation in _SPOKEN else ""
    return Relation(
        label=spoken or edge.relation,
        source_id=ends[0].id,
        target_id=ends[1].id,
        properties=properties,
    )


def relation_name(label: str) -> str:
    """A relation's label as the store takes it: lower case, letters, digits and _, at most 40."""
    plain = re.sub(r"[^a-z0-9]+", "_", label.casefold()).strip("_")[:40].strip("_")
    return plain or "related_to"


def chunk_key(name: str) -> str:
    """The store's id of a chunk."""
    return name if name.startswith("chunk:") else f"chunk:{name}"


def possible_keys(name: str) -> tuple[str, ...]:
    """The ids in the store that one of LlamaIndex's may mean, the likeliest first."""
    return tuple(dict.fromkeys(key for key in (name, chunk_key(name), thing_id(name)) if key))


def new_key(name: str) -> str:
    """The id of an entity that is not there yet."""
    return thing_id(name) or name


def chosen(names: Iterable[str], there: Mapping[str, Node]) -> dict[str, str]:
    """By LlamaIndex's id that of the node that is there, of those that are."""
    found: dict[str, str] = {}
    for name in names:
        key = next((key for key in possible_keys(name) if key in there), None)
        if key is not None:
            found[name] = key
    return found
