"""The tables of a SQLite graph store, and how older files become them."""

from __future__ import annotations

from typing import Final

from reverie.knowledge.database import Schema

GRAPH_SCHEMA: Final = Schema(
    kind="graph store",
    application_id=0x52564752,  # "RVGR"
    migrations=(
        """
        CREATE TABLE nodes (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,  -- normalised, see node_name
            label TEXT NOT NULL,        -- as first written
            kind TEXT NOT NULL CHECK (kind IN ('entity', 'outcome'))
        );
        -- AUTOINCREMENT: ids only grow, so "what is new" is "ids above the largest seen".
        CREATE TABLE edges (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            what_id INTEGER NOT NULL REFERENCES nodes (id),
            result_id INTEGER NOT NULL REFERENCES nodes (id),
            what TEXT NOT NULL,
            action TEXT NOT NULL,
            result TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('fact', 'hypothesis')),
            source TEXT NOT NULL,
            run TEXT NOT NULL,
            branch INTEGER,
            expert TEXT NOT NULL,
            model TEXT NOT NULL,
            confidence REAL,
            created REAL NOT NULL,      -- seconds since 1970, as the two below
            valid_from REAL NOT NULL,
            valid_to REAL               -- NULL: valid
        );
        -- Over valid edges only: what was invalidated and is stated again is a new edge, and the
        -- old one stays as history.
        CREATE UNIQUE INDEX edges_identity
            ON edges (what_id, result_id, action, status, source, run) WHERE valid_to IS NULL;
        CREATE INDEX edges_result ON edges (result_id);
        CREATE INDEX edges_source ON edges (source);
        CREATE TABLE vectors (
            edge_id INTEGER PRIMARY KEY REFERENCES edges (id),
            vector BLOB NOT NULL        -- float32, little-endian, length one
        );
        CREATE TABLE embedder (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            name TEXT NOT NULL,
            dimension INTEGER NOT NULL
        );
        CREATE TABLE sources (
            name TEXT PRIMARY KEY,
            version TEXT NOT NULL,
            loaded REAL NOT NULL
        );
        """,
        """
        ALTER TABLE nodes RENAME TO old_nodes;
        ALTER TABLE edges RENAME TO old_edges;
        ALTER TABLE vectors RENAME TO old_vectors;
        ALTER TABLE sources RENAME TO old_sources;
        DROP INDEX edges_identity;
        DROP INDEX edges_result;
        DROP INDEX edges_source;

        -- AUTOINCREMENT throughout: numbers only grow and are never given again, so "what is new"
        -- is "above the largest seen", also for another process.
        CREATE TABLE nodes (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            label TEXT NOT NULL,
            text TEXT NOT NULL DEFAULT '',
            source INTEGER NOT NULL REFERENCES sources (number),
            properties TEXT NOT NULL DEFAULT '{}',  -- JSON
            implied INTEGER NOT NULL DEFAULT 0      -- 1: so far only the end of an edge
        );
        CREATE INDEX nodes_source ON nodes (source);
        CREATE TABLE sources (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            version TEXT,               -- NULL: it was never loaded as a whole
            loaded REAL
        );
        CREATE TABLE relations (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE
        );
        CREATE TABLE edges (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            start_node INTEGER NOT NULL REFERENCES nodes (number) ON DELETE CASCADE,
            end_node INTEGER NOT NULL REFERENCES nodes (number) ON DELETE CASCADE,
            relation INTEGER NOT NULL,
            fact INTEGER NOT NULL CHECK (fact IN (0, 1)),
            strength REAL NOT NULL,     -- weight * confidence, which orders neighbours
            valid_from REAL NOT NULL,   -- seconds since 1970, as all times
            valid_to REAL,              -- NULL: valid
            begins REAL,                -- valid_from where that lay ahead when it was written
            text TEXT NOT NULL,
            start_label TEXT,           -- NULL: the node's
            end_label TEXT,
            source INTEGER NOT NULL,
            run TEXT NOT NULL,
            branch INTEGER,
            expert TEXT NOT NULL,
            model TEXT NOT NULL,
            confidence REAL,
            weight REAL NOT NULL,
            path TEXT,                  -- where it stands; NULL: nobody said
            first_line INTEGER,
            last_line INTEGER,
            page INTEGER
        );
        -- These two hold all that a search along edges looks at, so it reads no table.
        CREATE INDEX edges_out ON edges
            (start_node, end_node, relation, fact, valid_to, begins, strength);
        CREATE INDEX edges_in ON edges
            (end_node, start_node, relation, fact, valid_to, begins, strength);
        CREATE INDEX edges_source ON edges (source);
        CREATE INDEX edges_run ON edges (run) WHERE run <> '';

        -- A vector that changes gets a new number.
        CREATE TABLE edge_vectors (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            owner INTEGER NOT NULL UNIQUE REFERENCES edges (number) ON DELETE CASCADE,
            vector BLOB NOT NULL        -- float32, little-endian, length one
        );
        CREATE TABLE node_vectors (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            owner INTEGER NOT NULL UNIQUE REFERENCES nodes (number) ON DELETE CASCADE,
            vector BLOB NOT NULL
        );
        -- How often edges ended, changed their status or went, and nodes went: what was read before
        -- is right as long as this stays the same.
        CREATE TABLE changes (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            number INTEGER NOT NULL
        );
        INSERT INTO changes VALUES (1, 0);
        CREATE TABLE aliases (
            name TEXT PRIMARY KEY,      -- normalised, see alias_key
            node TEXT NOT NULL          -- an id; the node need not be there
        ) WITHOUT ROWID;
        CREATE INDEX aliases_node ON aliases (node);

        INSERT INTO sources (name, version, loaded) SELECT name, version, loaded FROM old_sources;
        INSERT OR IGNORE INTO sources (name) SELECT DISTINCT source FROM old_edges;
        INSERT OR IGNORE INTO sources (name) VALUES ('');
        INSERT INTO relations (number, name) VALUES (1, 'causes');
        INSERT INTO nodes (number, id, kind, label, source)
            SELECT id, name, kind, label, (SELECT number FROM sources WHERE name = '')
            FROM old_nodes;
        INSERT INTO edges
            SELECT e.id, what_id, result_id, 1, status = 'fact', coalesce(confidence, 1.0),
                valid_from, valid_to, NULL, action, nullif(what, w.label), nullif(result, r.label),
                s.number, run, branch, expert, model, confidence, 1.0, NULL, NULL, NULL, NULL
            FROM old_edges e JOIN old_nodes w ON w.id = what_id JOIN old_nodes r ON r.id = result_id
            JOIN sources s ON s.name = e.source ORDER BY e.id;
        INSERT INTO edge_vectors (owner, vector)
            SELECT edge_id, vector FROM old_vectors ORDER BY edge_id;
        DROP TABLE old_vectors;
        DROP TABLE old_edges;
        DROP TABLE old_nodes;
        DROP TABLE old_sources;

        -- Words of nodes. Their text stays in nodes; triggers keep both in step.
        CREATE VIRTUAL TABLE words USING fts5 (
            label, text, content = 'nodes', content_rowid = 'number',
            tokenize = 'porter unicode61 remove_diacritics 2'
        );
        INSERT INTO words (words) VALUES ('rebuild');
        CREATE TRIGGER nodes_added AFTER INSERT ON nodes BEGIN
            INSERT INTO words (rowid, label, text) VALUES (new.number, new.label, new.text);
        END;
        CREATE TRIGGER nodes_gone AFTER DELETE ON nodes BEGIN
            INSERT INTO words (words, rowid, label, text)
                VALUES ('delete', old.number, old.label, old.text);
        END;
        CREATE TRIGGER nodes_changed AFTER UPDATE OF label, text ON nodes
            WHEN old.label <> new.label OR old.text <> new.text BEGIN
            INSERT INTO words (words, rowid, label, text)
                VALUES ('delete', old.number, old.label, old.text);
            INSERT INTO words (rowid, label, text) VALUES (new.number, new.label, new.text);
        END;
        """,
    ),
)
