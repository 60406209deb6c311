"""``reverie ask``: one question, answered while you watch."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, Self

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from types import TracebackType

    from reverie.agents.reasoner import Reasoner
    from reverie.agents.result import Result
    from reverie.cli.interrupt import Stop
    from reverie.cli.progress import Loading
    from reverie.cli.view import RunView
    from reverie.graphs.events import Event
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
    asked = _Question(question, settings, preview)
    result = _answer(asked, as_json=as_json, quiet=quiet)
    if result.status == "abstained":
        raise typer.Exit(ABSTAINED)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, and how."""

    text: str
    settings: Settings
    preview: bool | None


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


def _answer(question: _Question, *, as_json: bool, quiet: bool) -> Result:
    from reverie.cli.interrupt import run_interruptible
    from reverie.cli.plain import plain_text
    from reverie.cli.view import RunView
    from reverie.cli.wording import glyphs_for, why_abstained

    view = RunView(question.text)
    live = not (as_json or quiet) and _is_terminal(sys.stdout)

    async def run(stop: Stop) -> Result:
        with _display(view, stop, live=live, only_result=as_json or quiet) as display:
            stop.close_display = display.close
            return await _follow(question, display)

    result = run_interruptible(run, as_json=as_json)
    if as_json:
        print(result.model_dump_json(indent=2))
    elif quiet and result.status == "answered":
        print(result.answer)
    elif quiet:
        print(f"no answer: {why_abstained(result)}", file=sys.stderr)
    elif not live:
        print(plain_text(view, glyphs_for(sys.stdout.encoding)), end="")
    return result


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


async def _follow(question: _Question, display: Display) -> Result:
    """Ask, showing every event, and return the result."""
    ticking = asyncio.create_task(_tick(display))
    try:
        return await _stream(question, display)
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def _stream(question: _Question, display: Display) -> Result:
    # In a thread, so that the display moves meanwhile: importing LangGraph takes a second or two.
    reasoner_type = await asyncio.to_thread(import_reasoner)
    async with (
        reasoner_type(question.settings, report=display.report) as reasoner,
        contextlib.aclosing(reasoner.astream(question.text, preview=question.preview)) as items,
    ):
        async for item in items:
            display.take(item)
            if not isinstance(item, dict):
                return item
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
