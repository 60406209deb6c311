"""The vectors of a SQLite graph store in memory, and exact search over them.

Exact search over 50,000 vectors of 384 numbers takes 2 ms, so there is no index to keep in step.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.graph.records import NODE_KINDS, NodeKind, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What is kept beside a vector, as three numbers: of an edge whether it is a fact, and from and to
# when it is valid; of a node its kind.
_EDGES: Final = (
    "e.fact, coalesce(e.begins, -9e999), coalesce(e.valid_to, 9e999) FROM edge_vectors v "
    "JOIN edges e ON e.number = v.owner JOIN relations r ON r.number = e.relation "
    "WHERE r.name = 'causes'"
)
_NODES: Final = (
    "CASE n.kind "
    + " ".join(f"WHEN '{kind}' THEN {number}" for number, kind in enumerate(NODE_KINDS))
    + " END, 0, 0 FROM node_vectors v JOIN nodes n ON n.number = v.owner WHERE 1"
)


class VectorCache:
    """The vectors of one table, kept in step with the file. The database's lock guards it.

    A vector's number is never given again, and one that changes gets a new one. So a refresh reads
    the vectors above the largest number it knows, and all that stands beside the others only when
    the file says that some ended, changed or went.
    """

    def __init__(self, dimension: int, table: str) -> None:
        import numpy as np

        self._dimension = dimension
        self._beside = _EDGES if table == "edge_vectors" else _NODES
        self._revision: tuple[int, int] | None = None
        self._changes = 0
        self._newest = 0
        self._count = 0
        self._numbers: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # [capacity], ascending
        self._owners: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # [capacity]
        self._vectors: NDArray[np.float32] = np.zeros((0, dimension), dtype=np.float32)
        self._about: NDArray[np.float64] = np.zeros((0, 3))  # [capacity, 3]

    def refresh(self, connection: sqlite3.Connection, revision: tuple[int, int]) -> None:
        """Reads what was written since ``revision`` last changed. Raises KnowledgeUnavailable."""
        if revision == self._revision:
            return
        (changes,) = connection.execute("SELECT number FROM changes").fetchone()
        if changes != self._changes:
            self._look_again(connection)
            self._changes = changes
        rows = connection.execute(
            f"SELECT v.number, v.owner, v.vector, {self._beside} AND v.number > ? "
            "ORDER BY v.number",
            (self._newest,),
        ).fetchall()
        if rows:
            self._append(rows)
        self._revision = revision

    def edges(
        self, query: NDArray[np.float32], minimum: float, statuses: Sequence[Status]
    ) -> Iterator[tuple[int, float]]:
        """Valid edges with their cosine to ``query`` [D], at least ``minimum``, best first."""
        about, now = self._about[: self._count], time.time()
        facts = about[:, 0] == 1.0
        wanted = (facts & ("fact" in statuses)) | (~facts & ("hypothesis" in statuses))
        return self._ranked(query, minimum, wanted & (about[:, 1] <= now) & (about[:, 2] > now))

    def nodes(
        self, query: NDArray[np.float32], minimum: float, kinds: Sequence[NodeKind]
    ) -> Iterator[tuple[int, float]]:
        """Nodes with their cosine to ``query`` [D], at least ``minimum``, best first."""
        import numpy as np

        numbers = [number for number, kind in enumerate(NODE_KINDS) if not kinds or kind in kinds]
        return self._ranked(query, minimum, np.isin(self._about[: self._count, 0], numbers))

    def _ranked(
        self, query: NDArray[np.float32], minimum: float, wanted: NDArray[np.bool_]
    ) -> Iterator[tuple[int, float]]:
        import numpy as np

        similarity = np.clip(self._vectors[: self._count] @ query, -1.0, 1.0)
        rows = np.flatnonzero(wanted & (similarity >= minimum))
        for row in rows[np.argsort(-similarity[rows], kind="stable")]:
            yield int(self._owners[row]), float(similarity[row])

    def _look_again(self, connection: sqlite3.Connection) -> None:
        """Reads anew what stands beside the vectors that are known, and drops those that went."""
        import numpy as np

        rows = connection.execute(
            f"SELECT v.number, {self._beside} AND v.number <= ? ORDER BY v.number", (self._newest,)
        ).fetchall()
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        kept = np.isin(self._numbers[: self._count], table[:, 0])
        number = int(kept.sum())
        if number < self._count:
            for values in (self._numbers, self._owners, self._vectors):
                values[:number] = values[: self._count][kept]
            self._count = number
        self._about[:number] = table[:, 1:]

    def _append(self, rows: Sequence[tuple[int, int, bytes, float, float, float]]) -> None:
        import numpy as np

        if any(len(row[2]) != 4 * self._dimension for row in rows):
            raise KnowledgeUnavailable(
                f"A stored vector does not have {self._dimension} numbers: the file is damaged",
                hint="Move it away, so that a new one is begun",
            )
        self._reserve(self._count + len(rows))
        where = slice(self._count, self._count + len(rows))
        self._numbers[where] = [row[0] for row in rows]
        self._owners[where] = [row[1] for row in rows]
        flat = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4")
        self._vectors[where] = flat.reshape(len(rows), self._dimension)
        self._about[where] = [row[3:] for row in rows]
        self._count += len(rows)
        self._newest = rows[-1][0]

    def _reserve(self, number: int) -> None:
        """Room for as many, and half as many again, so that single ones copy nothing."""
        import numpy as np

        if number <= len(self._numbers):
            return
        more = number + number // 2 - len(self._numbers)

        def longer(values: NDArray[np.generic]) -> NDArray[np.generic]:
            return np.concatenate([values, np.zeros((more, *values.shape[1:]), values.dtype)])

        self._numbers, self._owners = longer(self._numbers), longer(self._owners)  # type: ignore[assignment]  # of the same type
        self._vectors, self._about = longer(self._vectors), longer(self._about)  # type: ignore[assignment]  # of the same type
