"""``reverie replay``: a new run from an earlier step of another one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.ask import show_answer
from reverie.cli.options import AsJson, ConfigFile
from reverie.cli.resume import load_limits

if TYPE_CHECKING:
    from reverie.agents.reasoner import Reasoner
    from reverie.agents.result import Result
    from reverie.graphs.events import Event
    from reverie.settings import BudgetSettings, Settings


def replay(  # noqa: PLR0917  # the command line's options, passed by name
    run: Annotated[str, typer.Argument(help="The run's id, or its first four characters or more.")],
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            help="A node: begin before it ran the first time; or a checkpoint of `reverie runs"
            " RUN`.",
            metavar="NODE|CHECKPOINT",
        ),
    ],
    strategy: Annotated[str | None, typer.Option(help="Another strategy.", metavar="NAME")] = None,
    budget: Annotated[
        int | None, typer.Option(help="Most tokens, those before included.", metavar="TOKENS")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Most wall-clock seconds.", metavar="SECONDS")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.", metavar="N")] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")] = False,
) -> None:
    """Begin a new run where another one was at an earlier step, with other settings if you like.

    The run that it comes from stays as it is. What that had spent by then counts as spent.

    Example: reverie replay 3f9c --from select --strategy direct

    Example: reverie replay 3f9c --from a41f05 --budget 20000
    """
    settings, limits = load_limits(file, tokens=budget, seconds=seconds)
    again = Replayed(run, settings, from_, strategy, limits, seed)
    show_answer(again, as_json=as_json, quiet=quiet)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run that begins in the middle of another one."""

    run_id: str
    settings: Settings
    from_: str
    strategy: str | None
    budget: BudgetSettings | None
    seed: int | None
    text: str = ""
    """The question; the run's first event tells it."""

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        return reasoner.astream_replay(
            self.run_id,
            from_=self.from_,
            strategy=self.strategy,
            budget=self.budget,
            seed=self.seed,
        )
