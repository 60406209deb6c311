"""``reverie search``: what the ingested documents say, and how each hit was found."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import AsJson, ConfigFile
from reverie.errors import KnowledgeUnavailable

if TYPE_CHECKING:
    from reverie.cli.interrupt import Stop
    from reverie.knowledge.search.records import SearchResult
    from reverie.settings import Settings


def search(  # noqa: PLR0917  # the command line's options, passed by name
    query: Annotated[str, typer.Argument(help="Words or a question.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most hits.", metavar="N")] = 5,
    path: Annotated[
        str,
        typer.Option(
            help="Only files that match, such as '*.md', or below this folder.", metavar="GLOB"
        ),
    ] = "",
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Only such chunks: function, class, method, section, prose, table, ...; may be"
            " given again.",
            metavar="KIND",
        ),
    ] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Search the documents that `reverie ingest` has read: by meaning, by words and by the graph.

    Below each hit stands which way of searching found it, at which place, and its score there.

    Example: reverie search "how are retries counted?" --limit 3

    Example: reverie search "connection pool" --path '*.py' --kind class --json
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(stop: Stop) -> SearchResult:
        return await _search(settings, query, limit, path, kind or [], stop, as_json=as_json)

    result = run_interruptible(work, as_json=as_json)
    if as_json:
        print(_json(result))
        return
    from reverie.cli.hits import print_hits

    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print_hits(result)


def _json(result: SearchResult) -> str:
    """Texts of documents may hold anything: what steers terminals (the controls that JSON itself
    leaves as they are) is escaped.
    """
    written = json.dumps(dataclasses.asdict(result), indent=2, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", written)


async def _search(  # noqa: PLR0917  # the command line's options
    settings: Settings,
    query: str,
    limit: int,
    path: str,
    kinds: list[str],
    stop: Stop,
    *,
    as_json: bool,
) -> SearchResult:
    import asyncio
    from contextlib import AsyncExitStack
    from typing import get_args

    from reverie.cli.progress import Loading, write_line
    from reverie.errors import ConfigError
    from reverie.knowledge.chunk.chunk import ChunkKind
    from reverie.knowledge.library import Library, Where
    from reverie.models.embeddings import load_embedder

    if unknown := [kind for kind in kinds if kind not in get_args(ChunkKind)]:
        raise ConfigError(
            f"there is no kind of chunk called {unknown[0]!r}",
            hint=f"There are: {', '.join(get_args(ChunkKind))}",
        )
    async with AsyncExitStack() as stack:
        speak = sys.stderr.isatty() or not as_json
        report = Loading(stop.check, write_line(sys.stderr) if speak else None)
        embedder = await asyncio.to_thread(load_embedder, settings, report)
        stack.push_async_callback(embedder.aclose)
        library = await Library.open(settings, embedder=embedder)
        stack.push_async_callback(library.close)
        status = await library.status()
        if not status.chunks:
            said = " ".join(status.notices)
            raise KnowledgeUnavailable(
                f"the library is empty: {said}" if said else "the library is empty",
                hint="Read some documents into it: reverie ingest PATH",
            )
        result = await library.search(query, limit=limit, where=Where(path, tuple(kinds)))
        notices = tuple(n for n in library.notices if n not in result.warnings)
        return dataclasses.replace(result, warnings=(*notices, *result.warnings))
