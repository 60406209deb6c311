"""What every vector store does, and the records it takes and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = str | int | float | bool
"""What metadata may hold: finite numbers, whole ones of 64 bits."""

Where = Mapping[str, Value | Sequence[Value]]
"""A filter: by key the value that metadata has to hold, or several of which it has to hold one.
All keys have to agree. Numbers are equal by value (1 and 1.0); True is no number.
"""


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """A text with an id of its own, and what is known about it."""

    id: str
    text: str = ""
    metadata: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorHit:
    """A record that was found; ``similarity`` is the cosine (-1 to 1)."""

    record: VectorRecord
    similarity: float


class VectorStore(Protocol):
    """Texts by their vectors, of one embedder. Every method may raise ``KnowledgeUnavailable``.

    A vector store is an index: it can be new, set aside because it was damaged, or another
    server's. So whoever fills it keeps the vectors too, and beside them the ``epoch`` of the store
    that they were written to. When the store's epoch is another one, everything is written again.
    """

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it."""
        ...

    async def epoch(self) -> str:
        """The name of the time since which nothing that was written has gone, except by
        ``delete``. Another one when the store was begun anew, by whichever process.
        """
        ...

    async def write(self, records: Sequence[VectorRecord], vectors: NDArray[np.float32]) -> None:
        """Stores N records and their vectors [N, D], of length one; those with an id that is there
        replace it. In batches: when it raises, a part may have been written. Raises
        ``ConfigError`` for vectors of another shape or that are not finite.
        """
        ...

    async def delete(self, ids: Sequence[str]) -> None:
        """Removes records; ids that are not there are no error."""
        ...

    async def search(
        self, vector: NDArray[np.float32], *, limit: int = 10, where: Where | None = None
    ) -> list[VectorHit]:
        """The records most similar to ``vector`` [D], best first. What any process had written a
        second ago is found.
        """
        ...

    async def get(self, ids: Sequence[str]) -> dict[str, VectorRecord]:
        """The records with these ids, of those that are there."""
        ...

    async def count(self) -> int:
        """How many records there are."""
        ...

    async def clear(self) -> None:
        """Removes every record, and begins another epoch."""
        ...

    async def close(self) -> None:
        """Releases what the store holds; a second call does nothing."""
        ...
