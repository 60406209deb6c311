"""Stores in folders that cannot be written. Root may write into any, so the file that locks a store
is a folder here: opening it to write fails all the same.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.database import Database, Schema, open_database
from reverie.knowledge.read_only import open_to_read

SCHEMA = Schema(kind="test store", application_id=7, migrations=("CREATE TABLE t (x INTEGER);",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.sqlite"


def written(path: Path, *values: int) -> Database:
    database = open_database(path, SCHEMA)
    with database.writing() as connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    return database


def lock_out(path: Path) -> None:
    lock = path.with_name(f".{path.name}.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()


def values_in(database: Database) -> list[int]:
    with database.reading() as connection:
        return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x")]


def test_what_is_there_is_read_and_never_written(path: Path) -> None:
    written(path, 1, 2).close()
    lock_out(path)
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    with pytest.raises(KnowledgeUnavailable, match="cannot be kept"):
        open_database(path, SCHEMA)

    database = open_to_read(path, SCHEMA)

    assert values_in(database) == [1, 2]
    with pytest.raises(KnowledgeUnavailable, match="readonly"), database.writing() as connection:
        connection.execute("INSERT INTO t VALUES (3)")
    database.close()
    assert {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


def test_what_another_process_has_just_written_is_read_too(path: Path) -> None:
    """It is still in the write-ahead log."""
    other = written(path, 1)
    lock_out(path)
    database = open_to_read(path, SCHEMA)
    assert values_in(database) == [1]
    with other.writing() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
    assert values_in(database) == [1, 2]
    database.close()
    other.close()


def test_where_it_can_be_written_it_is_opened_as_ever(path: Path) -> None:
    database = open_to_read(path, SCHEMA)
    assert database.writable
    assert values_in(database) == []
    database.close()


def test_what_cannot_be_read_as_it_stands_is_refused(path: Path) -> None:
    lock_out(path)
    with pytest.raises(KnowledgeUnavailable, match="cannot be kept"):
        open_to_read(path, SCHEMA)  # there is none
    path.write_bytes(b"no database, but long enough to look like one" * 100)
    with pytest.raises(KnowledgeUnavailable, match="is damaged"):
        open_to_read(path, SCHEMA)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 7")  # and version 0: to be migrated
    connection.execute("CREATE TABLE old (x)")
    connection.close()
    with pytest.raises(KnowledgeUnavailable, match="cannot be kept") as raised:
        open_to_read(path, SCHEMA)
    assert "Make that folder writable" in (raised.value.hint or "")
