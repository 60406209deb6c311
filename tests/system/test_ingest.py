"""Ingesting with real stores: ended at any moment, by several processes, over a damaged index."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.library import Library
from reverie.knowledge.vectors import open_vectors
from reverie.settings import Settings
from tests.system.ingest_children import DIMENSION, NAME, SlowEmbedder, ingest

pytest.importorskip("chromadb", reason="chromadb is not installed")

CHILDREN = Path(__file__).with_name("ingest_children.py")

Content = dict[str, Any]


def write(folder: Path, version: int) -> None:
    """Some files of every kind; the second version changes, removes and adds some."""
    folder.mkdir(exist_ok=True)
    numbers = range(version, 24 + version)
    for number in numbers:
        part = f"Section {number}, edition {version if number % 3 else 1}, names Cape{number}."
        sections = "\n\n".join(f"## Part {n}\n\n{part} Paragraph {n}." for n in range(4))
        (folder / f"{number:02}.md").write_text(f"# Book {number}\n\n{sections}\n")
    (folder / "code.py").write_text(
        "\n\n".join(f"def step_{n}():\n    return step_{n - 1}()" for n in range(1, 9 * version))
    )
    rows = "".join(f'{{"text": "row {n % 5}"}}\n' for n in range(30 * version))
    (folder / "rows.jsonl").write_text(rows)
    for path in folder.iterdir():
        if not any(path.name == f"{number:02}.md" for number in numbers) and path.suffix == ".md":
            path.unlink()


async def content(home: Path) -> Content:
    """All that three stores hold, without numbers and times that are of no account."""
    found: Content = {}
    with closing(sqlite3.connect(home / "library.sqlite")) as connection:
        for table, columns in (
            ("files", "path, size, digest, recipe, graph"),
            ("documents", "position, path, media, language, title, record, text, lines, pages"),
            (
                "chunks",
                (
                    "key, document, position, kind, name, title, headings, docstring, text, "
                    "embedding_text, hash, first_line, last_line, page"
                ),
            ),
            ("vectors", "hash, embedder, vector"),
            ("forgotten", "path"),
            ("roots", "path, exclude"),
        ):
            found[table] = sorted(
                connection.execute(f"SELECT {columns} FROM {table}"),  # noqa: S608  # as above
                key=repr,
            )
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        found["part"] = connection.execute(
            "SELECT count(*) FROM words WHERE words MATCH 'part'"
        ).fetchone()
    vectors = await open_vectors(
        Settings(home=home), "documents", embedder=NAME, dimension=DIMENSION
    )
    keys = [row[0] for row in found["chunks"]]
    found["index"] = (sorted((await vectors.get(keys)).items()), await vectors.count())
    await vectors.close()
    graph = await SqliteGraph.open(home / "graph.sqlite", embedder=NAME, dimension=DIMENSION)
    nodes = [node async for batch in graph.pages() for node in batch.nodes]
    edges = await graph.edges(limit=1_000_000)
    await graph.close()
    found["nodes"] = sorted(map(repr, nodes))
    found["edges"] = sorted(
        repr((e.start, e.relation, e.end, e.text, e.source, e.span, e.weight, e.confidence))
        for e in edges
    )
    return found


async def test_an_ingest_killed_at_any_moment_comes_to_the_same(tmp_path: Path) -> None:
    folder, whole, killed = tmp_path / "docs", tmp_path / "whole", tmp_path / "killed"
    write(folder, 1)
    await ingest(whole, folder, 0.0)
    await asyncio.to_thread(shutil.copytree, whole, killed)
    write(folder, 2)
    began = time.perf_counter()
    await ingest(whole, folder)
    seconds = time.perf_counter() - began
    wanted = await content(whole)
    assert wanted["index"][1] == len(wanted["chunks"])
    assert len(wanted["files"]) == 26

    # What each comes to is kept: five of them are spread over the whole of it.
    drawn = np.random.default_rng(6)
    moments = [str(drawn.uniform(0.05, 0.6) * seconds) for _ in range(5)]
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, CHILDREN, "kills", killed, folder, *moments],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    codes = [int(line) for line in process.stdout.split()]
    assert codes[-1] == 0
    assert codes.count(-9) >= 3, process.stdout
    found = await content(killed)
    for part, rows in wanted.items():
        assert found[part] == rows, part


@contextmanager
def ingesting(home: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that ingests, slowly."""
    child = subprocess.Popen(
        [sys.executable, CHILDREN, "ingest", home, folder], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "begins\n"
        while not (home / ".library.pid").exists():
            time.sleep(0.02)
            assert child.poll() is None
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


async def test_two_processes_do_not_ingest_at_once_and_one_searches_meanwhile(
    tmp_path: Path,
) -> None:
    folder, home = tmp_path / "docs", tmp_path / "home"
    write(folder, 1)
    library = await Library.open(Settings(home=home), embedder=SlowEmbedder(0.0))
    started = ingesting(home, folder)
    child = await asyncio.to_thread(started.__enter__)
    try:
        with pytest.raises(KnowledgeUnavailable, match=f"process {child.pid} is writing to"):
            _ = [event async for event in library.ingest([folder])]
        for _ in range(200):
            if hits := (await library.search("Section names Cape1")).hits:
                break
            await asyncio.sleep(0.05)
        assert hits
        assert child.poll() is None
    finally:
        await asyncio.to_thread(started.__exit__, None, None, None)
    told = [event.type async for event in library.ingest([folder])]
    assert told.count("done") + told.count("skipped") == 26
    await library.close()


async def test_a_damaged_index_is_filled_again_and_searches_go_on(tmp_path: Path) -> None:
    folder, home = tmp_path / "docs", tmp_path / "home"
    write(folder, 1)
    await ingest(home, folder, 0.0)
    whole = await content(home)
    (file,) = (home / "vectors").rglob("chroma.sqlite3")
    file.write_bytes(b"of another version")

    library = await Library.open(Settings(home=home), embedder=SlowEmbedder(0.0), index_from=0)
    result = await library.search("Section 7 names Cape7")
    assert result.hits[0].metadata["path"].endswith("07.md")
    assert "vector" in {place.source for place in result.hits[0].places}
    events = [event async for event in library.ingest([folder])]
    notices = library.notices
    await library.close()

    said = " ".join([*notices, *(e.message for e in events if e.type == "warned")])
    assert "written to it again, from library.sqlite" in said
    assert (await content(home))["index"] == whole["index"]
