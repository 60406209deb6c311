"""The episodic memory's file: everything that reads and writes it, synchronously."""

from __future__ import annotations

import json
import math
import sqlite3
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.database import Database, open_database, storable
from reverie.knowledge.episodes.episode import SECONDS_PER_DAY, Episode, Occasion
from reverie.knowledge.episodes.schema import EPISODES_SCHEMA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLUMNS: Final = "seq, id, text, kind, importance, learned, reinforced, uses"
_LEAST_IMPORTANCE: Final = 1e-9  # whose logarithm is taken
_SLACK: Final = 64
"""Memories over the quota before the weakest go, so that not every new one looks for them."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is to be remembered: an episode without an id gets one."""

    text: str
    kind: str
    importance: float
    occasions: Sequence[Occasion]
    reinforced: float
    uses: int = 0
    id: str = ""


class EpisodeFile:
    """One open file. Its methods block, and may be called from any thread."""

    def __init__(
        self, path: Path, embedder: str, dimension: int, half_life_days: float, most: int
    ) -> None:
        self.database: Final[Database] = open_database(path, EPISODES_SCHEMA)
        self._embedder = embedder
        self._dimension = dimension
        self._half_life = half_life_days * SECONDS_PER_DAY
        self._most = most
        self._revision: tuple[int, int] | None = None
        self._seqs: NDArray[np.int64] | None = None
        self._matrix: NDArray[np.float32] | None = None  # [N, D]

    # -- writing ---------------------------------------------------------------------------------

    def write(
        self, memories: Sequence[Written], vectors: NDArray[np.float32]
    ) -> tuple[list[str], int]:
        """Stores them in one transaction; returns their ids, and how many weak ones had to go."""
        with self.database.writing() as connection:
            self._same_embedder(connection, write=True)
            ids = [
                self._write(connection, memory, vector.astype("<f4").tobytes())
                for memory, vector in zip(memories, vectors, strict=True)
            ]
            return ids, self._forget_weakest(connection)

    def reinforce(self, ids: Sequence[str], at: float) -> None:
        with self.database.writing() as connection:
            connection.executemany(
                "UPDATE episodes SET uses = uses + 1, reinforced = max(reinforced, ?) WHERE id = ?",
                [(at, one) for one in ids],
            )

    def weigh(self, source: str, kind: str, importance: float) -> int:
        """Gives the memories that were learnt from ``source`` another importance."""
        with self.database.writing() as connection:
            return connection.execute(
                "UPDATE episodes SET importance = ? WHERE kind = ? AND seq IN "
                "(SELECT episode FROM occasions WHERE source = ?)",
                (importance, kind, source),
            ).rowcount

    def forget(self, ids: Sequence[str]) -> int:
        with self.database.writing() as connection:
            return connection.executemany(
                "DELETE FROM episodes WHERE id = ?", [(one,) for one in ids]
            ).rowcount

    def merge(self, groups: Sequence[Sequence[int]]) -> int:
        """Makes one of each group of memories (by ``seq``): the text of the most important one,
        learnt on all their occasions. Returns how many went.
        """
        gone = 0
        with self.database.writing() as connection:
            for group in groups:
                found = connection.execute(
                    "SELECT seq FROM episodes WHERE seq IN (SELECT value FROM json_each(?)) "
                    "ORDER BY importance DESC, reinforced DESC, seq",
                    (json.dumps(list(group)),),
                )
                seqs = [int(row[0]) for row in found]
                if len(seqs) < 2:  # another process was here
                    continue
                self._absorb(connection, seqs[0], seqs[1:])
                gone += len(seqs) - 1
        return gone

    def vacuum(self) -> int:
        """Gives free space back to the disk; returns how many bytes."""
        before = self.database.path.stat().st_size
        with self.database.exclusive() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return max(0, before - self.database.path.stat().st_size)

    # -- reading ---------------------------------------------------------------------------------

    def nearest(
        self, query: NDArray[np.float32], minimum: float, kinds: Sequence[str]
    ) -> list[tuple[Episode, float]]:
        """Every memory with at least that cosine to ``query`` [D]."""
        import numpy as np

        with self.database.reading() as connection:
            self._same_embedder(connection, write=False)
            seqs, matrix = self._vectors(connection)
            if not len(seqs):
                return []
            similarity = np.clip(matrix @ query, -1.0, 1.0)
            rows = np.flatnonzero(similarity >= minimum)
            cosines = {int(seqs[row]): float(similarity[row]) for row in rows}
            found = self._episodes(connection, list(cosines))
        return [(e, cosines[seq]) for seq, e in found.items() if not kinds or e.kind in kinds]

    def vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ``seq`` [N] and the vector [N, D] of every memory."""
        with self.database.reading() as connection:
            return self._vectors(connection)

    def episodes(self, seqs: Sequence[int]) -> dict[int, Episode]:
        with self.database.reading() as connection:
            return self._episodes(connection, seqs)

    def page(self, after: int, size: int) -> list[tuple[int, Episode]]:
        """The next memories, in the order they were first stored."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT seq FROM episodes WHERE seq > ? ORDER BY seq LIMIT ?", (after, size)
            ).fetchall()
            return list(self._episodes(connection, [row[0] for row in rows]).items())

    def latest(self, limit: int, kinds: Sequence[str]) -> list[Episode]:
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT seq FROM episodes WHERE ?1 = '[]' OR kind IN "
                "(SELECT value FROM json_each(?1)) ORDER BY learned DESC, seq DESC LIMIT ?2",
                (json.dumps(list(kinds)), limit),
            ).fetchall()
            found = self._episodes(connection, [row[0] for row in rows])
        return [found[row[0]] for row in rows]

    def resolve(self, beginning: str) -> str:
        """The id that begins so. Raises ConfigError when none or several do."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT id FROM episodes WHERE substr(id, 1, length(?1)) = ?1 LIMIT 3",
                (beginning,),
            ).fetchall()
        if not beginning or not rows:
            raise ConfigError(f"there is no memory {beginning!r}", hint="reverie memory list")
        if len(rows) > 1 and all(row[0] != beginning for row in rows):
            raise ConfigError(
                f"several memories begin with {beginning!r}", hint="give more of the id"
            )
        return beginning if any(row[0] == beginning for row in rows) else str(rows[0][0])

    def totals(self) -> tuple[dict[str, int], int]:
        """How many there are by kind, and the bytes of the file."""
        with self.database.reading() as connection:
            kinds = connection.execute("SELECT kind, count(*) FROM episodes GROUP BY kind")
            return {str(kind): int(n) for kind, n in kinds}, self.database.path.stat().st_size

    # -- inside ----------------------------------------------------------------------------------

    def _write(self, connection: sqlite3.Connection, memory: Written, vector: bytes) -> str:
        text = storable(memory.text)
        learned = min(occasion.at for occasion in memory.occasions)
        (seq, identity) = connection.execute(
            "INSERT INTO episodes (id, text, plain, kind, importance, learned, reinforced, uses, "
            "vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, plain) DO UPDATE SET "
            "importance = max(importance, excluded.importance), "
            "learned = min(learned, excluded.learned), uses = max(uses, excluded.uses), "
            "reinforced = max(reinforced, excluded.reinforced) RETURNING seq, id",
            (
                self._free_id(connection, memory.id),
                *(text, plain(text), storable(memory.kind), memory.importance, learned),
                *(memory.reinforced, memory.uses, vector),
            ),
        ).fetchone()
        connection.executemany(
            "INSERT OR IGNORE INTO occasions (episode, at, source) VALUES (?, ?, ?)",
            [(seq, o.at, storable(o.source)) for o in memory.occasions],
        )
        return str(identity)

    def _free_id(self, connection: sqlite3.Connection, wanted: str) -> str:
        taken = (
            wanted
            and connection.execute("SELECT 1 FROM episodes WHERE id = ?", (wanted,)).fetchone()
        )
        return wanted if wanted and not taken else uuid.uuid4().hex[:12]

    def _forget_weakest(self, connection: sqlite3.Connection) -> int:
        (number,) = connection.execute("SELECT count(*) FROM episodes").fetchone()
        slack = min(_SLACK, self._most // 10)
        if number <= self._most + slack:
            return 0
        rows = connection.execute("SELECT seq, importance, reinforced FROM episodes").fetchall()
        # All fade at one rate, so this order of strengths holds at any time.
        rows.sort(
            key=lambda row: (
                math.log2(max(row[1], _LEAST_IMPORTANCE)) + row[2] / self._half_life,
                row[0],
            )
        )
        weakest = [(row[0],) for row in rows[: number - self._most]]
        connection.executemany("DELETE FROM episodes WHERE seq = ?", weakest)
        return len(weakest)

    def _absorb(self, connection: sqlite3.Connection, kept: int, others: Iterable[int]) -> None:
        for other in others:
            connection.execute(
                "UPDATE OR IGNORE occasions SET episode = ? WHERE episode = ?", (kept, other)
            )
            connection.execute(
                "UPDATE episodes SET importance = max(episodes.importance, o.importance), "
                "learned = min(episodes.learned, o.learned), "
                "reinforced = max(episodes.reinforced, o.reinforced), "
                "uses = episodes.uses + o.uses FROM "
                "(SELECT importance, learned, reinforced, uses FROM episodes WHERE seq = ?) "
                "AS o WHERE seq = ?",
                (other, kept),
            )
            connection.execute("DELETE FROM episodes WHERE seq = ?", (other,))

    def _vectors(
        self, connection: sqlite3.Connection
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Kept in memory until this or another process writes."""
        import numpy as np

        revision = self.database.revision(connection)
        if self._seqs is None or self._matrix is None or revision != self._revision:
            rows = connection.execute("SELECT seq, vector FROM episodes ORDER BY seq").fetchall()
            self._seqs = np.array([row[0] for row in rows], dtype=np.int64)
            flat = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4")
            # All are of the embedder that the file names, which may be another one than this.
            length = len(flat) // len(rows) if rows else self._dimension
            self._matrix = flat.reshape(len(rows), length).astype(np.float32)
            self._revision = revision
        return self._seqs, self._matrix

    def _episodes(self, connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, Episode]:
        wanted = json.dumps([int(seq) for seq in seqs])
        occasions: dict[int, list[Occasion]] = {}
        for seq, at, source in connection.execute(
            "SELECT episode, at, source FROM occasions "
            "WHERE episode IN (SELECT value FROM json_each(?)) ORDER BY episode, at, source",
            (wanted,),
        ):
            occasions.setdefault(seq, []).append(Occasion(at, source))
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM episodes "  # noqa: S608  # names of columns, all ours
            "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (wanted,),
        )
        return {
            seq: Episode(
                id=identity,
                text=text,
                kind=kind,
                importance=importance,
                learned=learned,
                reinforced=reinforced,
                uses=uses,
                occasions=tuple(occasions.get(seq, ())),
            )
            for seq, identity, text, kind, importance, learned, reinforced, uses in rows
        }

    def _same_embedder(self, connection: sqlite3.Connection, *, write: bool) -> None:
        if write:
            connection.execute(
                "INSERT OR IGNORE INTO embedder (only, name, dimension) VALUES (1, ?, ?)",
                (self._embedder, self._dimension),
            )
        stored = connection.execute("SELECT name, dimension FROM embedder").fetchone()
        if stored is not None and stored != (self._embedder, self._dimension):
            raise KnowledgeUnavailable(
                f"{self.database.path} holds vectors of the embedder {stored[0]}, "
                f"not of {self._embedder}",
                hint="use the first one again (embedder.name), or `reverie memory export`, move "
                "the file away, and `reverie memory import`, which embeds anew",
            )


def plain(text: str) -> str:
    """The form in which two texts are the same memory: case and white space do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def changed_words(text: str) -> Mapping[str, int]:
    """The words that change a statement's truth though they hardly move its vector: numbers, names
    with digits, and negations. By word, how often it stands there.
    """
    counts: dict[str, int] = {}
    for word in _bare(plain(text).split()):
        if any(map(str.isdigit, word)) or word in _NEGATIONS or word.endswith("n't"):
            counts[word] = counts.get(word, 0) + 1
    return counts


_NEGATIONS: Final = frozenset(
    ("no", "not", "never", "none", "nothing", "nobody", "without", "cannot", "neither", "nor")
)


def _bare(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        yield word.strip(".,;:!?()[]\"'").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
