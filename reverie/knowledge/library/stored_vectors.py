"""The vectors of chunks in ``library.sqlite``, and exact search over them. Everything blocks."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.database import Database
from reverie.knowledge.library.filters import Where
from reverie.knowledge.search.records import Ranked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class StoredVectors:
    """Vectors by embedder and text. May be used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read: tuple[object, ...] | None = None
        """What the two below were read for."""
        self._keys: list[str] = []
        self._matrix: NDArray[np.float32] | None = None  # [N, D]

    def embedder(self) -> tuple[str, int]:
        """Whose vectors count, and their length; empty and 0 before the first ingest."""
        with self._database.reading() as connection:
            name, dimension = connection.execute(
                "SELECT embedder, dimension FROM library"
            ).fetchone()
        return str(name), int(dimension)

    def begin(self, embedder: str, dimension: int, *, again: bool) -> bool:
        """Says whose vectors count from now on. With ``again`` it may be another embedder than
        before: every chunk then waits for its vector. Returns whether it is another.

        Raises ``KnowledgeUnavailable`` for another one without ``again``.
        """
        with self._database.writing() as connection:
            name, before = connection.execute("SELECT embedder, dimension FROM library").fetchone()
            if (name, before) == (embedder, dimension):
                return False
            if name and not again:
                raise _other((name, before), (embedder, dimension))
            connection.execute(
                "UPDATE library SET embedder = ?, dimension = ?", (embedder, dimension)
            )
            connection.execute(
                "DELETE FROM vectors WHERE embedder = ? AND length(vector) <> ?",
                (embedder, 4 * dimension),
            )
            connection.execute("INSERT INTO changes (key) SELECT key FROM chunks")
            return bool(name)

    def check(self, embedder: str, dimension: int) -> None:
        """Raises ``KnowledgeUnavailable`` when the vectors that count are of another embedder."""
        if (stored := self.embedder()) != (embedder, dimension):
            raise _other(stored, (embedder, dimension))

    def missing(self, hashes: Collection[str], embedder: str) -> set[str]:
        """Those of ``hashes`` that have no vector."""
        with self._database.reading() as connection:
            there = connection.execute(
                "SELECT v.hash FROM json_each(?) j JOIN vectors v "
                "ON v.hash = j.value AND v.embedder = ?",
                (json.dumps(list(hashes)), embedder),
            )
            return set(hashes) - {one for (one,) in there}

    def keep(self, embedder: str, hashes: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Stores one vector [D] per hash. Chunks that waited for it are changes to follow."""
        import numpy as np

        rows = np.ascontiguousarray(vectors, dtype="<f4")
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO vectors (hash, embedder, vector) VALUES (?, ?, ?)",
                [(one, embedder, row.tobytes()) for one, row in zip(hashes, rows, strict=True)],
            )
            connection.execute(
                "INSERT INTO changes (key) SELECT key FROM chunks "
                "WHERE hash IN (SELECT value FROM json_each(?))",
                (json.dumps(list(hashes)),),
            )

    def of_chunks(
        self, keys: Sequence[str], embedder: str, dimension: int
    ) -> tuple[list[tuple[str, str, str, str]], NDArray[np.float32]]:
        """Those of the chunks ``keys`` that are there and have a vector, as (key, path, kind,
        name), and their vectors [n, D].
        """
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT c.key, f.path, c.kind, c.name, v.vector FROM json_each(?) j "
                "JOIN chunks c ON c.key = j.value JOIN files f ON f.id = c.file_id "
                "JOIN vectors v ON v.hash = c.hash AND v.embedder = ?",
                (json.dumps(list(keys)), embedder),
            ).fetchall()
        flat = b"".join(row[4] for row in rows)
        return [row[:4] for row in rows], _matrix(flat, len(rows), dimension)

    def without(self, embedder: str, limit: int) -> list[tuple[str, str]]:
        """At most ``limit`` texts of chunks that have no vector: hash and text."""
        with self._database.reading() as connection:
            return connection.execute(
                f"SELECT c.hash, c.embedding_text {_LACKING} GROUP BY c.hash LIMIT ?",
                (embedder, limit),
            ).fetchall()

    def lacking(self, embedder: str) -> int:
        """How many chunks have no vector."""
        with self._database.reading() as connection:
            (count,) = connection.execute(f"SELECT count(*) {_LACKING}", (embedder,)).fetchone()
        return int(count)

    def clean(self, embedder: str) -> int:
        """Deletes vectors of texts that no chunk has any more, and of other embedders."""
        with self._database.writing() as connection:
            return connection.execute(
                "DELETE FROM vectors WHERE embedder <> ? OR NOT EXISTS "
                "(SELECT 1 FROM chunks c WHERE c.hash = vectors.hash)",
                (embedder,),
            ).rowcount

    def nearest(
        self,
        vector: NDArray[np.float32],
        limit: int,
        embedder: str,
        *,
        where: Where,
        after: int | None,
    ) -> list[Ranked]:
        """The chunks nearest to ``vector`` [D], best first, by comparing with every one: of those
        that ``where`` lets through, and with ``after`` of those that changed behind that change.
        """
        import numpy as np

        with self._database.reading() as connection:
            wanted = (self._database.revision(connection), embedder, where, after)
            if wanted != self._read:
                condition, values = where.condition()
                if after is not None:
                    condition += " AND c.key IN (SELECT key FROM changes WHERE seq > ?)"
                    values = [*values, str(after)]
                keys, flat = [], bytearray()  # not a list of blobs, which would be as large again
                for key, blob in connection.execute(
                    "SELECT c.key, v.vector FROM chunks c "  # noqa: S608  # its parts are ours
                    "JOIN vectors v ON v.hash = c.hash AND v.embedder = ? "
                    f"WHERE {condition} ORDER BY c.key",
                    (embedder, *values),
                ):
                    keys.append(key)
                    flat += blob
                self._keys = keys
                self._matrix = _matrix(flat, len(keys), len(vector))
                self._read = wanted
            keys, matrix = self._keys, self._matrix
        if matrix is None or not keys:
            return []
        # Not @: its threads spin against each other on a busy machine, for tens of milliseconds.
        cosine = np.clip(np.einsum("nd,d->n", matrix, vector), -1.0, 1.0)
        # Sorted is only what can be among the best, with all that are as good as the last of them.
        least = np.partition(cosine, -limit)[-limit] if limit < len(cosine) else -1.0
        near = np.flatnonzero(cosine >= least)
        best = near[np.argsort(-cosine[near], kind="stable")][:limit]
        return [Ranked(keys[row], float(cosine[row])) for row in best]


_LACKING = (
    "FROM chunks c WHERE NOT EXISTS (SELECT 1 FROM vectors v "
    "WHERE v.hash = c.hash AND v.embedder = ?)"
)


def _other(stored: tuple[str, int], given: tuple[str, int]) -> KnowledgeUnavailable:
    """The error for a library that holds another embedder's vectors; each is name and length."""
    if stored[0] == given[0]:  # another model is served under the same name
        said = f"{stored[0]} with {stored[1]} numbers, and now it makes {given[1]}"
    else:
        said = f"the embedder {stored[0]}, not of {given[0]}"
    return KnowledgeUnavailable(
        f"the library holds vectors of {said}",
        hint="Use the first one again (embedder.name), or embed everything anew with this one: "
        "`reverie ingest --again`",
    )


def _matrix(flat: bytes | bytearray, count: int, dimension: int) -> NDArray[np.float32]:
    import numpy as np

    vectors = np.frombuffer(flat, dtype="<f4").reshape(count, dimension)
    return vectors.astype(np.float32, copy=False)
