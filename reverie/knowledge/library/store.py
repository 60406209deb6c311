"""Files, their documents and their chunks in ``library.sqlite``: the source of truth.

Everything here blocks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.database import Database, open_database, storable
from reverie.knowledge.library.filters import Where
from reverie.knowledge.library.records import Extract, Folder, KnownFile, ReadFile, Replaced
from reverie.knowledge.library.rows import (
    chunks_of_document,
    document_of,
    file_id,
    replace_chunks,
    replace_documents,
)
from reverie.knowledge.library.schema import LIBRARY_SCHEMA
from reverie.knowledge.read.document import SourceDocument
from reverie.knowledge.search.records import Document


class LibraryStore:
    """What was read, as of the last transaction. May be used from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises ``KnowledgeUnavailable``."""
        self.database: Database = open_database(path, LIBRARY_SCHEMA)

    def close(self) -> None:
        self.database.close()

    # -- writing -----------------------------------------------------------------------------------

    def replace(self, file: ReadFile, extract: Extract) -> Replaced:
        """Makes ``file`` what is stored under its path, in one transaction. With the ``extract``
        "nothing" the graph is to delete what it knows of it.
        """
        graph = "nothing" if extract == "nothing" else ""
        with self.database.writing() as connection:
            before = connection.execute(
                "SELECT graph FROM files WHERE path = ?", (storable(file.path),)
            ).fetchone()
            connection.execute(
                "INSERT INTO files (path, size, mtime_ns, digest, recipe, graph, ingested) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
                "size = excluded.size, mtime_ns = excluded.mtime_ns, digest = excluded.digest, "
                "recipe = excluded.recipe, graph = excluded.graph, ingested = excluded.ingested",
                (
                    *(storable(file.path), file.size, file.mtime_ns, file.digest, file.recipe),
                    *(graph, time.time()),
                ),
            )
            number = file_id(connection, file.path)
            gone = replace_documents(connection, number, file)
            there = {(storable(document.path),) for document in file.documents}
            connection.executemany("DELETE FROM forgotten WHERE path = ?", there)
            if graph and before is not None and before[0] != graph:
                gone |= there
            connection.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", gone)
            return replace_chunks(connection, number, file)

    def touch(self, path: str, size: int, mtime_ns: int) -> None:
        """The file was written again with the same content."""
        with self.database.writing() as connection:
            connection.execute(
                "UPDATE files SET size = ?, mtime_ns = ? WHERE path = ?",
                (size, mtime_ns, storable(path)),
            )

    def graphed(self, path: str, extract: str) -> None:
        """So much of the file is in the graph now; empty: nothing."""
        with self.database.writing() as connection:
            connection.execute(
                "UPDATE files SET graph = ? WHERE path = ?", (extract, storable(path))
            )

    def ungraph(self) -> int:
        """The graph is another one: every file has to be written to it. Returns how many."""
        with self.database.writing() as connection:
            return connection.execute(
                "UPDATE files SET graph = '' WHERE graph NOT IN ('', 'nothing')"
            ).rowcount

    def forget(self, paths: Sequence[str]) -> None:
        """Removes files; the index and the graph have to follow."""
        with self.database.writing() as connection:
            for path in paths:
                number = file_id(connection, path)
                connection.execute(
                    "INSERT OR IGNORE INTO forgotten SELECT path FROM documents WHERE file_id = ?",
                    (number,),
                )
                connection.execute(
                    "INSERT INTO changes (key) SELECT key FROM chunks WHERE file_id = ?", (number,)
                )
                for statement in (
                    "DELETE FROM extracted WHERE key IN (SELECT key FROM chunks WHERE file_id = ?)",
                    "DELETE FROM chunks WHERE file_id = ?",
                    "DELETE FROM documents WHERE file_id = ?",
                    "DELETE FROM files WHERE id = ?",
                ):
                    connection.execute(statement, (number,))

    def unresolve(self, things: Iterable[str]) -> None:
        """Other names of these things, by id, are to be looked for."""
        with self.database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO unresolved VALUES (?)",
                ((storable(thing),) for thing in things),
            )

    def resolved(self, things: Iterable[str]) -> None:
        """They were looked for."""
        with self.database.writing() as connection:
            connection.executemany(
                "DELETE FROM unresolved WHERE thing = ?", ((thing,) for thing in things)
            )

    def add_root(self, path: str, exclude: Sequence[str]) -> None:
        """Remembers what was named."""
        with self.database.writing() as connection:
            connection.execute(
                "INSERT INTO roots (path, exclude, ingested) VALUES (?, ?, ?) "
                "ON CONFLICT (path) DO UPDATE SET exclude = excluded.exclude, "
                "ingested = excluded.ingested",
                (storable(path), json.dumps(list(exclude)), time.time()),
            )

    def drop_roots(self, paths: Iterable[str]) -> None:
        with self.database.writing() as connection:
            connection.executemany(
                "DELETE FROM roots WHERE path = ?", [(storable(path),) for path in paths]
            )

    def remembered(self, path: str) -> None:
        """The graph has deleted what it knew of ``path``."""
        with self.database.writing() as connection:
            connection.execute("DELETE FROM forgotten WHERE path = ?", (path,))

    # -- reading -----------------------------------------------------------------------------------

    def known(self) -> dict[str, KnownFile]:
        """Every file, by its path."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT path, size, mtime_ns, digest, recipe, graph FROM files ORDER BY path"
            )
            return {row[0]: KnownFile(*row[1:]) for row in rows}

    def roots(self) -> dict[str, tuple[str, ...]]:
        """What was named, with the patterns that were left out."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT path, exclude FROM roots ORDER BY path")
            return {path: tuple(json.loads(exclude)) for path, exclude in rows}

    def library_id(self) -> str:
        """What tells this library from another one on the same server."""
        with self.database.reading() as connection:
            (name,) = connection.execute("SELECT id FROM library").fetchone()
        return str(name)

    def has_graph(self) -> bool:
        """Whether anything is in the graph, or has still to be deleted there."""
        with self.database.reading() as connection:
            (there,) = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM files WHERE graph IN ('rules', 'model')) "
                "OR EXISTS (SELECT 1 FROM forgotten)"
            ).fetchone()
        return bool(there)

    def forgotten(self) -> list[str]:
        """What the graph has still to delete."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT path FROM forgotten ORDER BY path")
            return [path for (path,) in rows]

    def documents(self, path: str) -> list[tuple[SourceDocument, list[Chunk]]]:
        """A file's documents and their chunks, as they were read."""
        with self.database.reading() as connection:
            number = file_id(connection, path)
            documents = connection.execute(
                "SELECT position, path, media, text, language, title, lines, pages, record "
                "FROM documents WHERE file_id = ? ORDER BY position",
                (number,),
            ).fetchall()
            return [
                (document_of(row), chunks_of_document(connection, number, row[0], row[1]))
                for row in documents
            ]

    def document_paths(self, path: str) -> list[str]:
        """What the graph knows a file's documents by."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT d.path FROM documents d JOIN files f ON f.id = d.file_id "
                "WHERE f.path = ? ORDER BY d.position",
                (storable(path),),
            )
            return [name for (name,) in rows]

    def keys(self, where: Where) -> frozenset[str]:
        """The chunks that a filter lets through."""
        condition, values = where.condition()
        with self.database.reading() as connection:
            rows = connection.execute(
                f"SELECT c.key FROM chunks c WHERE {condition}",  # noqa: S608  # its parts are ours
                values,
            )
            return frozenset(key for (key,) in rows)

    def extracted(self, keys: Sequence[str], model: str) -> dict[str, str]:
        """What a model read from these chunks, as JSON, of those it was asked about."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT key, triplets FROM extracted "
                "WHERE model = ? AND key IN (SELECT value FROM json_each(?))",
                (model, json.dumps(list(keys))),
            )
            return dict(rows.fetchall())

    def unresolved(self) -> list[str]:
        """Things, by id, whose other names are to be looked for."""
        with self.database.reading() as connection:
            return [thing for (thing,) in connection.execute("SELECT thing FROM unresolved")]

    def keep_extracted(self, key: str, model: str, triplets: str) -> None:
        with self.database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO extracted VALUES (?, ?, ?)", (key, model, triplets)
            )

    def texts(self, keys: Sequence[str]) -> dict[str, Document]:
        """The chunks with these keys, of those that are there, as texts to be found."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT c.key, c.text, c.title, d.path, c.first_line, c.last_line, c.page, "
                "c.kind, c.name FROM chunks c "
                "JOIN documents d ON d.file_id = c.file_id AND d.position = c.document "
                "WHERE c.key IN (SELECT value FROM json_each(?))",
                (json.dumps(list(keys)),),
            )
            names = ("path", "first_line", "last_line", "page", "kind", "name")
            return {
                row[0]: Document(row[1], row[0], row[2], dict(zip(names, row[3:], strict=True)))
                for row in rows
            }

    def size(self) -> Mapping[str, int]:
        """How many files, documents and chunks; bytes of the files; what the graph lacks."""
        queries = {
            "files": "SELECT count(*) FROM files",
            "documents": "SELECT count(*) FROM documents",
            "chunks": "SELECT count(*) FROM chunks",
            "size": "SELECT coalesce(sum(size), 0) FROM files",
            "ungraphed": "SELECT count(*) FROM files WHERE graph = ''",
        }
        with self.database.reading() as connection:
            return {name: int(connection.execute(q).fetchone()[0]) for name, q in queries.items()}

    def kinds(self) -> list[tuple[str, int]]:
        """Chunks by kind, most first."""
        with self.database.reading() as connection:
            return connection.execute(
                "SELECT kind, count(*) AS n FROM chunks GROUP BY kind ORDER BY n DESC, kind"
            ).fetchall()

    def folders(self) -> list[Folder]:
        """What was named, and what of it is there. Files may count for several."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "WITH sizes AS (SELECT f.path, f.size, count(c.id) AS chunks FROM files f "
                "LEFT JOIN chunks c ON c.file_id = f.id GROUP BY f.id) "
                "SELECT r.path, count(s.path), coalesce(sum(s.chunks), 0), "
                "coalesce(sum(s.size), 0), r.ingested FROM roots r LEFT JOIN sizes s "
                # rtrim: the root folder ends with its separator already.
                "ON s.path = r.path OR substr(s.path, 1, length(rtrim(r.path, '/')) + 1) "
                "= rtrim(r.path, '/') || '/' GROUP BY r.path ORDER BY r.path"
            ).fetchall()
        return [Folder(*row) for row in rows]
