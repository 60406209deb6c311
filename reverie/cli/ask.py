"""``reverie ask``: one question, answered while you watch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self

import typer

from reverie.cli.options import AsJson, ConfigFile
from reverie.cli.schema_file import read_schema
from reverie.errors import RunWaiting

if TYPE_CHECKING:
    from types import TracebackType

    from reverie.agents.reasoner import Reasoner
    from reverie.agents.result import Result
    from reverie.cli.interrupt import Stop
    from reverie.cli.progress import Loading
    from reverie.cli.view import RunView
    from reverie.graphs.events import Event, Waiting
    from reverie.settings import Settings

ABSTAINED = 3

_STANDARD_INPUT = "-"
_MOST_INPUT = 4 << 20
"""Bytes read from standard input: more than any question that is accepted."""
_REDRAWS = 1 / 8
"""Seconds between two redraws."""


def ask(  # noqa: PLR0917  # the command line's options, passed by name
    question: Annotated[str, typer.Argument(help='The question; "-" reads standard input.')],
    model: Annotated[
        str | None,
        typer.Option(
            help="smollm2, a folder with a model, a server's address (http://HOST:PORT/v1, with"
            " #MODEL where it has several), or PRESET:MODEL as in ollama:qwen3.",
            metavar="NAME",
        ),
    ] = None,
    preview: Annotated[
        bool | None,
        typer.Option(
            "--preview/--no-preview",
            help="Ask the hosted preview backend first, or not [dim](else"
            " runtime.enable_gpt51_codex_preview; it needs preview.api_key)[/dim].",
            show_default=False,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="auto, direct, chain_of_thought, dream, ...", metavar="NAME"),
    ] = None,
    branches: Annotated[int | None, typer.Option(help="Dreams.", metavar="N")] = None,
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
    schema: Annotated[
        Path | None,
        typer.Option(
            help="Bring the answer into a JSON document that obeys the JSON schema in FILE.",
            metavar="FILE",
        ),
    ] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")] = False,
) -> None:
    """Answer a question, and show how: strategy, facts, dreams, verdict and cost.

    A pipe gets plain text. Exit codes: 0 answered, 1 failure, 2 wrong use, 3 abstained,
    130 interrupted.

    Example: reverie ask "What happens when you drop a ball?" --strategy dream

    Example: echo "Why is the sky blue?" | reverie ask - --quiet --budget 2000

    Example: reverie ask "What happens when ice melts?" --json | jq .cost

    Example: reverie ask "Why does ice float?" --model http://127.0.0.1:8000/v1

    Example: reverie ask "Which animal gives us wool?" --schema animal.json --quiet
    """
    from reverie.settings import Option, load_settings

    overrides = {
        "model.name": Option(model, "--model"),
        "reason.strategy": Option(strategy, "--strategy"),
        "dream.branches": Option(branches, "--branches"),
        "budget.tokens": Option(budget, "--budget"),
        "budget.seconds": Option(seconds, "--seconds"),
        "reason.seed": Option(seed, "--seed"),
    }
    settings = load_settings(file, overrides).settings
    if question == _STANDARD_INPUT:
        question = _read_question()
    output = None if schema is None else read_schema(schema)
    asked = _Question(question, settings, preview, output)
    show_answer(asked, as_json=as_json, quiet=quiet)


class Asked(Protocol):
    """A run to follow: one that begins, or one that goes on."""

    @property
    def text(self) -> str:
        """The question, as far as it is known."""
        ...

    @property
    def settings(self) -> Settings: ...

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        """Its events and its result."""
        ...


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, and how."""

    text: str
    settings: Settings
    preview: bool | None
    output: dict[str, Any] | None = None
    """The schema of the document that the answer should be."""

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        if self.output is None:
            return reasoner.astream(self.text, preview=self.preview)
        return reasoner.astream(self.text, preview=self.preview, output=self.output)


class Display(Protocol):
    """Where a run is shown while it is going on."""

    report: Loading

    def take(self, item: Event | Result) -> None:
        """Note the next event, or the result."""
        ...

    def tick(self) -> None:
        """Show what has changed."""
        ...

    def close(self) -> None:
        """Give the terminal back."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def _read_question() -> str:
    # Bytes: a question in a broken encoding is a question with some odd characters.
    return sys.stdin.buffer.read(_MOST_INPUT).decode("utf-8", "replace").strip()


def show_answer(asked: Asked, *, as_json: bool, quiet: bool) -> None:
    """Follow a run, show it and its result, and exit with ABSTAINED if it abstained. A person at a
    terminal is asked what the run wants to know.
    """
    from reverie.cli.fill_in import can_ask, fill_in
    from reverie.cli.resume import Replied, Resumed

    result: Result | None = None
    while result is None:
        try:
            result = _answer(asked, as_json=as_json, quiet=quiet)
        except RunWaiting as waiting:
            if as_json or not can_ask():
                raise
            # A run that waited already has not heard of its new budget yet.
            budget = asked.budget if isinstance(asked, Resumed) else None
            asked = Replied(waiting.run_id, asked.settings, fill_in(waiting.form), budget)
    if result.status == "abstained":
        raise typer.Exit(ABSTAINED)


def _answer(question: Asked, *, as_json: bool, quiet: bool) -> Result:
    from reverie.cli.interrupt import run_interruptible
    from reverie.cli.plain import plain_text
    from reverie.cli.view import RunView
    from reverie.cli.wording import glyphs_for, why_abstained

    view = RunView(question.text)
    live = not (as_json or quiet) and _is_terminal(sys.stdout)

    async def run(stop: Stop) -> Result:
        with _display(view, stop, live=live, only_result=as_json or quiet) as display:
            stop.close_display = display.close
            return await _follow(question, display, stop)

    result = run_interruptible(run, as_json=as_json)
    if as_json:
        print(result.model_dump_json(indent=2))
    elif quiet and result.status == "answered":
        print(result.answer if result.output is None else _document(result))
    elif quiet:
        print(f"no answer: {why_abstained(result)}", file=sys.stderr)
    elif not live:
        print(plain_text(view, glyphs_for(sys.stdout.encoding)), end="")
    if result.output is not None and not (as_json or quiet):
        print(_document(result))
    return result


def _document(result: Result) -> str:
    """The answer in the form that was asked for."""
    return json.dumps(result.output, ensure_ascii=False, indent=2)


def _display(view: RunView, stop: Stop, *, live: bool, only_result: bool) -> Display:
    if live:
        from rich.console import Console

        from reverie.cli.live import LiveRun

        return LiveRun(view, Console(highlight=False), stop)
    from reverie.cli.plain import SilentRun
    from reverie.cli.progress import write_line

    speak = sys.stderr.isatty() or not only_result
    return SilentRun(view, stop, write_line(sys.stderr) if speak else None)


def _is_terminal(stream: object) -> bool:
    """Whether a stream is a terminal on which lines can be redrawn."""
    from rich.console import Console

    console = Console(file=stream)  # type: ignore[arg-type]  # a text stream
    return console.is_terminal and not console.is_dumb_terminal


async def _follow(question: Asked, display: Display, stop: Stop) -> Result:
    """Ask, showing every event, and return the result."""
    ticking = asyncio.create_task(_tick(display))
    try:
        return await _stream(question, display, stop)
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def _stream(question: Asked, display: Display, stop: Stop) -> Result:
    # In a thread, so that the display moves meanwhile: importing LangGraph takes a second or two.
    reasoner_type = await asyncio.to_thread(import_reasoner)
    waiting: Waiting | None = None
    async with (
        reasoner_type(question.settings, report=display.report) as reasoner,
        contextlib.aclosing(question.items(reasoner)) as items,
    ):
        async for item in items:
            display.take(item)
            if not isinstance(item, dict):
                return item
            if item["type"] == "run_started" and question.settings.runs.durability == "sync":
                stop.hint = f"reverie resume {item['run_id']} goes on with it"
            elif item["type"] == "waiting":
                waiting = item
        if waiting is not None:
            raise RunWaiting.of(waiting["run_id"], waiting["form"])
    raise RuntimeError("the run ended without a result")


def import_reasoner() -> type[Reasoner]:
    """The reasoner, with all that its first question would import."""
    import reverie.graphs.reason  # noqa: F401  # for its effect
    from reverie.agents.reasoner import Reasoner

    return Reasoner


async def _tick(display: Display) -> None:
    while True:
        display.tick()
        await asyncio.sleep(_REDRAWS)
