"""The vectors of a SQLite graph store in memory, and exact search over them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reverie.errors import ConfigError
from reverie.knowledge.graph.store import Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VectorCache:
    """Every edge's vector, kept in step with the file. The database's lock guards it.

    A vector never changes once stored and ids only grow, so a refresh reads the vectors above the
    largest id it knows, and everybody's status and validity, which are small.
    """

    def __init__(self, dimension: int) -> None:
        import numpy as np

        self._revision: tuple[int, int] | None = None
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # [N], ascending
        self._matrix: NDArray[np.float32] = np.zeros((0, dimension), dtype=np.float32)  # [N, D]
        self._is_fact: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # [N]
        self._span: NDArray[np.float64] = np.zeros((0, 2))  # [N, 2]: valid from, to (seconds)

    def refresh(self, connection: sqlite3.Connection, revision: tuple[int, int]) -> None:
        """Reads what was written since ``revision`` last changed."""
        import numpy as np

        if revision == self._revision:
            return
        newest = int(self._ids[-1]) if len(self._ids) else 0
        rows = connection.execute(
            "SELECT edge_id, vector FROM vectors WHERE edge_id > ? ORDER BY edge_id", (newest,)
        ).fetchall()
        if rows:
            ids = np.array([edge for edge, _ in rows], dtype=np.int64)
            flat = np.frombuffer(b"".join(blob for _, blob in rows), dtype="<f4")
            block = flat.reshape(len(rows), -1).astype(np.float32)
            self._ids = np.concatenate([self._ids, ids])
            self._matrix = np.concatenate([self._matrix, block])
        lives = connection.execute(
            "SELECT e.status = 'fact', e.valid_from, coalesce(e.valid_to, 9e999) "
            "FROM vectors v JOIN edges e ON e.id = v.edge_id ORDER BY v.edge_id"
        ).fetchall()
        table = np.array(lives, dtype=np.float64).reshape(-1, 3)
        self._is_fact = table[:, 0] == 1.0
        self._span = table[:, 1:]
        self._revision = revision

    def ranked(
        self, query: NDArray[np.float32], minimum: float, statuses: Sequence[Status]
    ) -> Iterator[tuple[int, float]]:
        """Valid edges with their cosine to ``query`` [D], at least ``minimum``, best first."""
        import numpy as np

        now = time.time()
        wanted = np.zeros(len(self._ids), dtype=np.bool_)
        if "fact" in statuses:
            wanted |= self._is_fact
        if "hypothesis" in statuses:
            wanted |= ~self._is_fact
        # Not "from <= now": a clock set back must not hide what was just stored.
        wanted &= self._span[:, 1] > now
        similarity = np.clip(self._matrix @ query, -1.0, 1.0)
        rows = np.flatnonzero(wanted & (similarity >= minimum))
        for row in rows[np.argsort(-similarity[rows], kind="stable")]:
            yield int(self._ids[row]), float(similarity[row])


def checked(vectors: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """``vectors`` as float32 of ``shape`` [N, D], rows of length one. Raises ``ConfigError``."""
    import numpy as np

    values = np.asarray(vectors, dtype=np.float32)
    if values.shape != shape:
        raise ConfigError(
            f"Vectors of shape {list(values.shape)} do not fit: {list(shape)} is expected",
            hint="One vector per text, all from the embedder that the store was opened for",
        )
    if not np.isfinite(values).all():
        raise ConfigError("A vector holds values that are not finite")
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (values / np.maximum(norm, 1e-12)).astype("<f4")
    return unit
