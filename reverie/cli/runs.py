"""``reverie runs``: the runs that are kept, and the steps of one."""

from __future__ import annotations

import dataclasses
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from rich.table import Table

    from reverie.agents.history import RunStep
    from reverie.cli.interrupt import Stop
    from reverie.knowledge.runs import RunRecord
    from reverie.settings import Settings

_QUESTION = 60
_WIDTH = 120
"""Columns in a pipe, where there is no terminal to ask."""
_NARROW = 100
"""Columns of a terminal below which a list leaves out what its runs' own pages tell."""


def runs(
    run: Annotated[
        str | None,
        typer.Argument(help="Show the steps of this run: its id, or its beginning."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs.", metavar="N")] = 20,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the latest runs; or show the steps of one, to replay from.

    An interrupted run can be gone on with: `reverie resume`.

    Example: reverie runs --limit 5

    Example: reverie runs 3f9c --json
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings
    if run is None:

        async def listed(stop: Stop) -> list[RunRecord]:
            del stop
            return await _recent(settings, limit)

        found = run_interruptible(listed, as_json=as_json)
        if as_json:
            print(json.dumps({"runs": [_brief(one) for one in found]}, indent=2))
        elif found:
            _print(_run_table(found))
        else:
            print("no run is recorded here yet")
        return

    async def looked_up(stop: Stop) -> tuple[RunRecord, list[RunStep]]:
        del stop
        return await _steps(settings, run)

    record, steps = run_interruptible(looked_up, as_json=as_json)
    if as_json:
        document = {**_brief(record), "steps": [dataclasses.asdict(step) for step in steps]}
        print(json.dumps(document, indent=2))
    else:
        _print_run(record, steps)


async def _recent(settings: Settings, limit: int) -> list[RunRecord]:
    """The latest runs. Opens nothing but their registry: no model, no graph."""
    import asyncio

    from reverie.knowledge.runs import open_runs

    store = await asyncio.to_thread(open_runs, settings.home, to_read=True)
    try:
        for notice in store.notices:
            print(notice, file=sys.stderr)
        return await store.registry.recent(limit)
    finally:
        await store.close()


async def _steps(settings: Settings, run_id: str) -> tuple[RunRecord, list[RunStep]]:
    import asyncio

    from reverie.cli.ask import import_reasoner

    reasoner_type = await asyncio.to_thread(import_reasoner)
    async with reasoner_type(settings) as reasoner:
        return await reasoner.afind(run_id), await reasoner.ahistory(run_id)


def _brief(run: RunRecord) -> dict[str, Any]:
    """A run as JSON; what is long stays in the store."""
    document = dataclasses.asdict(run)
    del document["result"], document["context"]
    return document


def _run_table(found: list[RunRecord]) -> Table:
    from reverie.cli.wording import clean

    narrow = _width() < _NARROW
    columns = ("run", "when", "status", "strategy", "tokens", "question")
    table = _table(*(c for c in columns if not (narrow and c == "tokens")))
    for run in found:
        question = clean(run.question)
        if len(question) > _QUESTION:
            question = question[: _QUESTION - 3].rstrip() + "..."
        when = _when(run.created)
        when = when[len("2026-") : -len(":00")] if narrow else when
        tokens = () if narrow else (str(run.tokens),)
        cells = (run.run_id, when, _status(run), clean(run.strategy) or "-", *tokens)
        table.add_row(*cells, question)
    return table


def _print_run(run: RunRecord, steps: list[RunStep]) -> None:
    from reverie.cli.wording import clean

    print(f"run {run.run_id}, {_when(run.created)}: {_status(run)}")
    print(f"question: {clean(run.question)}")
    if run.parent:
        print(f"begun from: {run.parent}")
    if run.answer:
        print(f"answer: {clean(run.answer)}")
    if run.error:
        print(f"error: {clean(run.error.get('message', ''))}")
    if run.form:
        print(f"asks: {clean(run.form.get('question', ''))}")
        print(f"a reply obeys: {json.dumps(run.form.get('reply_schema', {}))}")
    table = _table("checkpoint", "seconds", "done", "next", "tokens", "calls")
    for step in steps:
        table.add_row(
            step.checkpoint[-12:],
            f"{step.at - run.created:.1f}",
            clean(", ".join(step.done)) or "-",
            clean(", ".join(step.next)) or "end",
            str(step.tokens),
            str(step.calls),
        )
    _print(table)


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column in ("tokens", "calls", "seconds")
        wraps = column in ("question", "done", "next")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=not wraps)
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=_width(), highlight=False, markup=False).print(table)


def _width() -> int:
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else _WIDTH


def _status(run: RunRecord) -> str:
    return f"running ({run.worker})" if run.worker else run.status


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
