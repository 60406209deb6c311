"""The picture of the selection benchmark: cumulative regret by family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reverie.errors import ConfigError
from reverie.evals.bench.simulated import SHIFT, TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw(regrets: Mapping[str, Mapping[str, NDArray[np.float64]]], path: Path) -> Path:
    """Draw regret by family and choice, each [seeds, T]: the mean of the seeds, and as a shade from
    the tenth to the ninetieth percentile. Raises ConfigError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "the picture needs matplotlib, which is not installed",
            hint='pip install "reverie[plots]"',
        ) from None
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(regrets))
    tasks = np.arange(1, TASKS + 1)
    names = dict.fromkeys(name for runs in regrets.values() for name in runs)
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    for panel, (family, runs) in zip(np.atleast_1d(panels), regrets.items(), strict=True):
        for name, regret in runs.items():
            total = regret.cumsum(axis=1)
            panel.plot(tasks, total.mean(axis=0), label=name, color=colours[name])
            low, high = np.percentile(total, [10, 90], axis=0)
            panel.fill_between(tasks, low, high, alpha=0.12, color=colours[name], linewidth=0)
        if family == "shift":
            panel.axvline(SHIFT, color="grey", linestyle=":", linewidth=1)
        panel.set_title(f"simulated family: {family}")
        panel.set_xlabel("tasks")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.25)
    np.atleast_1d(panels)[0].set_ylabel("cumulative regret")
    np.atleast_1d(panels)[-1].legend(fontsize=8, loc="upper left")
    figure.savefig(path, dpi=110)
    return path
