"""``reverie graph copy``: everything of one graph store into another."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import AsJson, ConfigFile
from reverie.errors import ConfigError

if TYPE_CHECKING:
    from reverie.cli.interrupt import Stop
    from reverie.knowledge.graph.store import GraphStore
    from reverie.settings import Settings

_HOME = "home"


def copy(
    source: Annotated[
        str, typer.Argument(help="home (the file under REVERIE_HOME), a file, or a Neo4j address.")
    ],
    target: Annotated[str, typer.Argument(help="The same, where to copy it to.")],
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy everything from one graph store to another, history too.

    What is there stays. Copying again after an interruption completes it. User, password and
    database of a Neo4j come from the settings (neo4j.user, REVERIE_NEO4J_PASSWORD).

    Example: reverie graph copy home neo4j://127.0.0.1:7687

    Example: reverie graph copy bolt://127.0.0.1:7687 backup.sqlite
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(stop: Stop) -> int:
        return await _copied(settings, source, target, stop)

    copied = run_interruptible(work, as_json=as_json)
    if as_json:
        print(json.dumps({"copied": copied}))
    else:
        print(f"Copied {copied:,} nodes and edges to {target}")


async def _copied(settings: Settings, source: str, target: str, stop: Stop) -> int:
    from reverie.cli.progress import Loading, write_line
    from reverie.graphs.resources import Resources
    from reverie.knowledge.graph.copy import copy_graph

    if source == target:
        raise ConfigError(f"{source} cannot be copied to itself")
    if await asyncio.to_thread(_one_file, settings, source, target):
        raise ConfigError(
            f"{source} and {target} are the same file", hint="name another file to copy it to"
        )
    resources = Resources(settings, report=Loading(stop.check, write_line(sys.stderr)))
    shown = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shown:
            told = f"\r{done:,} of {total:,} nodes and edges "
            print(told, end="", file=sys.stderr, flush=True)

    try:
        embedder = await resources.embedder()
        one = await _store(settings, source, embedder.name, embedder.dimension, new=False)
        try:
            other = await _store(settings, target, embedder.name, embedder.dimension, new=True)
            try:
                return await copy_graph(one, other, progress=progress)
            finally:
                await other.close()
        finally:
            await one.close()
            if shown:
                print(file=sys.stderr)
    finally:
        await resources.close()


async def _store(
    settings: Settings, name: str, embedder: str, dimension: int, *, new: bool
) -> GraphStore:
    """The store that an argument names. Raises ConfigError for a file that is not there."""
    from reverie.knowledge.graph.open import open_graph
    from reverie.knowledge.graph.sqlite import SqliteGraph
    from reverie.settings import Neo4jSettings

    if "://" in name:
        try:
            neo4j = Neo4jSettings.model_validate({**settings.neo4j.model_dump(), "uri": name})
        except ValueError as error:
            raise ConfigError(
                f"{name} is no address of a Neo4j", hint="as in neo4j://127.0.0.1:7687"
            ) from error
        there = settings.model_copy(update={"neo4j": neo4j})
        return await open_graph(there, embedder=embedder, dimension=dimension)
    path = _path(settings, name)
    if not new and not await asyncio.to_thread(path.exists):
        raise ConfigError(f"there is no graph store {path}", hint="name the file of one, or home")
    return await SqliteGraph.open(path, embedder=embedder, dimension=dimension)


def _path(settings: Settings, name: str) -> Path:
    return settings.home / "graph.sqlite" if name == _HOME else Path(name)


def _one_file(settings: Settings, source: str, target: str) -> bool:
    """Whether both arguments name one file, by whatever links. Blocks."""
    if "://" in source or "://" in target:
        return False
    try:
        return _path(settings, source).samefile(_path(settings, target))
    except OSError:  # of one that is not there or cannot be read, opening it says so
        return False
