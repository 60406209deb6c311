"""The learning selector on questions of reasoning-gym, with answers of the measuring model.

``python -m reverie.evals.bench.real_selection --records FILE ...`` reads what every strategy
answered to every question (``python -m reverie.evals.gym record``) and lets the selector ask them
in a row, in several orders, told after each whether it was right. ``make bench`` takes the files of
the folder that GYM_RECORDS names.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from reverie.errors import ConfigError, ReverieError
from reverie.evals.bench import Cell, Goal, Progress, Report, Table
from reverie.evals.gym.families import GymQuestion, in_a_row
from reverie.evals.gym.record import Record, read_records
from reverie.evals.gym.selection import Taken, select_recorded
from reverie.evals.gym.settings import gym_settings
from reverie.evals.gym.table import Share, best_of_family, by_family, by_strategy, share

ARMS = ("direct", "chain_of_thought", "tools", "self_consistency", "best_of_n")
"""What the selector may choose between: the strategies that the measuring model has prompts for."""

VARIABLE = "GYM_RECORDS"
_GOAL = 0.9  # of the best strategy per family in hindsight, in the last third
_MANNERS = {"until sure": None, "first attempt": 0.0}
"""When the selector accepts an attempt: from ``reason.accept_above`` on, or at once."""
_WINDOW = 100  # questions that a point of the plot averages over


@dataclass(frozen=True, slots=True)
class Row:
    """One order of the questions, and what the selector did with each."""

    order: int
    taken: Sequence[Taken]
    hindsight: Sequence[int]
    """Whether the best strategy of the question's family answered it, in the same order."""

    def right(self, part: slice = slice(None)) -> float:
        return mean(float(one["right"]) for one in self.taken[part])

    def best(self, part: slice = slice(None)) -> float:
        return mean(map(float, self.hindsight[part]))

    @property
    def last(self) -> slice:
        """The last third."""
        return slice(len(self.taken) - len(self.taken) // 3, None)


def run(repeats: int, progress: Progress) -> Report:
    """The report on the records of the folder that the variable names, in ``repeats`` orders."""
    folder = os.environ.get(VARIABLE)
    files = sorted(Path(folder).glob("*.jsonl")) if folder else []
    if not files:
        why = f"{VARIABLE} names no folder with records (docs/gym.md says how to make them)"
        return Report((), facts={"not measured": why})
    return measure(read_records(files), repeats, progress)


def measure(
    records: Sequence[Record], orders: int, progress: Progress, plot: Path | None = None
) -> Report:
    """The report on ``records``, which hold every strategy of ``ARMS`` for every question;
    ``plot`` is a PNG to write. Raises ConfigError.
    """
    arms = [record for record in records if record["strategy"] in ARMS]
    asked = _asked(arms)
    families = by_family(arms)
    best = best_of_family(families)
    right = {(r["id"], r["strategy"]): r["right"] for r in arms}
    rows: list[list[Row]] = []
    for how, accept_above in _MANNERS.items():
        rows.append([])
        for order in range(1, orders + 1):
            progress(f"{how}, order {order}: {len(asked)} questions")
            taken = _taken(arms, in_a_row(asked, seed=order), order, accept_above)
            hindsight = [right[one["id"], best[one["family"]]] for one in taken]
            rows[-1].append(Row(order, taken, hindsight))
    sure, once = rows
    if plot is not None:
        draw(sure, once, plot)
    short = [
        Goal(
            f"short of the best per family, last third, {name} (share)",
            1.0 - _GOAL,
            1.0 - mean(r.right(r.last) / r.best(r.last) for r in of),
        )
        for name, of in (("until sure", sure), ("first attempt", once))
    ]
    return Report(
        (_overall(records, arms, best, sure, once), _per_family(records, families, sure, once)),
        goals=tuple(short),
        facts={
            "questions": len(asked),
            "families": len(families),
            "seed of questions": asked[0].seed,
            "orders": orders,
            "answers": "recorded",
        },
    )


def draw(sure: Sequence[Row], once: Sequence[Row], path: Path) -> None:
    """Accuracy over time as a PNG: mean and range over orders. Raises ConfigError without
    matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "the plot needs matplotlib, which is not installed",
            hint="pip install 'reverie[plots]' (in a checkout: pip install -e '.[plots]')",
        ) from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    shown = (
        ("selector, until sure", [[t["right"] for t in r.taken] for r in sure]),
        ("selector, first attempt", [[t["right"] for t in r.taken] for r in once]),
        ("best per family in hindsight", [list(r.hindsight) for r in sure]),
    )
    for label, rows in shown:
        curves = [_moving(row) for row in rows]
        at = range(_WINDOW, _WINDOW + len(curves[0]))
        (line,) = axes.plot(at, [mean(values) for values in zip(*curves, strict=True)], label=label)
        low = [min(values) for values in zip(*curves, strict=True)]
        high = [max(values) for values in zip(*curves, strict=True)]
        axes.fill_between(at, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("questions asked")
    axes.set_ylabel(f"right, of the last {_WINDOW}")
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)


# -- one order -----------------------------------------------------------------------------------


def _asked(records: Sequence[Record]) -> list[GymQuestion]:
    found = {
        r["id"]: GymQuestion(r["family"], r["seed"], r["number"], r["question"]) for r in records
    }
    if not found:
        raise ConfigError(
            "the records hold no strategy that the selector may choose",
            hint=f"record {', '.join(ARMS)}",
        )
    return [found[id_] for id_ in sorted(found)]


def _taken(
    records: Sequence[Record], row: Sequence[GymQuestion], order: int, accept_above: float | None
) -> list[Taken]:
    async def work(home: Path) -> list[Taken]:
        settings = gym_settings("recorded", home, strategies=ARMS, accept_above=accept_above)
        seed = 10_000 * order
        return [one async for one in select_recorded(settings, records, row, seed=seed)]

    with TemporaryDirectory(prefix="reverie-bench-") as home:
        return asyncio.run(work(Path(home)))


def _moving(values: Sequence[int]) -> list[float]:
    return [mean(values[at - _WINDOW : at]) for at in range(_WINDOW, len(values) + 1)]


# -- tables --------------------------------------------------------------------------------------


def _overall(
    records: Sequence[Record],
    arms: Sequence[Record],
    best: Mapping[str, str],
    sure: Sequence[Row],
    once: Sequence[Row],
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for strategy, all_ in by_strategy(records).items():
        label = f"always {strategy}" + ("" if strategy in ARMS else " (not an arm)")
        rows.append((label, all_.questions, all_.right, _error(all_), round(all_.tokens), "", ""))
    uniform, chosen = share(arms), share([r for r in arms if best[r["family"]] == r["strategy"]])
    rows.append(
        ("a uniform choice", chosen.questions, uniform.right, "", round(uniform.tokens), "", "")
    )
    for name, of in (("selector, until sure", sure), ("selector, first attempt", once)):
        rows.append(
            (
                name,
                len(of[0].taken),
                mean(r.right() for r in of),
                _spread([r.right() for r in of]),
                round(mean(one["tokens"] for r in of for one in r.taken)),
                mean(r.right(r.last) for r in of),
                mean(r.right(r.last) / r.best(r.last) for r in of),
            )
        )
    rows.append(
        (
            "the best per family in hindsight",
            chosen.questions,
            chosen.right,
            _error(chosen),
            round(chosen.tokens),
            mean(r.best(r.last) for r in sure),
            1.0,
        )
    )
    return Table(
        "Right answers; ± is a strategy's standard error, a selector's spread over orders",
        ("", "questions", "right", "±", "tokens each", "last third", "share of the best"),
        tuple(rows),
    )


def _per_family(
    records: Sequence[Record],
    arms: Mapping[str, Mapping[str, Share]],
    sure: Sequence[Row],
    once: Sequence[Row],
) -> Table:
    every = by_family(records)
    strategies = [s for s in by_strategy(records) if s in ARMS]
    rows: list[tuple[Cell, ...]] = [
        (
            family,
            *(arms[family][s].right for s in strategies),
            max(one.right for one in every[family].values()),
            _of_family(sure, family),
            _of_family(once, family),
        )
        for family in sorted(arms, key=lambda f: -max(s.right for s in arms[f].values()))
    ]
    columns = ("", *strategies, "best of all", "selector, until sure", "selector, first attempt")
    return Table("By family; the selector in the last third", columns, tuple(rows))


def _of_family(rows: Sequence[Row], family: str) -> float:
    right = [float(t["right"]) for r in rows for t in r.taken[r.last] if t["family"] == family]
    return mean(right) if right else math.nan


def _error(one: Share) -> float:
    return math.sqrt(one.right * (1 - one.right) / one.questions)


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The report on the files that the command line names."""
    from reverie.evals.bench.__main__ import say, show

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--orders", type=int, default=3, help="orders of the questions (3)")
    parser.add_argument("--plot", type=Path, help="PNG to write: accuracy over time")
    options = parser.parse_args(arguments)
    try:
        records = read_records(options.records)
        show(measure(records, options.orders, say, options.plot))
    except ReverieError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
