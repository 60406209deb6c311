"""``reverie ingest``: files into the library."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from reverie.cli.ingest_view import IngestTally
    from reverie.cli.interrupt import Stop
    from reverie.knowledge.library import Library
    from reverie.knowledge.library.listing import Plan
    from reverie.models.embedded.checkpoint import Report
    from reverie.settings import Settings

NOTHING_READ = 1

_GOES_ON = "What was done is kept; the same command goes on from there"


def ingest(  # noqa: PLR0917  # the command line's options, passed by name
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files, and folders with all below them; none: what was named before.",
            metavar="[PATH]...",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave these out, as in a .gitignore; may be given again.", metavar="PATTERN"
        ),
    ] = None,
    extract: Annotated[
        Literal["nothing", "rules", "model"] | None,
        typer.Option(
            help="What goes into the graph: nothing, what rules find, or also what the model"
            " reads [dim](else ingest.extract)[/dim]."
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune", help="Remove files that are gone from the folders named."
        ),
    ] = True,
    again: Annotated[
        bool,
        typer.Option("--again", help="Read unchanged files too; another embedder may take over."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be read and removed.")
    ] = False,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Read text, Markdown, HTML, PDF, source code and JSON Lines, to be found by `reverie search`.

    Unchanged files are skipped, changed ones replaced, deleted ones removed. It can be ended at any
    time: the same command then goes on.

    Example: reverie ingest docs src --exclude '*.log'

    Example: reverie ingest

    Example: reverie ingest docs --dry-run --json
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings
    options: dict[str, Any] = {
        "exclude": exclude or [],
        "extract": extract,
        "prune": prune,
        "again": again,
    }
    named = paths or []
    if dry_run:

        async def look(stop: Stop) -> Plan:
            del stop
            async with _opened(settings) as library:
                return await library.plan(named, **options)

        return _print_plan(run_interruptible(look, as_json=as_json), as_json=as_json)

    async def work(stop: Stop) -> IngestTally:
        stop.hint = _GOES_ON
        return await _ingest(settings, named, options, stop, as_json=as_json)

    return _print(run_interruptible(work, as_json=as_json), as_json=as_json)


async def _ingest(
    settings: Settings, paths: list[Path], options: dict[str, Any], stop: Stop, *, as_json: bool
) -> IngestTally:
    from reverie.cli.ingest_view import IngestTally, ingest_display

    tally = IngestTally()
    with ingest_display(tally, stop, as_json=as_json) as report:
        model = (options["extract"] or settings.ingest.extract) == "model"
        async with _opened(settings, report, with_model=model) as library:
            events = library.ingest(paths, **options)
            async with contextlib.aclosing(events):
                async for event in events:
                    tally.take(event)
            tally.notices = list(library.notices)
    return tally


@contextlib.asynccontextmanager
async def _opened(
    settings: Settings, report: Report | None = None, *, with_model: bool = False
) -> AsyncIterator[Library]:
    """The library, with the embedder that tells ``report`` of downloads."""
    import asyncio

    from reverie.knowledge.library import Library
    from reverie.models.embeddings import load_embedder

    async with contextlib.AsyncExitStack() as stack:
        embedder = await asyncio.to_thread(load_embedder, settings, report)
        stack.push_async_callback(embedder.aclose)
        model = None
        if with_model:
            from reverie.models.load import load_chat_model

            model = await asyncio.to_thread(load_chat_model, settings.model.name, settings, report)
            stack.push_async_callback(asyncio.to_thread, model.close)
            stack.push_async_callback(model.aclose)
            await model.prepare()
        library = await Library.open(settings, embedder=embedder, model=model)
        stack.push_async_callback(library.close)
        yield library


def _print_plan(plan: Plan, *, as_json: bool) -> int:
    from reverie.cli.ingest_view import from_here
    from reverie.cli.wording import clean, counted

    groups = {
        "read": list(plan.read),
        "extracted": plan.regraph,
        "skipped": plan.skipped,
        "removed": plan.removed,
        "failed": [failed.path for failed in plan.failed],
    }
    if as_json:
        document = {
            **groups,
            "failed": [{"path": f.path, "reason": f.reason, "hint": f.hint} for f in plan.failed],
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return NOTHING_READ if not plan.files else 0
    for word, names in (("read", groups["read"]), ("remove", groups["removed"])):
        for name in names:
            print(f"{word:<7} {clean(from_here(name))}")
    for failed in plan.failed:
        print(f"cannot: {clean(from_here(failed.reason))}", file=sys.stderr)
    size = sum(found.size for found in plan.read.values())
    print(
        f"would read {counted(len(plan.read), 'file')} ({size / 1e6:.1f} MB), skip "
        f"{counted(len(plan.skipped) + len(plan.regraph), 'unchanged file')}, remove "
        f"{counted(len(plan.removed), 'file')}"
    )
    return NOTHING_READ if not plan.files else 0


def _print(tally: IngestTally, *, as_json: bool) -> int:
    from reverie.cli.ingest_view import summary
    from reverie.cli.wording import glyphs_for

    if as_json:
        print(json.dumps(tally.document(), indent=2, ensure_ascii=False))
    else:
        for notice in tally.notices:
            print(notice, file=sys.stderr)
        print(summary(tally, glyphs_for(sys.stdout.encoding)))
    return NOTHING_READ if tally.read_nothing else 0
