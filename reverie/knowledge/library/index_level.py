"""How far an index of vectors has followed the library. Everything blocks."""

from __future__ import annotations

from typing import Final, NamedTuple

from reverie.knowledge.database import Database

_MOST_KEPT: Final = 10_000
"""Changes that are kept for an index that follows no more, such as a former embedder's; as many as
there are chunks where those are more: from there on it is filled sooner than it follows.
"""


class Level(NamedTuple):
    """What an index has seen."""

    epoch: str
    seen: int
    """Changes up to here are in it."""
    newest: int
    """The latest change that there is."""

    @property
    def behind(self) -> int:
        """How many changes it has not seen."""
        return self.newest - self.seen


class IndexLevel:
    """The level of the index called ``name``."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name

    def read(self) -> Level | None:
        """None: nothing was ever written to it."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT epoch, seen FROM indexes WHERE name = ?", (self._name,)
            ).fetchone()
            (newest,) = connection.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()
        return None if row is None else Level(row[0], row[1], max(int(newest), row[1]))

    def restart(self, epoch: str) -> int:
        """The index is empty: everything is a change that it has not seen. Returns how much."""
        with self._database.writing() as connection:
            # Above every change there ever was: seq only grows, also when changes were deleted.
            row = connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'changes'"
            ).fetchone()
            seen = 0 if row is None else int(row[0])
            count = connection.execute("INSERT INTO changes (key) SELECT key FROM chunks").rowcount
            connection.execute(
                "INSERT INTO indexes (name, epoch, seen) VALUES (?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET epoch = excluded.epoch, seen = excluded.seen",
                (self._name, epoch, seen),
            )
        return count

    def unseen(self, limit: int) -> tuple[list[str], int]:
        """The next ``limit`` changes: the chunks' keys, each once, and where they end."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT seq, key FROM changes WHERE seq > "
                "(SELECT seen FROM indexes WHERE name = ?) ORDER BY seq LIMIT ?",
                (self._name, limit),
            ).fetchall()
        return list(dict.fromkeys(key for _, key in rows)), (rows[-1][0] if rows else 0)

    def advance(self, seen: int, epoch: str) -> None:
        """Changes up to ``seen`` are in the index; what every index has seen is dropped, and an
        index that is too far behind is forgotten: it would be filled anew.
        """
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE indexes SET seen = max(seen, ?), epoch = ? WHERE name = ?",
                (seen, epoch, self._name),
            )
            connection.execute(
                "DELETE FROM indexes WHERE seen + max(?, (SELECT count(*) FROM chunks)) < ?",
                (_MOST_KEPT, seen),
            )
            connection.execute("DELETE FROM changes WHERE seq <= (SELECT min(seen) FROM indexes)")
