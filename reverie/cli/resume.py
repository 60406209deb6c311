"""``reverie resume``: go on with a run that was interrupted, or that waits for a reply."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.ask import show_answer
from reverie.cli.options import AsJson, ConfigFile
from reverie.errors import ConfigError

if TYPE_CHECKING:
    from reverie.agents.reasoner import Reasoner
    from reverie.agents.result import Result
    from reverie.graphs.events import Event
    from reverie.settings import Settings


def resume(
    run: Annotated[str, typer.Argument(help="The run's id, or its first four characters or more.")],
    reply: Annotated[
        str | None,
        typer.Option(
            help="What to reply to a run that waits, as JSON; at a terminal you are asked.",
            metavar="JSON",
        ),
    ] = None,
    file: ConfigFile = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")] = False,
) -> None:
    """Go on with a run from its last step, within its own budget.

    What has a result is not done again. A failed run makes its last attempt again; of a finished
    one the result is shown. The same exit codes as `reverie ask`.

    Example: reverie resume 3f9c

    Example: reverie resume 3f9c --reply '{"approve": true}'
    """
    from reverie.settings import load_settings

    settings = load_settings(file).settings
    if reply is None:
        show_answer(Resumed(run, settings), as_json=as_json, quiet=quiet)
    else:
        show_answer(Replied(run, settings, _read(reply)), as_json=as_json, quiet=quiet)


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that goes on."""

    run_id: str
    settings: Settings
    text: str = ""
    """The question; the run's first event tells it."""

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        return reasoner.astream_resume(self.run_id)


@dataclass(frozen=True, slots=True)
class Replied:
    """A run that goes on with a person's reply."""

    run_id: str
    settings: Settings
    reply: Any
    text: str = ""
    """As above."""

    def items(self, reasoner: Reasoner) -> AsyncGenerator[Event | Result, None]:
        return reasoner.astream_resume(self.run_id, reply=self.reply)


def _read(reply: str) -> Any:
    try:
        return json.loads(reply)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"--reply is no JSON: {error}", hint="for example --reply '{\"approve\": true}'"
        ) from error
