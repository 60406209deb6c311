"""The tables of ``library.sqlite``."""

from __future__ import annotations

from typing import Final

from reverie.knowledge.database import Schema

LIBRARY_SCHEMA: Final = Schema(
    kind="library of documents",
    application_id=0x52564C42,  # "RVLB"
    migrations=(
        """
        CREATE TABLE library (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            id TEXT NOT NULL,              -- names its collection on a shared server
            embedder TEXT NOT NULL,        -- whose vectors count; empty: none yet
            dimension INTEGER NOT NULL
        );
        INSERT INTO library VALUES (1, lower(hex(randomblob(4))), '', 0);
        -- What was named to be ingested: what has gone from below it is removed.
        CREATE TABLE roots (
            path TEXT PRIMARY KEY,
            exclude TEXT NOT NULL,         -- JSON
            ingested REAL NOT NULL         -- seconds since 1970, as below
        );
        CREATE TABLE files (
            id INTEGER PRIMARY KEY,
            path TEXT NOT NULL UNIQUE,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,     -- -1: look at the content again
            digest TEXT NOT NULL,          -- SHA-256
            recipe TEXT NOT NULL,          -- how it was read and cut
            graph TEXT NOT NULL,           -- what of it is in the graph; empty: not yet
            ingested REAL NOT NULL
        );
        -- Most files are one document; of JSON Lines every record is one.
        CREATE TABLE documents (
            file_id INTEGER NOT NULL REFERENCES files (id),
            position INTEGER NOT NULL,
            path TEXT NOT NULL,            -- what the graph knows it by
            media TEXT NOT NULL,
            language TEXT NOT NULL,
            title TEXT NOT NULL,
            record TEXT NOT NULL,          -- which one of the file's
            text BLOB NOT NULL,            -- zlib
            lines BLOB,                    -- zlib, JSON
            pages BLOB,                    -- zlib, JSON
            PRIMARY KEY (file_id, position)
        );
        CREATE INDEX documents_path ON documents (path);
        CREATE TABLE chunks (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,      -- Chunk.id
            file_id INTEGER NOT NULL REFERENCES files (id),
            document INTEGER NOT NULL,
            position INTEGER NOT NULL,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            title TEXT NOT NULL,           -- of its document
            headings TEXT NOT NULL,        -- JSON
            docstring TEXT NOT NULL,
            text TEXT NOT NULL,
            embedding_text TEXT NOT NULL,
            hash TEXT NOT NULL,            -- of embedding_text
            first_line INTEGER NOT NULL,
            last_line INTEGER NOT NULL,
            page INTEGER
        );
        CREATE INDEX chunks_file ON chunks (file_id, document, position);
        CREATE INDEX chunks_hash ON chunks (hash);
        CREATE VIRTUAL TABLE words USING fts5 (
            title, name, embedding_text,
            content = 'chunks', content_rowid = 'id',
            tokenize = 'porter unicode61 remove_diacritics 2'
        );
        CREATE TRIGGER chunks_inserted AFTER INSERT ON chunks BEGIN
            INSERT INTO words (rowid, title, name, embedding_text)
            VALUES (new.id, new.title, new.name, new.embedding_text);
        END;
        CREATE TRIGGER chunks_deleted AFTER DELETE ON chunks BEGIN
            INSERT INTO words (words, rowid, title, name, embedding_text)
            VALUES ('delete', old.id, old.title, old.name, old.embedding_text);
        END;
        CREATE TRIGGER chunks_updated AFTER UPDATE ON chunks
        WHEN (old.title, old.name, old.embedding_text)
            IS NOT (new.title, new.name, new.embedding_text)
        BEGIN
            INSERT INTO words (words, rowid, title, name, embedding_text)
            VALUES ('delete', old.id, old.title, old.name, old.embedding_text);
            INSERT INTO words (rowid, title, name, embedding_text)
            VALUES (new.id, new.title, new.name, new.embedding_text);
        END;
        -- By text, not by chunk: what moved, was copied or comes back is not embedded again.
        CREATE TABLE vectors (
            id INTEGER PRIMARY KEY,
            hash TEXT NOT NULL,
            embedder TEXT NOT NULL,
            vector BLOB NOT NULL,          -- float32, little-endian, length one
            UNIQUE (hash, embedder)
        );
        -- What indexes of vectors have to follow: every chunk that came, went or was embedded anew.
        CREATE TABLE changes (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL
        );
        CREATE TABLE indexes (
            name TEXT PRIMARY KEY,
            epoch TEXT NOT NULL,           -- of the store, when this was written
            seen INTEGER NOT NULL          -- changes up to here are in it
        );
        -- What the graph has still to delete.
        CREATE TABLE forgotten (path TEXT PRIMARY KEY);
        -- What a model read from a chunk, so that a killed run does not ask again.
        CREATE TABLE extracted (
            key TEXT NOT NULL,
            model TEXT NOT NULL,
            triplets TEXT NOT NULL,        -- JSON
            PRIMARY KEY (key, model)
        );
        """,
        """
        -- Things that came into the graph, of which no other names were looked for yet.
        CREATE TABLE unresolved (thing TEXT PRIMARY KEY) WITHOUT ROWID;
        """,
    ),
)
