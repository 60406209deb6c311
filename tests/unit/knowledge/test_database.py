"""SQLite files: created, migrated, refused or set aside, and shared between processes."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.database import Database, Schema, open_database

V1 = Schema("store of things", 0x1234, ("CREATE TABLE things (name TEXT NOT NULL);",))
V2 = Schema(V1.kind, V1.application_id, (*V1.migrations, "ALTER TABLE things ADD size INTEGER;"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "things.sqlite"


def add(database: Database, name: str) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO things (name) VALUES (?)", (name,))


def names(database: Database) -> list[str]:
    with database.reading() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY rowid")]


def test_what_is_written_is_there_after_opening_again(path: Path) -> None:
    with closing(open_database(path, V1)) as database:
        add(database, "ball")

    with closing(open_database(path, V1)) as database:
        assert names(database) == ["ball"]
        assert database.notices == []


def test_a_transaction_that_raises_stores_nothing(path: Path) -> None:
    def add_and_fail(database: Database) -> None:
        with database.writing() as connection:
            connection.execute("INSERT INTO things (name) VALUES ('ball')")
            raise ZeroDivisionError

    with closing(open_database(path, V1)) as database:
        with pytest.raises(ZeroDivisionError):
            add_and_fail(database)
        assert names(database) == []


def test_an_older_file_is_migrated_and_keeps_its_rows(path: Path) -> None:
    with closing(open_database(path, V1)) as database:
        add(database, "ball")

    with closing(open_database(path, V2)) as database, database.reading() as connection:
        assert connection.execute("SELECT name, size FROM things").fetchall() == [("ball", None)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    with closing(open_database(path, V1)) as database:
        add(database, "ball")
    broken = Schema(V1.kind, V1.application_id, (*V2.migrations, "CREATE TABLE things (x);"))

    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        open_database(path, broken)

    with closing(open_database(path, V1)) as database:
        assert names(database) == ["ball"]


def test_a_file_from_a_newer_reverie_is_refused_and_untouched(path: Path) -> None:
    open_database(path, V2).close()
    before = path.read_bytes()

    with pytest.raises(KnowledgeUnavailable, match="newer Reverie") as caught:
        open_database(path, V1)

    assert "REVERIE_HOME" in caught.value.hint
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE contacts (name TEXT)")

    with pytest.raises(KnowledgeUnavailable, match="no Reverie store of things"):
        open_database(path, V1)


def wreck_header(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 300)


def wreck_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("damage", [wreck_header, wreck_pages, cut_short])
def test_a_damaged_file_is_set_aside_and_said_so(path: Path, damage: object) -> None:
    with closing(open_database(path, V1)) as database:
        for number in range(2000):
            add(database, f"thing {number}")
    assert callable(damage)
    damage(path)
    wrecked = path.read_bytes()

    with closing(open_database(path, V1)) as database:
        (aside,) = path.parent.glob("things.sqlite.damaged-*")
        assert names(database) == []
        assert len(database.notices) == 1
        assert aside.name in database.notices[0]
    assert aside.read_bytes() == wrecked


def test_damage_done_while_it_is_open_is_an_error_with_a_way_out(path: Path) -> None:
    with closing(open_database(path, V1)) as database:
        for _ in range(60):
            add(database, "x" * 100_000)  # more than SQLite keeps in memory
    with closing(open_database(path, V1)) as database:
        wreck_pages(path)
        with pytest.raises(KnowledgeUnavailable, match="damaged") as caught:
            names(database)
    assert "Start again" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file, not a folder")

    with pytest.raises(KnowledgeUnavailable, match="occupied") as caught:
        open_database(tmp_path / "occupied" / "things.sqlite", V1)

    assert "REVERIE_HOME" in caught.value.hint


def test_a_file_that_cannot_be_opened_is_named(path: Path) -> None:
    path.mkdir(parents=True)  # a folder where the file should be

    with pytest.raises(KnowledgeUnavailable, match=r"things\.sqlite"):
        open_database(path, V1)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this machine lets us make one."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    try:
        run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not allowed here")
    yield mounted
    run("umount", str(mounted))


def run(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(program)
    subprocess.run([found, *arguments], check=True, capture_output=True)


def test_a_full_disk_is_an_error_and_keeps_what_was_stored(tiny_disk: Path) -> None:
    with closing(open_database(tiny_disk / "things.sqlite", V1)) as database:
        add(database, "ball")
        with pytest.raises(KnowledgeUnavailable, match="full") as caught:
            add(database, "x" * 2_000_000)
        assert "REVERIE_HOME" in caught.value.hint
        assert names(database) == ["ball"]


def test_a_folder_that_can_only_be_read_is_named(tiny_disk: Path) -> None:
    open_database(tiny_disk / "things.sqlite", V1).close()
    run("mount", "-o", "remount,ro", str(tiny_disk))

    with pytest.raises(KnowledgeUnavailable, match="cannot be kept in") as caught:
        open_database(tiny_disk / "things.sqlite", V1)

    assert str(tiny_disk) in caught.value.message
    assert "REVERIE_HOME" in caught.value.hint


def test_a_closed_database_says_so_and_closes_twice(path: Path) -> None:
    database = open_database(path, V1)
    database.close()
    database.close()

    with pytest.raises(KnowledgeUnavailable, match="is closed"):
        names(database)


def test_revision_changes_with_every_write_from_anywhere(path: Path) -> None:
    with closing(open_database(path, V1)) as ours, closing(open_database(path, V1)) as other:

        def revision() -> tuple[int, int]:
            with ours.reading() as connection:
                return ours.revision(connection)

        first = revision()
        assert revision() == first
        add(ours, "ball")
        second = revision()
        assert second != first
        add(other, "cup")
        assert revision() != second


def test_many_threads_share_one_database(path: Path) -> None:
    def add_25(database: Database) -> None:
        for _ in range(25):
            add(database, "thing")

    with closing(open_database(path, V1)) as database:
        threads = [threading.Thread(target=add_25, args=(database,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(names(database)) == 100


def open_and_add(path: Path, name: str) -> None:
    with closing(open_database(path, V2)) as database:
        for _ in range(25):
            add(database, name)


def test_many_processes_open_migrate_and_write_at_once(path: Path) -> None:
    open_database(path, V1).close()
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=open_and_add, args=(path, f"{n}")) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0] * 4
    with closing(open_database(path, V2)) as database:
        assert sorted(names(database)) == sorted(f"{n}" for n in range(4) for _ in range(25))
