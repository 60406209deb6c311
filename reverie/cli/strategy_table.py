"""The tables of ``reverie strategies``: rich on a terminal, plain text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from reverie.cli.strategy_choice import ArmNow, ChoiceNow, EstimateNow, PolicyNow
    from reverie.knowledge.strategies import Interval, StrategySummary, TaskCluster

_BLOCKS = "▁▂▃▄▅▆▇█"
_MOVED = 0.05
"""A mean score that moved by less stayed the same."""
_KINDS = 3


class Table(NamedTuple):
    """Columns, the first of which are words, and rows of text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


def told(summaries: Sequence[StrategySummary], now: ChoiceNow, *, by_type: bool) -> Table:
    """What strategies did; those that may be chosen and were not tried stand last."""
    from reverie.cli.wording import clean

    arms = {arm["strategy"]: arm for arm in now["arms"]}
    columns = ("uses", "scored", "success", "tokens", "seconds", "trend", "pending", "failed")
    rows = []
    for one in summaries:
        kind = (clean(one["task_type"]) or "unknown",) if by_type else ()
        arm = arms.get(one["strategy"])
        rows.append((*kind, clean(one["strategy"]), *_did(one), *(() if by_type else _now(arm))))
    if by_type:
        return Table(("task type", "strategy", *columns), rows, words=2)
    seen = {one["strategy"] for one in summaries}
    blank = ("0", "0", _none(), _none(), _none(), "", "0", "0")
    rows += [(name, *blank, *_now(arm)) for name, arm in arms.items() if name not in seen]
    return Table(("strategy", *columns, "expected", "chance"), rows)


def beliefs_table(now: ChoiceNow) -> Table:
    """What is expected of every strategy's reward, before and after its outcomes."""
    from reverie.cli.wording import clean

    rows = [
        (
            clean(arm["strategy"]),
            _spread(arm["prior"], arm["prior_sd"]),
            _spread(arm["expected"], arm["sd"]),
            str(arm["runs"]),
            f"{arm['chance']:.2f}",
            _ago(arm["staleness"]),
        )
        for arm in now["arms"]
    ]
    return Table(("strategy", "prior", "posterior", "outcomes", "chance", "latest"), rows)


def footer(now: ChoiceNow, kinds: Sequence[TaskCluster]) -> str:
    """How well the choice is informed, in a few lines."""
    from reverie.cli.wording import clean, counted

    entropy = f"entropy {now['entropy']:.2f} (0: certain, 1: uniform)"
    known = f"{counted(now['outcomes'], 'outcome')}, {now['pending']:,} pending"
    lines = [f"the choice explores with {entropy}", known]
    stale = [(arm["staleness"], arm["strategy"]) for arm in now["arms"] if arm["staleness"]]
    if stale:
        oldest, name = max(stale)
        lines.append(f"stalest: {clean(name)}, whose latest score came {_ago(oldest)}")
    if now["shifts"]:
        lines.append(
            f"rewards shifted {counted(now['shifts'], 'time')}: what was learned before counts "
            "little"
        )
    if kinds:
        often = [f"{_short(clean(k['example']))} ({k['tasks']:,})" for k in kinds[:_KINDS]]
        lines.append(f"{counted(len(kinds), 'kind')} of tasks, the most frequent like: {often[0]}")
        lines += [f"  {one}" for one in often[1:]]
    return "\n".join(lines)


def policy_text(policy: PolicyNow) -> str:
    """What another policy would have earned, in a few lines."""
    from reverie.cli.wording import clean, counted

    name = clean(policy["policy"])
    robust, earned = _estimate(policy["doubly_robust"]), _estimate(policy["logged"])
    ips, snips = _estimate(policy["ips"]), _estimate(policy["snips"])
    choices = counted(policy["choices"], "scored choice")
    lines = [
        f"{name}: estimated reward {robust} per question (doubly robust); {earned} was earned",
        f"other estimators: {ips} (IPS), {snips} (self-normalised)",
        f"from {choices}, worth {policy['effective']:.1f} of {name}'s own",
        "reward is score minus the price of tokens; in parentheses the 95 % interval",
    ]
    if policy["clipped"] > 0:
        lines.append(f"{policy['clipped']:.0%} of the weights were limited")
    return "\n".join(lines)


def print_table(table: Table) -> None:
    """Print it as the standard output can show it."""
    if sys.stdout.isatty():
        _print_rich(table)
        return
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    for line in lines:
        cells = [
            cell.ljust(width) if i < table.words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _print_rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for number, part in enumerate(_fitting(table, console.width)):
        if number:
            console.print()
        rich = RichTable(box=None, header_style="bold", pad_edge=False)
        for i, column in enumerate(part.columns):
            words = i < part.words
            rich.add_column(column, justify="left" if words else "right", no_wrap=not words)
        for row in part.rows:
            cells = (Text(cell, "bold" if i < part.words else "") for i, cell in enumerate(row))
            rich.add_row(*cells)
        console.print(rich)


def _fitting(table: Table, width: int) -> list[Table]:
    """The table, or, where it is wider than the terminal, parts of it with the same words in front:
    a table that rich makes fit loses its names first.
    """
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) + 2 for i in range(len(table.columns))]
    words = list(range(table.words))
    parts = [words[:]]
    for i in range(table.words, len(widths)):
        taken = sum(widths[j] for j in parts[-1]) - 2
        if taken + widths[i] > width and len(parts[-1]) > table.words:
            parts.append(words[:])
        parts[-1].append(i)
    return [
        Table(
            [table.columns[i] for i in part],
            [[row[i] for i in part] for row in table.rows],
            table.words,
        )
        for part in parts
    ]


def _did(one: StrategySummary) -> tuple[str, ...]:
    return (
        f"{one['uses']:,}",
        f"{one['scored']:,}",
        _success(one["success"]),
        _none() if one["tokens"] is None else f"{one['tokens']:,.0f}",
        _none() if one["seconds"] is None else f"{one['seconds']:.1f}",
        _trend(one),
        f"{one['pending']:,}",
        f"{one['failed']:,}",
    )


def _now(arm: ArmNow | None) -> tuple[str, str]:
    if arm is None:
        return _none(), _none()
    return f"{arm['expected']:.2f}", f"{arm['chance']:.2f}"


def _success(interval: Interval | None) -> str:
    if interval is None:
        return _none()
    return f"{interval['mean']:.2f} ({interval['low']:.2f}-{interval['high']:.2f})"


def _trend(one: StrategySummary) -> str:
    """A sparkline and an arrow; words where the output has no such signs."""
    if one["recent"] is None or one["before"] is None:
        return ""
    moved = one["recent"] - one["before"]
    way = "same" if abs(moved) < _MOVED else "up" if moved > 0 else "down"
    if not _unicode():
        return way
    line = "".join(_BLOCKS[min(7, int(mean * 8))] for mean in one["trend"])
    return f"{line} {'→↑↓'[('same', 'up', 'down').index(way)]}"


def _estimate(found: EstimateNow) -> str:
    if found["mean"] is None:
        return "unknown"
    low, high = found["low"], found["high"]
    inside = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return f"{found['mean']:.2f}{inside}"


def _spread(mean: float, sd: float) -> str:
    return f"{mean:.2f} {'±' if _unicode() else '+-'} {sd:.2f}"


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37].rstrip() + "..."


def _none() -> str:
    from reverie.cli.wording import glyphs_for

    return glyphs_for(sys.stdout.encoding).none


def _unicode() -> bool:
    from reverie.cli.wording import UNICODE, glyphs_for

    return glyphs_for(sys.stdout.encoding) is UNICODE
