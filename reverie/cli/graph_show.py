"""``reverie graph show``, ``find``, ``path`` and ``size``: what the graph store knows."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from reverie.cli.options import AsJson, ConfigFile
from reverie.errors import ConfigError

if TYPE_CHECKING:
    from reverie.cli.interrupt import Stop
    from reverie.knowledge.graph.records import Edge, EdgeFilter, GraphSize, ScoredNode, Subgraph
    from reverie.knowledge.graph.store import GraphStore
    from reverie.settings import Settings

T = TypeVar("T")

Relations = Annotated[
    list[str] | None,
    typer.Option("--relation", help="Only along this relation. May be repeated."),
]
NodeKinds = Annotated[
    list[str] | None, typer.Option("--kind", help="Only nodes of this kind. May be repeated.")
]
Hypotheses = Annotated[
    bool, typer.Option("--hypotheses", help="Also what was dreamed and nobody has verified.")
]
At = Annotated[
    str | None, typer.Option(help="As it was valid then, as in 2026-11-01.", metavar="DATE")
]
Limit = Annotated[int, typer.Option(min=1, help="Most nodes.", metavar="N")]


def show(  # noqa: PLR0917  # the command line's options, passed by name
    entity: Annotated[str, typer.Argument(help="A name, an alias, or a node's id.")],
    hops: Annotated[int, typer.Option(min=0, max=10, help="How far to look.", metavar="N")] = 1,
    limit: Limit = 60,
    relations: Relations = None,
    kinds: NodeKinds = None,
    hypotheses: Hypotheses = False,
    at: At = None,
    png: Annotated[
        Path | None, typer.Option(help="Draw it into this file, with Graphviz.", metavar="FILE")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Draw it into this web page.", metavar="FILE")
    ] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print what is known around a thing, and where it is from.

    Example: reverie graph show "a ball" --hops 2

    Example: reverie graph show asyncio --relation imports --html asyncio.html
    """
    along = _along(relations, kinds, at, hypotheses=hypotheses)

    async def work(store: GraphStore) -> tuple[str, Subgraph]:
        start = await _resolved(store, entity)
        return start, await store.neighbourhood([start], hops=hops, along=along, limit=limit)

    start, found = _with_store(work, file, as_json=as_json)
    if png is not None or html is not None:
        from reverie.cli.graph_picture import as_dot, as_page, layout_of
        from reverie.cli.graphviz import draw_png, svg
        from reverie.cli.whole_file import write_whole

        source, layout = as_dot(found, start), layout_of(found)
        if png is not None:
            draw_png(source, png, layout=layout)
        if html is not None:
            write_whole(html, as_page(found, start, svg(source, layout=layout)).encode())
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False))
        return
    _print(found, start)
    for drawn in (png, html):
        if drawn is not None:
            print(f"Drawn: {drawn}")


def find(
    words: Annotated[str, typer.Argument(help="Words of a name or a text.")],
    limit: Limit = 10,
    kinds: NodeKinds = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Find nodes by words.

    Example: reverie graph find "ball window" --kind entity
    """
    checked = _kinds(kinds)

    async def work(store: GraphStore) -> list[ScoredNode]:
        return await store.find(words, limit=limit, kinds=checked)

    found = _with_store(work, file, as_json=as_json)
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    from reverie.cli.strategy_table import Table, print_table

    if not found:
        print("nothing is called so")
        return
    rows = [(_short(one.node.label), one.node.kind, _short(one.node.id)) for one in found]
    print_table(Table(("name", "kind", "id"), rows, words=3))


def path(  # noqa: PLR0917  # the command line's options, passed by name
    start: Annotated[str, typer.Argument(help="Where to begin: a name, an alias, or an id.")],
    end: Annotated[str, typer.Argument(help="Where to get to.")],
    hops: Annotated[int, typer.Option(min=1, max=20, help="At most so far.", metavar="N")] = 6,
    relations: Relations = None,
    kinds: NodeKinds = None,
    hypotheses: Hypotheses = False,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the shortest way from one thing to another.

    Example: reverie graph path "a ball" "the window breaks"
    """
    along = _along(relations, kinds, None, hypotheses=hypotheses)

    async def work(store: GraphStore) -> Subgraph | None:
        here, there = await _resolved(store, start), await _resolved(store, end)
        return await store.shortest_path(here, there, most_hops=hops, along=along)

    found = _with_store(work, file, as_json=as_json)
    if as_json:
        document = None if found is None else dataclasses.asdict(found)
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif found is None:
        print(f"there is no way of at most {hops} steps")
    else:
        _print_path(found)


def size(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print how much the graph store knows.

    Example: reverie graph size --json
    """

    async def work(store: GraphStore) -> GraphSize:
        return await store.size()

    found = _with_store(work, file, as_json=as_json)
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=2))
        return
    from reverie.cli.strategy_table import Table, print_table

    rows = [("nodes", kind, f"{n:,}") for kind, n in sorted(found.nodes.items())]
    rows += [("edges", relation, f"{n:,}") for relation, n in sorted(found.edges.items())]
    rows += [("edges", "valid no more", f"{found.ended:,}"), ("vectors", "", f"{found.vectors:,}")]
    print_table(Table(("", "kind", "number"), rows, words=2))


def _with_store(
    work: Callable[[GraphStore], Awaitable[T]], file: Path | None, *, as_json: bool
) -> T:
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def opened(stop: Stop) -> T:
        return await _opened(settings, work, stop, speak=sys.stderr.isatty())

    return run_interruptible(opened, as_json=as_json)


async def _opened(
    settings: Settings, work: Callable[[GraphStore], Awaitable[T]], stop: Stop, *, speak: bool
) -> T:
    from reverie.cli.progress import Loading, write_line
    from reverie.graphs.resources import Resources

    resources = Resources(
        settings, report=Loading(stop.check, write_line(sys.stderr) if speak else None)
    )
    try:
        store = await resources.facts()
        for notice in store.notices:
            print(notice, file=sys.stderr)
        return await work(store)
    finally:
        await resources.close()


async def _resolved(store: GraphStore, name: str) -> str:
    """The id that ``name`` means. Raises ConfigError that names what is called alike."""
    found = await store.resolve([name])
    if name in found:
        return found[name]
    near = [one.node.label for one in await store.find(name, limit=3)]
    listed = " or ".join(_short(label) for label in dict.fromkeys(near))
    raise ConfigError(
        f"nothing is known of {_short(name)!r}",
        hint=f"did you mean {listed}?" if listed else "`reverie graph find WORDS` searches",
    )


def _along(
    relations: list[str] | None, kinds: list[str] | None, at: str | None, *, hypotheses: bool
) -> EdgeFilter:
    from reverie.knowledge.graph.records import EdgeFilter

    return EdgeFilter(
        statuses=("fact", "hypothesis") if hypotheses else ("fact",),
        relations=tuple(relations or ()),
        kinds=_kinds(kinds),
        at=None if at is None else _seconds(at),
    )


def _kinds(kinds: list[str] | None) -> Any:
    from reverie.knowledge.graph.records import NODE_KINDS

    for kind in kinds or ():
        if kind not in NODE_KINDS:
            raise ConfigError(f"no node is of the kind {kind!r}", hint=", ".join(NODE_KINDS))
    return tuple(kinds or ())


def _seconds(date: str) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(date).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"{date!r} is no date", hint="write it as in 2026-11-01 or 2026-11-01T12:30"
        ) from error


def _print(found: Subgraph, start: str) -> None:
    from reverie.cli.wording import clean, counted, glyphs_for

    node = found.nodes[start]
    glyphs = glyphs_for(sys.stdout.encoding)
    print(f"{clean(node.label)} ({node.kind})")
    if node.kind in ("chunk", "document") and node.text:
        print(f"  {_short(node.text, 200)}")
    nearest = sorted(
        found.edges, key=lambda e: min(found.hops.get(e.start, 99), found.hops.get(e.end, 99))
    )
    depth: int | None = None
    for edge in nearest:
        hop = min(found.hops.get(edge.start, 99), found.hops.get(edge.end, 99)) + 1
        if hop != depth and max(found.hops.values(), default=0) > 1:
            print(f"{counted(hop, 'hop')}:")
            depth = hop
        print("  " + _line(found, edge, glyphs.arrow))
    if not nearest:
        print("  nothing else is known of it")
    if found.truncated:
        print(f"  {glyphs.ellipsis} there is more: --limit {2 * len(found.nodes)}")


def _print_path(found: Subgraph) -> None:
    from reverie.cli.wording import clean, counted, glyphs_for

    glyphs = glyphs_for(sys.stdout.encoding)
    first = next(iter(found.nodes.values()))
    print(f"{clean(first.label)}: {counted(len(found.edges), 'step')}")
    for edge in found.edges:
        print("  " + _line(found, edge, glyphs.arrow))


def _line(found: Subgraph, edge: Edge, arrow: str) -> str:
    """An edge in words: who, what, whom, and where that is from."""
    said = _short(edge.text) if edge.text else edge.relation.replace("_", " ")
    start = _short(edge.start_label or _label(found, edge.start))
    end = _short(edge.end_label or _label(found, edge.end))
    marks = [_short(str(edge.span) if edge.span is not None else edge.source)]
    if edge.status == "hypothesis":
        marks.append("hypothesis")
    if edge.confidence is not None:
        marks.append(f"confidence {edge.confidence:.2f}")
    told = ", ".join(mark for mark in marks if mark)
    return f"{start} {arrow} {said} {arrow} {end}" + (f"  [{told}]" if told else "")


def _label(found: Subgraph, node: str) -> str:
    return found.nodes[node].label if node in found.nodes else node


def _short(text: str, most: int = 80) -> str:
    from reverie.cli.wording import clean

    plain = " ".join(clean(text).split())
    return plain if len(plain) <= most else plain[: most - 3].rstrip() + "..."
