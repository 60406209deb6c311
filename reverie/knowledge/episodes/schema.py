"""The tables of the episodic memory."""

from __future__ import annotations

from typing import Final

from reverie.knowledge.database import Schema

EPISODES_SCHEMA: Final = Schema(
    kind="memory",
    application_id=0x52564550,  # "RVEP"
    migrations=(
        """
        -- AUTOINCREMENT: numbers only grow, so "what is new" is "above the largest seen".
        CREATE TABLE episodes (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            text TEXT NOT NULL,
            plain TEXT NOT NULL,        -- normalised: the same thing is remembered once
            kind TEXT NOT NULL,
            importance REAL NOT NULL CHECK (importance BETWEEN 0 AND 1),
            learned REAL NOT NULL,      -- seconds since 1970, as the next one
            reinforced REAL NOT NULL,
            uses INTEGER NOT NULL DEFAULT 0,
            vector BLOB NOT NULL,       -- float32, little-endian, length one
            UNIQUE (kind, plain)
        );
        CREATE TABLE occasions (
            episode INTEGER NOT NULL REFERENCES episodes (seq) ON DELETE CASCADE,
            at REAL NOT NULL,
            source TEXT NOT NULL,
            PRIMARY KEY (episode, at, source)
        ) WITHOUT ROWID;
        CREATE INDEX occasions_source ON occasions (source);
        CREATE TABLE embedder (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            name TEXT NOT NULL,
            dimension INTEGER NOT NULL
        );
        """,
    ),
)
