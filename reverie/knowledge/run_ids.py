"""Finding a run by its id, or by the beginning of it, in any store that has a table of runs."""

from __future__ import annotations

import difflib
import sqlite3
from typing import Any, Final

from reverie.errors import ConfigError

_PREFIX: Final = 4
"""Characters of a run id that suffice to name it, when no other run begins with them."""


def resolve_run_id(connection: sqlite3.Connection, run_id: str) -> str:
    """The full id that ``run_id`` names in the table ``runs`` (``run_id``, ``created``).

    Raises ConfigError when it names none or several.
    """
    wanted = run_id.strip()
    if _first(connection, "SELECT run_id FROM runs WHERE run_id = ?", wanted):
        return wanted
    if len(wanted) >= _PREFIX:
        # substr, not LIKE: an id may hold % or _.
        starting = _first(
            connection,
            "SELECT run_id FROM runs WHERE substr(run_id, 1, length(?1)) = ?1 "
            "ORDER BY created DESC, rowid DESC LIMIT 6",
            wanted,
        )
        if len(starting) == 1:
            return starting[0]
        if starting:
            raise ConfigError(
                f"several runs begin with {wanted!r}: {', '.join(starting)}",
                hint="give more of the id",
            )
    recent = _first(
        connection, "SELECT run_id FROM runs ORDER BY created DESC, rowid DESC LIMIT 200"
    )
    if not recent:
        raise ConfigError(
            f"there is no run {wanted!r}: no run is recorded here yet",
            hint="ask a question first; its run id is in the answer, and reverie runs lists them",
        )
    close = difflib.get_close_matches(wanted, recent, n=3)
    named = f"did you mean {' or '.join(close)}?" if close else f"latest: {', '.join(recent[:3])}"
    raise ConfigError(f"there is no run {wanted!r}", hint=named)


def _first(connection: sqlite3.Connection, query: str, *values: Any) -> list[str]:
    return [str(row[0]) for row in connection.execute(query, values)]
