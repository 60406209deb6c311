"""Sources and their versions, and that something changed. Runs inside a write transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection


def version_of(connection: sqlite3.Connection, source: str) -> str | None:
    """The version of ``source`` that is loaded."""
    row = connection.execute("SELECT version FROM sources WHERE name = ?", (source,)).fetchone()
    return None if row is None else row[0]


def set_version(connection: sqlite3.Connection, source: str, version: str) -> None:
    """Notes which version of ``source`` is loaded."""
    connection.execute(
        "INSERT INTO sources (name, version, loaded) VALUES (?, ?, ?) ON CONFLICT (name) "
        "DO UPDATE SET version = excluded.version, loaded = excluded.loaded",
        (source, version, time.time()),
    )


def sources_of(connection: sqlite3.Connection, names: Collection[str]) -> dict[str, int]:
    """By name, the number of every one, new ones made."""
    ordered = sorted(names)
    connection.executemany(
        "INSERT OR IGNORE INTO sources (name) VALUES (?)", [(name,) for name in ordered]
    )
    rows = connection.execute(
        "SELECT name, number FROM sources WHERE name IN (SELECT value FROM json_each(?))",
        (json.dumps(ordered),),
    )
    return dict(rows)


def note_change(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE changes SET number = number + 1")
