"""What a graph store keeps: typed nodes, and edges that say where they come from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NodeKind = Literal["entity", "action", "outcome", "document", "chunk", "sop", "strategy", "run"]
NODE_KINDS: Final[tuple[NodeKind, ...]] = get_args(NodeKind)

Status = Literal["fact", "hypothesis"]

CAUSES: Final = "causes"
"""The relation of a triplet: from what acts or is acted on, to what results. The action is the
edge's ``text``.
"""
SAME_AS: Final = "same_as"
RESOLVED: Final = "resolution"
"""The source of the ``same_as`` edges that entity resolution makes. They rest on what documents say
of both ends, so they alone keep no thing.
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a source something stands. Lines count from 1, the last one included."""

    path: str
    first_line: int = 1
    last_line: int = 1
    page: int | None = None
    """Of a PDF, from 1."""

    def __str__(self) -> str:
        if self.page is not None:
            return f"{self.path}, page {self.page}"
        if self.first_line == self.last_line:
            return f"{self.path}:{self.first_line}"
        return f"{self.path}:{self.first_line}-{self.last_line}"


@dataclass(frozen=True, slots=True)
class Node:
    """A thing, or a piece of what was read. Two nodes are the same when their ids agree.

    Things (entity, action, outcome) have ``thing_id`` of their name, whatever their kind, so that
    the outcome of one step is what the next one begins with. Others have an id of their own, with
    their kind in front: ``document:PATH``, ``chunk:HASH``, ``sop:NAME``, ``strategy:NAME``,
    ``run:ID``.
    """

    id: str
    kind: NodeKind
    label: str
    """The name to show; of one that is there already the first is kept."""
    text: str = ""
    """What full text search finds beside the label."""
    source: str = ""
    """Deleting this source deletes the node. Empty for things, which several sources share: they
    go with the last edge that says anything of them.
    """
    properties: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Something said about two nodes, and by whom.

    Two valid edges are the same when start, relation, end, text, status, source and run agree.
    """

    start: str
    """A node's id."""
    relation: str
    """What kind of statement, in lower case: "causes", "mentions", "contains", "follows",
    "links_to", "imports", "calls", "same_as", "has_step". Letters, digits and _, at most 40.
    """
    end: str
    text: str = ""
    """Its words: of a triplet the action."""
    start_label: str = ""
    """The words that stand there for ``start``; empty: the node's label."""
    end_label: str = ""
    status: Status = "fact"
    source: str = ""
    """Who says so: a document's path, "motif", "dream"."""
    span: Span | None = None
    run: str = ""
    branch: int | None = None
    expert: str = ""
    model: str = ""
    confidence: float | None = None
    """0 to 1; None when nobody measured it."""
    weight: float = 1.0
    """How much of a walk goes this way, above 0."""
    valid_from: float | None = None
    """Seconds since 1970; None, when writing: now."""
    valid_to: float | None = None
    """None: still valid."""
    id: str = ""
    """Given by the store."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction. Vectors have length one."""

    nodes: Sequence[Node] = ()
    edges: Sequence[Edge] = ()
    node_vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """By a node's id, each [D]."""
    edge_vectors: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    """By position in ``edges``, each [D]."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of nodes: by name, the node's id."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """By source, the version of it that is loaded."""


@dataclass(frozen=True, slots=True)
class EdgeFilter:
    """Which edges to go along."""

    statuses: Sequence[Status] = ("fact",)
    relations: Sequence[str] = ()
    """Empty: every one."""
    kinds: Sequence[NodeKind] = ()
    """Kinds of nodes that may be reached; empty: every one."""
    direction: Literal["both", "out", "in"] = "both"
    at: float | None = None
    """As it was valid at that time, in seconds since 1970; None: as it is valid now."""


FACTS: Final = EdgeFilter()


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Part of a graph: nodes, nearest first, and the edges between them."""

    nodes: Mapping[str, Node]
    edges: Sequence[Edge]
    hops: Mapping[str, int] = field(default_factory=dict)
    """By node, how far it is from where the search began (0: it began there)."""
    truncated: bool = False
    """Whether a limit left something out."""


@dataclass(frozen=True, slots=True)
class ScoredNode:
    """A node that was found; higher scores are better, and only comparable within one result."""

    node: Node
    score: float


@dataclass(frozen=True, slots=True)
class GraphSize:
    """How much there is: nodes by kind, valid edges by relation, vectors."""

    nodes: Mapping[str, int]
    edges: Mapping[str, int]
    ended: int = 0
    """Edges that are valid no more."""
    vectors: int = 0


def thing_id(name: str) -> str:
    """The id of a thing: "The  Ball." and "a ball" are both "ball". Empty for no name at all."""
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split()).strip(" .,;:!?")
    return re.sub(r"^(?:an?|the) (?=\S)", "", plain)
