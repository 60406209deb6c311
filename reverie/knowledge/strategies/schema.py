"""The tables of the strategy memory, and how older files become newer ones."""

from __future__ import annotations

from typing import Final

from reverie.knowledge.database import Schema

STRATEGY_SCHEMA: Final = Schema(
    kind="strategy memory",
    application_id=0x52565354,  # "RVST"
    migrations=(
        """
        CREATE TABLE runs (
            run_id TEXT PRIMARY KEY,
            question TEXT NOT NULL,
            embedder TEXT NOT NULL,
            vector BLOB NOT NULL,       -- float32, little-endian, length one
            strategy TEXT NOT NULL,
            propensity REAL NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('pending', 'failed')),
            answer TEXT NOT NULL,
            tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            seconds REAL NOT NULL,
            created REAL NOT NULL,      -- seconds since 1970
            score REAL CHECK (score BETWEEN 0 AND 1),
            scored REAL                 -- when, seconds since 1970
        );
        CREATE INDEX runs_created ON runs (created);
        CREATE INDEX runs_scored ON runs (embedder, strategy) WHERE score IS NOT NULL;
        """,
        """
        ALTER TABLE runs ADD COLUMN dimension INTEGER NOT NULL DEFAULT 0;
        UPDATE runs SET dimension = length(vector) / 4;
        CREATE INDEX runs_embedder ON runs (embedder, dimension);
        """,
        """
        ALTER TABLE runs ADD COLUMN task_type TEXT NOT NULL DEFAULT '';
        ALTER TABLE runs ADD COLUMN model TEXT NOT NULL DEFAULT '';
        ALTER TABLE runs ADD COLUMN source TEXT;    -- who scored it
        ALTER TABLE runs ADD COLUMN cluster INTEGER;
        UPDATE runs SET source = 'feedback' WHERE score IS NOT NULL;
        CREATE INDEX runs_unclustered ON runs (embedder) WHERE cluster IS NULL;

        CREATE TABLE trials (
            run_id TEXT NOT NULL REFERENCES runs (run_id),
            position INTEGER NOT NULL,
            strategy TEXT NOT NULL,
            template TEXT NOT NULL,
            propensity REAL NOT NULL,
            forced INTEGER NOT NULL,
            allowed TEXT NOT NULL,      -- JSON list of strategies
            features BLOB NOT NULL,     -- float32, little-endian
            features_version TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('ok', 'abstained', 'failed')),
            answer TEXT NOT NULL,
            confidence REAL,
            calibrated REAL,
            signals TEXT NOT NULL,      -- JSON object
            tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            seconds REAL NOT NULL,
            accepted INTEGER NOT NULL,  -- its answer was the run's
            model TEXT NOT NULL,
            error TEXT NOT NULL,
            created REAL NOT NULL,
            score REAL CHECK (score BETWEEN 0 AND 1),   -- from here on: the outcome in force
            source TEXT,
            weight REAL,
            seq INTEGER,
            PRIMARY KEY (run_id, position)
        );
        CREATE INDEX trials_seq ON trials (seq) WHERE seq IS NOT NULL;
        CREATE INDEX trials_strategy ON trials (strategy, created);

        -- Only ever appended to: the one with the highest seq of an attempt is in force.
        CREATE TABLE outcomes (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id TEXT NOT NULL,
            position INTEGER NOT NULL,
            score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
            source TEXT NOT NULL CHECK (source IN ('feedback', 'verifier', 'confidence')),
            weight REAL NOT NULL CHECK (weight BETWEEN 0 AND 1),
            replaces INTEGER NOT NULL,
            at REAL NOT NULL
        );
        CREATE INDEX outcomes_trial ON outcomes (run_id, position);

        CREATE TABLE clusters (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            embedder TEXT NOT NULL,
            centroid BLOB NOT NULL,     -- float32, little-endian, length one
            tasks INTEGER NOT NULL,
            example TEXT NOT NULL
        );
        CREATE INDEX clusters_embedder ON clusters (embedder);

        -- Which outcomes the vector index beside this file has seen.
        CREATE TABLE task_index (
            embedder TEXT PRIMARY KEY,
            seq INTEGER NOT NULL,
            tasks INTEGER NOT NULL,
            generation TEXT NOT NULL,   -- another one after every write
            version TEXT NOT NULL,      -- of the library that wrote it
            folder TEXT NOT NULL        -- its name
        );

        -- Until now a run knew one strategy only, and nobody but a person scored it.
        INSERT INTO trials
            SELECT run_id, 0, strategy, '', propensity, 0, '[]', x'', '',
                CASE WHEN status = 'failed' THEN 'failed'
                    WHEN answer = '' THEN 'abstained' ELSE 'ok' END,
                answer, NULL, NULL, '{}', tokens_in, tokens_out, calls, seconds,
                status <> 'failed', '', '', created, NULL, NULL, NULL, NULL
            FROM runs;
        INSERT INTO outcomes (run_id, position, score, source, weight, replaces, at)
            SELECT run_id, 0, score, 'feedback', 1.0, 0, coalesce(scored, created) FROM runs
            WHERE score IS NOT NULL ORDER BY coalesce(scored, created), rowid;
        UPDATE trials SET
            (score, source, weight, seq) =
                (SELECT o.score, o.source, o.weight, o.seq FROM outcomes o
                 WHERE o.run_id = trials.run_id)
            WHERE run_id IN (SELECT run_id FROM outcomes);
        """,
        """
        ALTER TABLE trials ADD COLUMN sop TEXT NOT NULL DEFAULT '';     -- NAME@VERSION
        CREATE INDEX trials_sop ON trials (sop) WHERE sop <> '';
        """,
    ),
)
