"""The file ``runs.sqlite``: registry, leases and call journal behind one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reverie.knowledge.database import Database, Schema, open_database
from reverie.knowledge.read_only import open_to_read
from reverie.knowledge.runs.journal import CallJournal
from reverie.knowledge.runs.registry import RunRegistry

RUNS_SCHEMA: Final = Schema(
    kind="registry of runs",
    application_id=0x5256524E,  # "RVRN"
    migrations=(
        """
        CREATE TABLE runs (
            run_id TEXT PRIMARY KEY,
            question TEXT NOT NULL,
            context TEXT NOT NULL,          -- JSON
            status TEXT NOT NULL CHECK (status IN
                ('running', 'waiting', 'finished', 'abstained', 'failed', 'interrupted')),
            durability TEXT NOT NULL,
            resumable INTEGER NOT NULL,
            version TEXT NOT NULL,
            state_schema INTEGER NOT NULL,
            created REAL NOT NULL,          -- seconds since 1970
            updated REAL NOT NULL,          -- as above
            paused REAL NOT NULL DEFAULT 0, -- seconds
            strategy TEXT NOT NULL DEFAULT '',
            answer TEXT NOT NULL DEFAULT '',
            tokens INTEGER NOT NULL DEFAULT 0,
            calls INTEGER NOT NULL DEFAULT 0,
            error TEXT,                     -- JSON
            result TEXT,                    -- JSON
            form TEXT,                      -- JSON
            parent TEXT NOT NULL DEFAULT '',
            pruned INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX runs_created ON runs (created);
        CREATE TABLE leases (
            run_id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,            -- one stay of one process
            pid INTEGER NOT NULL,
            born TEXT NOT NULL,             -- tells a process from a later one of its number
            host TEXT NOT NULL,
            expires REAL NOT NULL           -- seconds since 1970
        );
        CREATE TABLE calls (
            run_id TEXT NOT NULL,
            name TEXT NOT NULL,             -- scope:node:call, the same when a node runs again
            number INTEGER NOT NULL,        -- 0, and one more whenever it is begun again
            scope TEXT NOT NULL,
            node TEXT NOT NULL,
            usage TEXT NOT NULL,            -- JSON: the most it may cost; once finished, its cost
            finished INTEGER NOT NULL DEFAULT 0,
            granted TEXT,                   -- once lost: the scope that pays for it
            PRIMARY KEY (run_id, name, number)
        ) WITHOUT ROWID;
        """,
    ),
)


class RunStore:
    """Get one with ``open_runs``; ``close`` it. Usable from every thread and event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.registry = RunRegistry(database)
        self.journal = CallJournal(database)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about opening it, such as a damaged file set aside."""
        return tuple(self._database.notices)

    async def close(self) -> None:
        """Close the file; a second call does nothing."""
        await asyncio.to_thread(self._database.close)


def open_runs(home: Path, *, to_read: bool = False) -> RunStore:
    """Open or create ``runs.sqlite`` in ``home``; ``to_read``: also one in a folder that cannot be
    written. Blocks. Raises ``KnowledgeUnavailable``.
    """
    opens = open_to_read if to_read else open_database
    return RunStore(opens(home / "runs.sqlite", RUNS_SCHEMA))
