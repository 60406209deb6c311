"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on standard output, errors included."),
]

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file of settings [dim](else REVERIE_CONFIG, ./reverie.yaml, or config.yaml"
        " under home)[/dim].",
    ),
]
