"""``reverie sop``: standard operating procedures, what they are and how they did."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from reverie.agents.reasoner import Reasoner
    from reverie.agents.result import Result
    from reverie.cli.interrupt import Stop
    from reverie.graphs.events import Event
    from reverie.graphs.resources import Resources
    from reverie.knowledge.sops import Added, Match, SopBook, SopStatistics, StoredSop
    from reverie.settings import Settings

T = TypeVar("T")

sop = typer.Typer(
    help="Standard operating procedures: kept in versions, matched to tasks, measured by outcomes.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="A name, or NAME@VERSION.", metavar="NAME")]


@sop.command("list")
def list_(
    category: Annotated[
        str | None, typer.Option(help="Only those of this category.", metavar="NAME")
    ] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the procedures in use, and how they did.

    Success is what is expected by now, with the 95 % interval; it moves with every scored run. A
    demoted procedure failed too often and is not matched any more; it can still be run by name, and
    a new version of it begins anew.

    Example: reverie sop list --category coding
    """
    from reverie.cli.sop_table import sop_document, sop_table
    from reverie.cli.strategy_table import print_table
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(book: SopBook) -> tuple[list[StoredSop], SopStatistics]:
        return await book.current(), await _statistics(settings)

    stored, statistics = _with_book(work, settings, as_json=as_json)
    shown = [one for one in stored if category in (None, one.sop.category)]
    if as_json:
        document = {"sops": [sop_document(one, statistics) for one in shown]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif shown:
        print_table(sop_table(shown, statistics))
    else:
        print("there are no SOPs" + (f" of the category {category}" if category else ""))


@sop.command()
def show(
    name: Name,
    graph: Annotated[
        bool, typer.Option("--graph", help="Print the graph that it runs as, as Mermaid.")
    ] = False,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a procedure: its steps, its versions, and how it did on each type of task.

    Example: reverie sop show debug_python_code

    Example: reverie sop show debug_python_code --graph
    """
    from reverie.cli.sop_table import sop_document, sop_text
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(book: SopBook) -> tuple[StoredSop, list[StoredSop], SopStatistics]:
        stored = await book.get(name)
        return stored, await book.versions(stored.name), await _statistics(settings)

    stored, versions, statistics = _with_book(work, settings, as_json=as_json)
    if graph:
        drawn = _mermaid(stored)
        print(json.dumps({"mermaid": drawn}, indent=2) if as_json else drawn, end="\n" * as_json)
    elif as_json:
        document = {
            **sop_document(stored, statistics),
            "document": stored.sop.document(),
            "by_type": statistics.by_type(stored.key),
            "versions": [sop_document(one, statistics) for one in versions],
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(sop_text(stored, versions, statistics))


@sop.command()
def match(
    task: Annotated[str, typer.Argument(help="What is to be done.", metavar="TASK")],
    limit: Annotated[int, typer.Option(min=1, help="How many.", metavar="N")] = 5,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show which procedures fit a task, best first, with every part of their scores.

    Example: reverie sop match "My Python loop raises an IndexError"
    """
    from reverie.cli.sop_table import match_document, match_footer, match_table
    from reverie.cli.strategy_table import print_table
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(resources: Resources) -> list[Match]:
        from reverie.graphs.question import clean_question
        from reverie.graphs.sop_match import matched_sops

        return (await matched_sops(clean_question(task), resources))[:limit]

    found = _with_resources(work, settings, as_json=as_json)
    if as_json:
        taken = next((m.stored.name for m in found if not m.why_not), None)
        document = {"taken": taken, "matches": [match_document(m) for m in found]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    if found:
        print_table(match_table(found))
    print(match_footer(found))


@sop.command()
def run(  # noqa: PLR0917  # the command line's options, passed by name
    name: Name,
    task: Annotated[str, typer.Argument(help="What is to be done.", metavar="TASK")],
    model: Annotated[
        str | None, typer.Option(help="As with `reverie ask`.", metavar="NAME")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Most tokens, prompts included.", metavar="TOKENS")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Most wall-clock seconds.", metavar="SECONDS")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(help="Seed of every random choice; none: a fresh one.", metavar="N"),
    ] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")] = False,
) -> None:
    """Follow a procedure on a task, and show every step, the answer and the cost.

    Exit codes are those of `reverie ask`: 0 answered, 1 failure, 2 wrong use, 3 abstained.

    Example: reverie sop run solve_word_problem "Tom has 3 bags of 4 apples. How many apples?"

    Example: reverie sop run debug_python_code@1 "..." --budget 4000 --json | jq .attempts
    """
    from reverie.cli.ask import show_answer
    from reverie.settings import Option, load_settings

    overrides = {
        "model.name": Option(model, "--model"),
        "budget.tokens": Option(budget, "--budget"),
        "budget.seconds": Option(seconds, "--seconds"),
        "reason.seed": Option(seed, "--seed"),
    }
    settings = load_settings(file, overrides).settings

    async def find(book: SopBook) -> StoredSop:
        return await book.get(name)

    _with_book(find, settings, as_json=as_json)  # before anything is loaded
    show_answer(_Task(task, settings, name), as_json=as_json, quiet=quiet)


@sop.command()
def add(
    files: Annotated[
        list[Path],
        typer.Argument(help="YAML or JSON files, or folders of them.", metavar="FILE..."),
    ],
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Add procedures, all of them or none. Other content under a known name is a new version.

    Example: reverie sop add water_plants.yaml procedures/
    """
    from reverie.cli.sop_table import added_document, added_text
    from reverie.knowledge.sops import read_sops
    from reverie.settings import load_settings

    settings = load_settings(file).settings
    read = [(one, str(path)) for path in files for one in read_sops(path)]
    _require_distinct(read)

    async def work(book: SopBook) -> list[Added]:
        return await book.add_all(read)

    added = _with_book(work, settings, as_json=as_json)
    if as_json:
        print(json.dumps({"added": [added_document(one) for one in added]}, indent=2))
    else:
        print("\n".join(added_text(one) for one in added))


@sop.command()
def remove(name: Name, file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Take a procedure out of use. Its versions and what is known of them are kept.

    Example: reverie sop remove water_plants
    """
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(book: SopBook) -> StoredSop:
        return await book.remove(name)

    removed = _with_book(work, settings, as_json=as_json)
    if as_json:
        print(json.dumps({"removed": removed.name, "version": removed.sop.version}, indent=2))
    else:
        print(f"Removed: {removed.name}, version {removed.number}; adding it again brings it back")


@dataclass(frozen=True, slots=True)
class _Task:
    """A run that follows a procedure."""

    text: str
    settings: Settings
    sop: str

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        return reasoner.astream(self.text, sop=self.sop)


def _require_distinct(read: list[tuple[Any, str]]) -> None:
    """Raises ConfigError for two procedures of one name."""
    from reverie.errors import ConfigError

    seen: dict[str, str] = {}
    for one, path in read:
        if one.name in seen:
            raise ConfigError(
                f"{path} and {seen[one.name]} both have an SOP called {one.name}",
                hint="add the one that you mean",
            )
        seen[one.name] = path


def _mermaid(stored: StoredSop) -> str:
    from reverie.graphs.drawing import drawing_of, to_mermaid
    from reverie.graphs.sop import compile_sop

    return to_mermaid(drawing_of(compile_sop(stored.sop).compile(), xray=False))


async def _statistics(settings: Settings) -> SopStatistics:
    """What runs came to. Loads neither a model nor the embedder."""
    from reverie.knowledge.sops import SopStatistics
    from reverie.knowledge.strategies import StrategyMemory

    memory = await StrategyMemory.inspect(
        settings.home / "strategies.sqlite", memory=settings.learn.memory
    )
    if memory is None:
        return SopStatistics((), memory=settings.learn.memory)
    try:
        return SopStatistics(await memory.sops(), memory=settings.learn.memory)
    finally:
        await memory.close()


def _with_book(work: Callable[[SopBook], Awaitable[T]], settings: Settings, *, as_json: bool) -> T:
    """What ``work`` comes to with the open book, which needs no model."""
    from reverie.cli.interrupt import run_interruptible

    async def opened(stop: Stop) -> T:
        from reverie.knowledge.sops import SopBook

        del stop
        book = await SopBook.open(settings.home / "sops.sqlite")
        try:
            for notice in book.notices:
                print(notice, file=sys.stderr)
            return await work(book)
        finally:
            await book.close()

    return run_interruptible(opened, as_json=as_json)


def _with_resources(
    work: Callable[[Resources], Awaitable[T]], settings: Settings, *, as_json: bool
) -> T:
    """What ``work`` comes to with everything that a run has."""
    from reverie.cli.interrupt import run_interruptible
    from reverie.cli.progress import Loading, write_line

    speak = sys.stderr.isatty() or not as_json

    async def opened(stop: Stop) -> T:
        from reverie.graphs.resources import Resources

        resources = Resources(
            settings, report=Loading(stop.check, write_line(sys.stderr) if speak else None)
        )
        try:
            return await work(resources)
        finally:
            await resources.close()

    return run_interruptible(opened, as_json=as_json)
