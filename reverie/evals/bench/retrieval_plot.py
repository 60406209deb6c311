"""The picture of the retrieval benchmark: recall by engine, with 95 % intervals.

``python -m reverie.evals.bench retrieval --json > FILE.json`` measures,
``python -m reverie.evals.bench.retrieval_plot FILE.json FILE.png`` draws.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reverie.errors import ConfigError

_CUTS: Final = ("recall@2", "recall@5", "recall@10")
_CELL: Final = re.compile(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)")


def draw(tables: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the recalls in ``tables`` (of the benchmark's JSON) as bars, one panel a corpus. Raises
    ConfigError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "the picture needs matplotlib, which is not installed",
            hint='pip install "reverie[plots]"',
        ) from None
    measured = [table for table in tables if _CUTS[0] in table["rows"][0]]
    figure = Figure(figsize=(4.6 * len(measured) + 1.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(measured), squeeze=False)[0]
    for panel, table in zip(panels, measured, strict=True):
        width = 0.9 / len(table["rows"])
        for number, row in enumerate(table["rows"]):
            places = [c + width * (number - (len(table["rows"]) - 1) / 2) for c in range(3)]
            means, lows, highs = zip(*(_numbers(row[cut]) for cut in _CUTS), strict=True)
            ours = row["search"].startswith("Reverie")
            panel.bar(
                places,
                means,
                0.95 * width,
                label=row["search"],
                color=f"C{number}" if ours else str(round(1.1 - 0.1 * number, 2)),
                edgecolor="none" if ours else "grey",
            )
            below = [mean - low for mean, low in zip(means, lows, strict=True)]
            above = [high - mean for mean, high in zip(means, highs, strict=True)]
            bounds = [below, above]
            panel.errorbar(places, means, yerr=bounds, fmt="none", ecolor="black", elinewidth=0.8)
        panel.set_xticks(range(3), _CUTS)
        panel.set_title(table["title"].partition(":")[0])
        panel.set_ylim(0, 100)
        panel.grid(axis="y", alpha=0.25)
        panel.set_axisbelow(True)
    panels[0].set_ylabel("% of the passages found")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)
    return path


def _numbers(cell: str) -> tuple[float, float, float]:
    found = _CELL.match(cell)
    if found is None:
        raise ConfigError(f"{cell!r} is no recall with an interval", hint="Measure again")
    mean, low, high = map(float, found.groups())
    return mean, low, high


def main(arguments: Sequence[str]) -> None:
    """Draw the report that the first argument names to the file that the second one names."""
    report, picture = map(Path, arguments)
    draw(json.loads(report.read_text(encoding="utf-8"))["retrieval"]["tables"], picture)


if __name__ == "__main__":
    main(sys.argv[1:])
