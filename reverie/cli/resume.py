"""``reverie resume``: go on with a run that was interrupted, or that waits for a reply."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.ask import show_answer
from reverie.cli.options import AsJson, ConfigFile
from reverie.errors import ConfigError

if TYPE_CHECKING:
    from reverie.agents.reasoner import Reasoner
    from reverie.agents.result import Result
    from reverie.graphs.events import Event
    from reverie.settings import BudgetSettings, Settings


def resume(  # noqa: PLR0917  # the command line's options, passed by name
    run: Annotated[str, typer.Argument(help="The run's id, or its first four characters or more.")],
    reply: Annotated[
        str | None,
        typer.Option(
            help="What to reply to a run that waits, as JSON; at a terminal you are asked.",
            metavar="JSON",
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(help="From now on, most tokens, those before included.", metavar="TOKENS"),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="And most wall-clock seconds, as before.", metavar="SECONDS"),
    ] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")] = False,
) -> None:
    """Go on with a run from its last step, within its own budget unless you give it another.

    What has a result is not done again. A failed run makes its last attempt again; of a finished
    one the result is shown. The same exit codes as `reverie ask`.

    Example: reverie resume 3f9c

    Example: reverie resume 3f9c --reply '{"approve": true}'

    Example: reverie resume 3f9c --budget 20000
    """
    settings, limits = load_limits(file, tokens=budget, seconds=seconds)
    if reply is None:
        show_answer(Resumed(run, settings, limits), as_json=as_json, quiet=quiet)
    else:
        show_answer(Replied(run, settings, _read(reply), limits), as_json=as_json, quiet=quiet)


def load_limits(
    file: Path | None, *, tokens: int | None, seconds: float | None
) -> tuple[Settings, BudgetSettings | None]:
    """The settings, and a budget of the options that were given; None: none was. Raises ConfigError
    for one out of range.
    """
    from reverie.settings import BudgetSettings, Option, load_settings

    overrides = {
        "budget.tokens": Option(tokens, "--budget"),
        "budget.seconds": Option(seconds, "--seconds"),
    }
    settings = load_settings(file, overrides).settings
    given = {"tokens": tokens, "seconds": seconds}
    limits = {name: value for name, value in given.items() if value is not None}
    return settings, BudgetSettings.model_validate(limits) if limits else None


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that goes on."""

    run_id: str
    settings: Settings
    budget: BudgetSettings | None = None
    text: str = ""
    """The question; the run's first event tells it."""

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        return reasoner.astream_resume(self.run_id, budget=self.budget)


@dataclass(frozen=True, slots=True)
class Replied:
    """A run that goes on with a person's reply."""

    run_id: str
    settings: Settings
    reply: Any
    budget: BudgetSettings | None = None
    text: str = ""
    """As above."""

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        return reasoner.astream_resume(self.run_id, budget=self.budget, reply=self.reply)


def _read(reply: str) -> Any:
    try:
        return json.loads(reply)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"--reply is no JSON: {error}", hint="for example --reply '{\"approve\": true}'"
        ) from error
