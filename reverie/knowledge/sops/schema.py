"""The tables of the book of procedures."""

from __future__ import annotations

from typing import Final

from reverie.knowledge.database import Schema

SOP_SCHEMA: Final = Schema(
    kind="book of SOPs",
    application_id=0x52565350,  # "RVSP"
    migrations=(
        """
        CREATE TABLE sops (
            name TEXT PRIMARY KEY,
            current TEXT NOT NULL,      -- a version
            removed INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE versions (
            name TEXT NOT NULL REFERENCES sops (name),
            version TEXT NOT NULL,      -- of its content
            number INTEGER NOT NULL,    -- from 1
            document TEXT NOT NULL,     -- JSON
            source TEXT NOT NULL,
            added REAL NOT NULL,        -- seconds since 1970
            PRIMARY KEY (name, version)
        );
        CREATE TABLE vectors (
            name TEXT NOT NULL,
            version TEXT NOT NULL,
            embedder TEXT NOT NULL,
            vector BLOB NOT NULL,       -- float32, little-endian, length one
            PRIMARY KEY (name, version, embedder),
            FOREIGN KEY (name, version) REFERENCES versions (name, version)
        );
        CREATE TABLE packaged (
            content TEXT PRIMARY KEY    -- what was put in: the SHA-256 of the files
        );
        """,
    ),
)
