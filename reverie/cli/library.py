"""``reverie library``: what was ingested."""

from __future__ import annotations

import dataclasses
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from reverie.cli.interrupt import Stop
    from reverie.knowledge.library import LibraryStatus
    from reverie.settings import Settings

library = typer.Typer(
    invoke_without_command=True, help="Show what `reverie ingest` has read; remove some of it."
)

_WIDTH = 100
"""Columns in a pipe."""


@library.callback()
def show(context: typer.Context, file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show what `reverie ingest` has read: files, chunks and bytes of every folder.

    Example: reverie library

    Example: reverie library remove docs/old
    """
    if context.invoked_subcommand is not None:
        return
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(stop: Stop) -> LibraryStatus:
        del stop
        from reverie.knowledge.library import Library

        opened = await Library.open(settings)
        try:
            return await opened.status()
        finally:
            await opened.close()

    status = run_interruptible(work, as_json=as_json)
    if as_json:
        print(json.dumps(dataclasses.asdict(status), indent=2, ensure_ascii=False))
    else:
        _print(status)


@library.command()
def remove(
    path: Annotated[Path, typer.Argument(help="A file, or a folder with all below it.")],
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Remove documents from the library. Files on the disk stay.

    Example: reverie library remove docs/old
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.cli.wording import counted
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(stop: Stop) -> tuple[list[str], list[str], list[str]]:
        del stop
        return await _remove(settings, path)

    removed, warnings, still = run_interruptible(work, as_json=as_json)
    if as_json:
        print(json.dumps({"removed": removed, "warnings": warnings}, indent=2, ensure_ascii=False))
        return
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"removed {counted(len(removed), 'file')} from the library")
    for folder in still:
        print(f"what is on the disk is read again by `reverie ingest {folder}`; --exclude it there")


async def _remove(settings: Settings, path: Path) -> tuple[list[str], list[str], list[str]]:
    """The files, warnings, and folders named before that hold them."""
    from reverie.knowledge.library import Library

    opened = await Library.open(settings)
    try:
        removed, warnings = await opened.remove(path)
        folders = (await opened.status()).folders
    finally:
        await opened.close()
    still = [f.path for f in folders if any(name.startswith(f.path + "/") for name in removed)]
    return removed, warnings, still


def _print(status: LibraryStatus) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from reverie.cli.wording import clean, counted, megabytes

    for notice in status.notices:
        print(notice, file=sys.stderr)
    if not status.files:
        print(f"nothing is in {status.path} yet: reverie ingest PATH")
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("folder or file", overflow="fold")
    for column in ("files", "chunks", "size"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("ingested", no_wrap=True)
    for folder in status.folders:
        when = datetime.fromtimestamp(folder.ingested).astimezone().strftime("%Y-%m-%d %H:%M")
        counts = (f"{folder.files:,}", f"{folder.chunks:,}", megabytes(folder.size))
        table.add_row(clean(folder.path), *counts, when)
    console.print(table)
    kinds = ", ".join(f"{count:,} {clean(kind)}" for kind, count in status.kinds)
    print(
        f"{counted(status.files, 'file')}, {counted(status.chunks, 'chunk')} ({kinds}), "
        f"{megabytes(status.stored)} in {status.path}"
    )
    for line in _lacking(status):
        print(line)


def _lacking(status: LibraryStatus) -> list[str]:
    """What the next ingest will do."""
    lines = []
    if status.lacking:
        lines.append(f"{status.lacking:,} chunks have no vector yet: found by words only")
    if status.unindexed:
        lines.append(f"{status.unindexed:,} changes are not in the index of vectors yet")
    if status.ungraphed:
        lines.append(f"{status.ungraphed:,} files are not in the graph yet")
    return [*lines, "`reverie ingest` goes on with it"] if lines else []
