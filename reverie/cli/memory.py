"""``reverie memory``: what was learnt, when, and how much of it still counts."""

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
    from reverie.knowledge.episodes import Episode, EpisodicMemory, Recalled
    from reverie.settings import Settings

T = TypeVar("T")

_TEXT = 70

memory = typer.Typer(
    help="What was learnt, when, and how much of it still counts.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="Only this kind: note, run. May be repeated.")
]
Ids = Annotated[list[str], typer.Argument(help="Ids, or their beginnings.", metavar="ID...")]


@memory.command()
def add(  # noqa: PLR0917  # the command line's options, passed by name
    text: Annotated[str, typer.Argument(help="What to remember.")],
    importance: Annotated[float, typer.Option(help="0 to 1.")] = 0.5,
    kind: Annotated[str, typer.Option(help="What kind of memory it is.")] = "note",
    source: Annotated[str, typer.Option(help="Where it was learnt.")] = "",
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Remember something. What is known already is fresh again.

    Example: reverie memory add "The staging server runs Debian 12" --importance 0.8
    """

    async def work(episodes: EpisodicMemory) -> str:
        return await episodes.remember(text, importance=importance, kind=kind, source=source)

    identity = _with_memory(work, file, as_json=as_json)
    print(json.dumps({"id": identity}) if as_json else f"Remembered: {identity}")


@memory.command()
def search(  # noqa: PLR0917  # as above
    query: Annotated[str, typer.Argument(help="What it should be about.")],
    limit: Annotated[int, typer.Option(min=1, help="How many.", metavar="N")] = 5,
    minimum: Annotated[float, typer.Option(help="Least cosine similarity, -1 to 1.")] = 0.3,
    kinds: Kinds = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Find memories by meaning, and when they were learnt.

    Example: reverie memory search "When did I learn about the staging server?"
    """

    async def work(episodes: EpisodicMemory) -> list[Recalled]:
        return await episodes.recall(query, limit=limit, minimum=minimum, kinds=kinds or ())

    found = _with_memory(work, file, as_json=as_json)
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    if not found:
        print("nothing similar is remembered")
    for one in found:
        _print_found(one)


@memory.command(name="list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="How many.", metavar="N")] = 20,
    kinds: Kinds = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List what was learnt last.

    Example: reverie memory list --kind note
    """

    async def work(episodes: EpisodicMemory) -> list[tuple[Episode, float]]:
        latest = await episodes.latest(limit, kinds=kinds or ())
        return [(episode, episodes.strength(episode)) for episode in latest]

    found = _with_memory(work, file, as_json=as_json)
    if as_json:
        listed = [{**dataclasses.asdict(e), "strength": left} for e, left in found]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
    elif found:
        _print_list(found)
    else:
        print("nothing is remembered yet")


@memory.command()
def forget(ids: Ids, file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Delete memories.

    Example: reverie memory forget 3f9c 81aa
    """

    async def work(episodes: EpisodicMemory) -> int:
        return await episodes.forget(ids)

    gone = _with_memory(work, file, as_json=as_json)
    print(json.dumps({"forgotten": gone}) if as_json else f"Forgotten: {gone}")


@memory.command()
def compact(
    similar_above: Annotated[
        float, typer.Option(help="Cosine from which two memories say the same.")
    ] = 0.95,
    faded_below: Annotated[
        float, typer.Option(help="Delete memories weaker than this; 0: none.")
    ] = 0.0,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make one memory of those that say the same, and give space back to the disk.

    Example: reverie memory compact --faded-below 0.01
    """

    async def work(episodes: EpisodicMemory) -> Any:
        return await episodes.compact(similar_above=similar_above, faded_below=faded_below)

    done = _with_memory(work, file, as_json=as_json)
    if as_json:
        print(json.dumps(dataclasses.asdict(done)))
    else:
        print(f"Merged {done.merged}, forgot {done.faded}, freed {done.freed:,} bytes")


@memory.command()
def export(
    target: Annotated[
        Path | None, typer.Argument(help="File to write; none: standard output.", metavar="FILE")
    ] = None,
    file: ConfigFile = None,
) -> None:
    """Write every memory as a line of JSON.

    Example: reverie memory export memories.jsonl
    """

    async def work(episodes: EpisodicMemory) -> list[str]:
        return [line + "\n" async for line in episodes.export()]

    lines = _with_memory(work, file, as_json=False)
    if target is None:
        sys.stdout.writelines(lines)
        return
    from reverie.cli.whole_file import write_whole

    write_whole(target, "".join(lines).encode())
    print(f"Exported {len(lines)} to {target}")


@memory.command(name="import")
def import_(
    source: Annotated[Path, typer.Argument(help="File of JSON lines; -: standard input.")],
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take in what `reverie memory export` wrote. Importing twice changes nothing.

    Example: reverie memory import memories.jsonl
    """
    lines = _read(source)

    async def work(episodes: EpisodicMemory) -> int:
        return await episodes.import_lines(lines)

    number = _with_memory(work, file, as_json=as_json)
    print(json.dumps({"imported": number}) if as_json else f"Imported {number}")


def _with_memory(
    work: Callable[[EpisodicMemory], Awaitable[T]], file: Path | None, *, as_json: bool
) -> T:
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def opened(stop: Stop) -> T:
        return await _opened(settings, work, stop, speak=sys.stderr.isatty())

    return run_interruptible(opened, as_json=as_json)


async def _opened(
    settings: Settings,
    work: Callable[[EpisodicMemory], Awaitable[T]],
    stop: Stop,
    *,
    speak: bool,
) -> T:
    from reverie.cli.progress import Loading, write_line
    from reverie.graphs.resources import Resources

    resources = Resources(
        settings, report=Loading(stop.check, write_line(sys.stderr) if speak else None)
    )
    try:
        episodes = await resources.episodes()
        for notice in episodes.notices:
            print(notice, file=sys.stderr)
        return await work(episodes)
    finally:
        await resources.close()


def _print_found(one: Recalled) -> None:
    from reverie.cli.wording import clean, counted

    episode = one.episode
    print(clean(episode.text, keep_lines=True))
    first, last = episode.occasions[0], episode.occasions[-1]
    told = [f"learnt {_day(first.at)}{_from(first.source)}"]
    if len(episode.occasions) > 1:
        told.append(
            f"again {_day(last.at)}{_from(last.source)}, "
            f"{counted(len(episode.occasions), 'time')} in all"
        )
    told.append(f"similarity {one.similarity:.2f}, strength {one.strength:.2f}, {episode.id}")
    print("  " + "; ".join(told))


def _print_list(found: list[tuple[Episode, float]]) -> None:
    from reverie.cli.strategy_table import Table, print_table
    from reverie.cli.wording import clean

    rows = []
    for episode, left in found:
        text = clean(episode.text)
        text = text if len(text) <= _TEXT else text[: _TEXT - 3].rstrip() + "..."
        rows.append((episode.id, clean(episode.kind), _day(episode.learned), text, f"{left:.2f}"))
    print_table(Table(("id", "kind", "learnt", "memory", "strength"), rows, words=4))


def _day(at: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _from(source: str) -> str:
    from reverie.cli.wording import clean

    return f" from {clean(source)}" if source else ""


def _read(source: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {source}: {error}") from error
    return text.split("\n")
