"""What every graph store does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reverie.knowledge.graph.records import (
    FACTS,
    Batch,
    Edge,
    EdgeFilter,
    GraphSize,
    Node,
    NodeKind,
    ScoredNode,
    Status,
    Subgraph,
)
from reverie.knowledge.graph.triplet import Triplet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Match:
    """A stored triplet found by meaning; ``similarity`` is the cosine (-1 to 1)."""

    id: str
    triplet: Triplet
    similarity: float


class GraphStore(Protocol):
    """A graph with vectors. Opened for one embedder: vectors of another one are refused.

    Every method may raise ``KnowledgeUnavailable``. Nodes that are not there are no error: they
    have no neighbours. Results come in the same order every time.
    """

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        ...

    # -- writing ---------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> list[str]:
        """Stores nodes and edges in one transaction; returns the ids of the edges, in order.

        A node that is there keeps its label and kind, and takes new text, source and properties;
        empty ones leave what is there. An edge that is there and valid keeps its id, and takes the
        new weight, and confidence and span where they are given; one with ``valid_to`` is the same
        only when its times agree too. Ends of edges that are no nodes yet become entities with
        their id as label, until a node is written for them; also a node that no source had takes
        the label and kind that a source writes. Raises ``ConfigError`` for vectors of another
        length or with values that are not finite, or of nodes that are not there, for an empty id,
        and for a relation, kind, status, weight, confidence or time that cannot be.
        """
        ...

    async def replace_source(self, source: str, version: str, batch: Batch) -> bool:
        """Makes ``batch`` all that ``source`` says, in one transaction, and records ``version``.

        Its edges that are not in the batch are ended and stay as history; its nodes that are not
        in the batch are deleted with their edges. Does nothing and returns False when that version
        is there already, so several processes may load the same source at once. Raises
        ``ConfigError`` when an edge, or a node with a source, names another source.
        """
        ...

    async def source_version(self, source: str) -> str | None:
        """The version that ``replace_source`` recorded; None when it never ran."""
        ...

    async def delete_source(self, source: str) -> int:
        """Deletes every node and edge of ``source``, ended ones too, the vectors, its version, and
        things that are left without any edge but those of entity resolution. Returns how many
        nodes and edges went.
        """
        ...

    async def invalidate(self, ids: Sequence[str], *, at: float | None = None) -> int:
        """Ends the validity of edges, now or ``at`` (seconds since 1970); they stay as history.
        Returns how many it ended. An edge never ends before it began.
        """
        ...

    async def confirm(self, ids: Sequence[str]) -> int:
        """Makes facts of hypotheses. Returns how many; one whose statement is a fact already is
        ended, and not counted.
        """
        ...

    async def add_aliases(self, aliases: Mapping[str, str]) -> None:
        """Other names of nodes: by name, the node's id. A later one replaces an earlier. The node
        may come later; until then the name means nothing.
        """
        ...

    # -- reading ---------------------------------------------------------------------------------

    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        """The nodes with these ids, of those that are there."""
        ...

    async def edges(
        self,
        *,
        run: str | None = None,
        source: str | None = None,
        relations: Sequence[str] = (),
        statuses: Sequence[Status] = ("fact", "hypothesis"),
        ended: bool = False,
        limit: int = 1000,
    ) -> list[Edge]:
        """Edges of a run or a source, in the order they were written; with those that are valid no
        more if ``ended``.
        """
        ...

    async def resolve(self, names: Sequence[str]) -> dict[str, str]:
        """By name, the id of the node that it means: its id, that of a thing, or an alias. Names
        that mean nothing are left out.
        """
        ...

    async def similar(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 3,
        minimum: float = 0.5,
        statuses: Sequence[Status] = ("fact",),
    ) -> list[Match]:
        """The valid triplets most similar to ``vector`` [D], best first, no statement twice."""
        ...

    async def similar_nodes(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int = 10,
        minimum: float = 0.0,
        kinds: Sequence[NodeKind] = (),
    ) -> list[ScoredNode]:
        """The nodes whose vector is most similar to ``vector`` [D], best first, with the cosine."""
        ...

    async def find(
        self, text: str, *, limit: int = 10, kinds: Sequence[NodeKind] = ()
    ) -> list[ScoredNode]:
        """The nodes whose label or text has words of ``text``, best first. Any text is taken as
        words; nothing in it is a query language.
        """
        ...

    async def neighbourhood(
        self, ids: Sequence[str], *, hops: int = 1, along: EdgeFilter = FACTS, limit: int = 256
    ) -> Subgraph:
        """What lies within ``hops`` of the given nodes: at most ``limit`` nodes, them included,
        nearest first; within a hop those that the strongest edge reaches (its weight times its
        confidence), then by id. With every edge between them that has the statuses and relations
        and is valid, whatever its direction.
        """
        ...

    async def shortest_path(
        self, start: str, end: str, *, most_hops: int = 6, along: EdgeFilter = FACTS
    ) -> Subgraph | None:
        """One of the shortest ways, its nodes in order; None when there is none that short."""
        ...

    async def walk(
        self,
        seeds: Mapping[str, float],
        *,
        limit: int = 20,
        kinds: Sequence[NodeKind] = (),
        along: EdgeFilter = FACTS,
        restart: float = 0.5,
        hops: int = 3,
        most_nodes: int = 5000,
    ) -> list[ScoredNode]:
        """The nodes where a walk that begins at ``seeds`` (nodes and their weights, above 0) and
        returns there with probability ``restart`` at each step is most often: personalised PageRank
        on what lies within ``hops`` of the seeds, at most ``most_nodes`` nodes of it. Best first,
        seeds among them; ``kinds`` selects what is returned, not where the walk goes.
        """
        ...

    async def sample(
        self,
        seeds: Mapping[str, float],
        *,
        tokens: int,
        seed: int = 0,
        along: EdgeFilter = FACTS,
        hops: int = 2,
    ) -> Subgraph:
        """A connected part of the graph around ``seeds`` whose edges, written as lines, cost at
        most about ``tokens`` tokens. Edges are drawn without replacement, likelier the more of a
        walk from the seeds passes over them; the same ``seed`` draws the same.
        """
        ...

    async def count(self, *, status: Status | None = None) -> int:
        """How many valid triplets there are."""
        ...

    async def size(self) -> GraphSize:
        """How much there is."""
        ...

    def pages(self, *, size: int = 1000) -> AsyncIterator[Batch]:
        """Everything, ended edges and vectors too, in batches of about ``size`` nodes or edges,
        every node before its edges. Writing them to another store copies it.
        """
        ...

    async def close(self) -> None:
        """Releases what the store holds; a second call does nothing."""
        ...
