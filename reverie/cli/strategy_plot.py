"""Success and cost of every strategy over time, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverie.errors import ConfigError

if TYPE_CHECKING:
    from reverie.knowledge.strategies import Point

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")
"""Distinct also to people who see few colours (Okabe and Ito 2008)."""
_STYLES = ("-", "--", "-.", ":")


def draw(points: Sequence[Point], file: Path) -> None:
    """Draws the running means of scores and tokens per strategy into ``file``, as a PNG.

    Raises ConfigError without matplotlib, or when the file cannot be written.
    """
    figure_type = _figure_type()
    figure = figure_type(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    names = list(dict.fromkeys(p.strategy for p in points))
    for number, name in enumerate(names):
        look = {
            "color": _COLOURS[number % len(_COLOURS)],
            "linestyle": _STYLES[number // len(_COLOURS) % len(_STYLES)],
            "marker": "o",
            "markersize": 3,
            "label": name,
        }
        mine = [(place, p) for place, p in enumerate(points, 1) if p.strategy == name]
        scored = [(place, p.score) for place, p in mine if p.score is not None]
        above.plot(*_running(scored), **look)
        paid = [(place, float(p.tokens)) for place, p in mine if p.calls]
        below.plot(*_running(paid), **look)
    _label(above, "mean score", "Success")
    above.set_ylim(-0.03, 1.03)
    _label(below, "mean tokens", "Cost")
    below.set_ylim(bottom=0)
    below.set_xlabel("attempt, oldest first")
    lines, labels = below.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper center", ncols=4, frameon=False)
    try:
        figure.savefig(file, format="png", dpi=120)
    except OSError as error:
        raise ConfigError(
            f"cannot write {file}: {error.strerror or error}", hint="name another file with --png"
        ) from error


def _running(values: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """Places, and the mean of the latest values at each: a tenth of all, but at least five."""
    width = max(5, len(values) // 10)
    means = []
    for i in range(len(values)):
        latest = [value for _, value in values[max(0, i + 1 - width) : i + 1]]
        means.append(sum(latest) / len(latest))
    return [place for place, _ in values], means


def _label(axes: Any, unit: str, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _figure_type() -> Any:
    """``Figure`` by itself: without pyplot there is no window system to ask for."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "a plot needs matplotlib, which is not installed",
            hint="pip install 'reverie[plots]'",
        ) from error
    return Figure
