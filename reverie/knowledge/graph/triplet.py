"""Triplets: causal steps in words, as edges of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reverie.errors import ConfigError
from reverie.knowledge.graph.records import CAUSES, Batch, Edge, Node, Span, Status, thing_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Triplet:
    """One causal step, in words, and where it comes from.

    Two triplets are the same edge when what, action, result, status, source and run agree.
    """

    what: str
    """The thing: "a ball"."""
    action: str
    """What happens to it or what it does: "is dropped"."""
    result: str
    """What follows: "it falls to the ground"."""
    status: Status = "fact"
    """Only facts ground an answer; what a dream made up is a hypothesis until verified."""
    source: str = ""
    """Who says so: a document, "motif", "dream"."""
    run: str = ""
    branch: int | None = None
    expert: str = ""
    model: str = ""
    confidence: float | None = None
    """0 to 1; None when nobody measured it."""
    span: Span | None = None


def triplet_batch(triplets: Sequence[Triplet], vectors: NDArray[np.float32]) -> Batch:
    """N triplets and the vectors [N, D] that stand for them, to write.

    Raises ConfigError for an empty field, or another number of vectors.
    """
    if len(triplets) != len(vectors):
        raise ConfigError(f"{len(triplets)} triplets have {len(vectors)} vectors")
    nodes: dict[str, Node] = {}
    for triplet in triplets:
        if not all(map(thing_id, (triplet.what, triplet.action, triplet.result))):
            raise ConfigError(
                f"A triplet has an empty field: {triplet.what!r}, {triplet.action!r}, "
                f"{triplet.result!r}",
                hint="what, action and result each need at least one word",
            )
        what, result = thing_id(triplet.what), thing_id(triplet.result)
        nodes.setdefault(what, Node(what, "entity", triplet.what))
        nodes.setdefault(result, Node(result, "outcome", triplet.result))
    return Batch(
        nodes=tuple(nodes.values()),
        edges=tuple(map(edge_of, triplets)),
        edge_vectors=dict(enumerate(vectors)),
    )


def edge_of(triplet: Triplet) -> Edge:
    """The edge that says what a triplet says."""
    return Edge(
        start=thing_id(triplet.what),
        relation=CAUSES,
        end=thing_id(triplet.result),
        text=triplet.action,
        start_label=triplet.what,
        end_label=triplet.result,
        status=triplet.status,
        source=triplet.source,
        span=triplet.span,
        run=triplet.run,
        branch=triplet.branch,
        expert=triplet.expert,
        model=triplet.model,
        confidence=triplet.confidence,
    )


def triplet_of(edge: Edge) -> Triplet:
    """The triplet that an edge with the relation "causes" says. Stores fill in its labels."""
    return Triplet(
        what=edge.start_label or edge.start,
        action=edge.text,
        result=edge.end_label or edge.end,
        status=edge.status,
        source=edge.source,
        run=edge.run,
        branch=edge.branch,
        expert=edge.expert,
        model=edge.model,
        confidence=edge.confidence,
        span=edge.span,
    )


def embedding_text(triplet: Triplet) -> str:
    """The text whose vector stands for a triplet.

    Of seven forms this one parts right from unrelated best (MiniLM int8, the motif facts): over 44
    "What happens when ...?" questions the right fact has cosine .54 to .89 and is among the best
    three every time; over 24 unrelated questions the best fact reaches .46. "When {what} ..." .50,
    and forms without the result .55, let unrelated facts in at the threshold of .5.
    """
    return f"{triplet.what} {triplet.action}, {triplet.result}"
