"""The commands in one place.

Modules of commands import nothing heavy at their top: ``reverie --help`` imports all of them.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from reverie.cli.ask import ask
from reverie.cli.config import config
from reverie.cli.doctor import doctor
from reverie.cli.feedback import feedback
from reverie.cli.fetch import fetch
from reverie.cli.graph import graph
from reverie.cli.ingest import ingest
from reverie.cli.library import library
from reverie.cli.memory import memory
from reverie.cli.replay import replay
from reverie.cli.resume import resume
from reverie.cli.runs import runs
from reverie.cli.search import search
from reverie.cli.sop import sop
from reverie.cli.strategies import strategies
from reverie.cli.studio import studio
from reverie.cli.up import up
from reverie.cli.version import installed, version

app = typer.Typer(
    name="reverie",
    invoke_without_command=True,
    pretty_exceptions_enable=False,  # errors are reverie.cli.run's business
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug and -v may stand anywhere. `reverie COMMAND --help` shows more, with examples.",
)

app.command()(ask)
app.command()(resume)
app.command()(runs)
app.command()(replay)
app.command()(fetch)
app.command()(up)
app.command()(doctor)
app.command()(feedback)
app.command()(strategies)
app.command()(ingest)
app.command()(search)
app.add_typer(library, name="library")
app.add_typer(sop, name="sop")
app.add_typer(graph, name="graph")
app.add_typer(memory, name="memory")
app.command()(config)
app.command()(studio)
app.command()(version)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"reverie {installed('reverie')}")
        raise typer.Exit


@app.callback()
def reverie(
    context: typer.Context,
    verbose: Annotated[
        int,
        typer.Option("--verbose", "-v", count=True, help="Say what is done; -vv: in detail."),
    ] = 0,
    debug: Annotated[  # noqa: ARG001  # read by reverie.cli.run, for the context is gone by then
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[  # noqa: ARG001  # its callback does the work
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Reason with a model that you serve yourself: strategies, dreams, verdicts and their cost."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(format="%(name)s: %(message)s")  # to standard error
    logging.getLogger("reverie").setLevel(level)
    if context.invoked_subcommand is None:
        print(context.get_help())
