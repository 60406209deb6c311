"""Kinds of tasks, found while they come: leader clustering of question vectors.

A question joins the nearest centroid when it is similar enough, and begins a cluster of its own
otherwise (Hartigan 1975, the leader algorithm); the centroid moves towards it as in online
spherical k-means (Zhong 2005). All of it happens in the transaction that stores the run, so
processes cannot lose each other's tasks.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JOIN_SIMILARITY: Final = 0.5
"""Least cosine to a cluster's centroid of a question that joins it. With MiniLM, tasks of one
family mostly lie above it, and those of two below; from .4 on families run together.
"""
MOST_CLUSTERS: Final = 256
"""From then on every question joins the nearest cluster."""

_INERTIA = 100
"""A centroid moves as if it had at most so many tasks, so that it can follow what is asked."""


def assign(
    connection: sqlite3.Connection, embedder: str, vector: NDArray[np.float32], question: str
) -> int:
    """The cluster of a new task with the unit ``vector`` [D], which it moves or begins."""
    import numpy as np

    ids, centroids, sizes = _clusters(connection, embedder, len(vector))
    if ids:
        similarity = centroids @ vector
        best = int(np.argmax(similarity))
        if similarity[best] >= JOIN_SIMILARITY or len(ids) >= MOST_CLUSTERS:
            moved = centroids[best] * min(sizes[best], _INERTIA) + vector
            moved /= max(float(np.linalg.norm(moved)), 1e-12)
            connection.execute(
                "UPDATE clusters SET centroid = ?, tasks = tasks + 1 WHERE id = ?",
                (moved.astype("<f4").tobytes(), ids[best]),
            )
            return ids[best]
    begun = connection.execute(
        "INSERT INTO clusters (embedder, centroid, tasks, example) VALUES (?, ?, 1, ?)",
        (embedder, vector.astype("<f4").tobytes(), question),
    )
    return int(begun.lastrowid or 0)


def leave(connection: sqlite3.Connection, cluster: int | None) -> None:
    """A task of ``cluster`` is stored anew with another vector. The centroid stays."""
    connection.execute(
        "UPDATE clusters SET tasks = max(0, tasks - 1) WHERE id = ?",
        (cluster,),
    )


def nearest(
    connection: sqlite3.Connection, embedder: str, vector: NDArray[np.float32]
) -> int | None:
    """The cluster that the unit ``vector`` [D] would join; None when it would begin one."""
    import numpy as np

    ids, centroids, _ = _clusters(connection, embedder, len(vector))
    if not ids:
        return None
    similarity = centroids @ vector
    best = int(np.argmax(similarity))
    return ids[best] if similarity[best] >= JOIN_SIMILARITY else None


def assign_missing(connection: sqlite3.Connection, embedder: str, dimension: int) -> None:
    """Give the runs of an older file their clusters, in the order in which they were asked."""
    import numpy as np

    rows = connection.execute(
        "SELECT run_id, question, vector FROM runs "
        "WHERE cluster IS NULL AND embedder = ? AND dimension = ? ORDER BY created, rowid",
        (embedder, dimension),
    ).fetchall()
    for run_id, question, blob in rows:
        vector = np.frombuffer(blob, dtype="<f4").astype(np.float32)
        cluster = assign(connection, embedder, vector, question)
        connection.execute("UPDATE runs SET cluster = ? WHERE run_id = ?", (cluster, run_id))


def any_missing(connection: sqlite3.Connection, embedder: str) -> bool:
    """Whether ``assign_missing`` has anything to do."""
    found = connection.execute(
        "SELECT 1 FROM runs WHERE cluster IS NULL AND embedder = ? LIMIT 1", (embedder,)
    )
    return found.fetchone() is not None


def _clusters(
    connection: sqlite3.Connection, embedder: str, dimension: int
) -> tuple[list[int], NDArray[np.float32], list[int]]:
    """Ids, centroids [C, D] and sizes."""
    import numpy as np

    rows = connection.execute(
        "SELECT id, centroid, tasks FROM clusters WHERE embedder = ? ORDER BY id", (embedder,)
    ).fetchall()
    flat = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4").astype(np.float32)
    return [row[0] for row in rows], flat.reshape(-1, dimension), [row[2] for row in rows]
