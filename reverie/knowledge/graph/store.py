"""What every graph store does, and the records it takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Status = Literal["fact", "hypothesis"]


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


@dataclass(frozen=True, slots=True)
class Match:
    """A stored triplet found by meaning; ``similarity`` is the cosine (-1 to 1)."""

    id: str
    triplet: Triplet
    similarity: float


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored triplet reached from others through shared things, ``hops`` steps away."""

    id: str
    triplet: Triplet
    hops: int


class GraphStore(Protocol):
    """Triplets with vectors. Opened for one embedder: vectors of another one are refused.

    Every method may raise ``KnowledgeUnavailable``.
    """

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        ...

    async def upsert(self, triplets: Sequence[Triplet], vectors: NDArray[np.float32]) -> list[str]:
        """Stores N triplets and their vectors [N, D] in one transaction; returns their ids.

        A triplet that is there and valid keeps its id. Raises ``ConfigError`` for vectors of
        another shape or with values that are not finite, or an empty field of a triplet.
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

    async def expand(
        self,
        ids: Sequence[str],
        *,
        hops: int = 1,
        limit: int = 32,
        statuses: Sequence[Status] = ("fact",),
    ) -> list[Neighbour]:
        """The valid triplets within ``hops`` of the given ones, nearest first, without those."""
        ...

    async def count(self, *, status: Status | None = None) -> int:
        """How many valid triplets there are."""
        ...

    async def invalidate(self, ids: Sequence[str]) -> int:
        """Ends the validity of triplets, now; they stay as history. Returns how many it ended."""
        ...

    async def source_version(self, source: str) -> str | None:
        """The version that ``replace_source`` recorded; None when it never ran."""
        ...

    async def replace_source(
        self,
        source: str,
        version: str,
        triplets: Sequence[Triplet],
        vectors: NDArray[np.float32],
    ) -> bool:
        """Makes these the valid facts of ``source``, in one transaction, and records ``version``.

        Does nothing and returns False when that version is there already, so several processes
        may load the same source at once.
        """
        ...

    async def close(self) -> None:
        """Releases what the store holds; a second call does nothing."""
        ...


def embedding_text(triplet: Triplet) -> str:
    """The text whose vector stands for a triplet.

    Of seven forms this one parts right from unrelated best (MiniLM int8, the motif facts): over 44
    "What happens when ...?" questions the right fact has cosine .54 to .89 and is among the best
    three every time; over 24 unrelated questions the best fact reaches .46. "When {what} ..." .50,
    and forms without the result .55, let unrelated facts in at the threshold of .5.
    """
    return f"{triplet.what} {triplet.action}, {triplet.result}"
