"""``python -m reverie.evals.bench``: tables to standard output, progress to standard error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable

from reverie.errors import ReverieError
from reverie.evals.bench import BENCHES, Cell, Report, Table, run_bench


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the command line names; exit code 1 when one could not be run."""
    options = _options(arguments)
    reports: dict[str, Report] = {}
    for name in options.names:
        try:
            reports[name] = run_bench(name, options.repeats, say)
        except ReverieError as error:
            print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
            return error.exit_code
        if not options.json:
            show(reports[name])
    if options.json:
        print(json.dumps({name: report.document() for name, report in reports.items()}, indent=2))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reverie.evals.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; none: all"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--repeats", type=int, default=3, help="times everything is measured (3)")
    options = parser.parse_args(arguments)
    options.names = options.names or list(BENCHES)
    if unknown := [name for name in options.names if name not in BENCHES]:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    return options


def say(line: str) -> None:
    print(f"  {line} ...", file=sys.stderr, flush=True)


def show(report: Report) -> None:
    console = Console()
    for table in report.tables:
        console.print(_rich(table))
    for goal in report.goals:
        verdict = "[green]reached[/]" if goal.reached else "[yellow]not reached[/]"
        console.print(f"{goal.name}: {goal.measured:.2f}, goal {goal.limit:.2f}: {verdict}")
    console.print(", ".join(f"{name} {value}" for name, value in report.facts.items()), style="dim")


def _rich(table: Table) -> RichTable:
    rich = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        rich.add_column(column, justify="left" if number == 0 else "right")
    for row in table.rows:
        rich.add_row(*(_text(cell) for cell in row))
    return rich


def _text(cell: Cell) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


if __name__ == "__main__":
    sys.exit(main())
