"""Benchmarks, one a file: ``python -m reverie.evals.bench [NAME ...] [--json]``.

A benchmark is a module with ``run(repeats, progress) -> Report``. Adding one is adding its file and
its line in ``BENCHES``. Goals are printed beside what was measured; missing one fails nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field

BENCHES = {
    "engine": "reverie.evals.bench.engine",
    "dreams": "reverie.evals.bench.dreams",
    "client": "reverie.evals.bench.client",
    "overhead": "reverie.evals.bench.overhead",
    "selection": "reverie.evals.bench.selection",
    "confidence": "reverie.evals.bench.confidence",
    "selection_real": "reverie.evals.bench.real_selection",
    "graph": "reverie.evals.bench.graph",
    "ingest": "reverie.evals.bench.ingest",
    "retrieval": "reverie.evals.bench.retrieval",
    "rerank": "reverie.evals.bench.rerank",
    "vectors": "reverie.evals.bench.vectors",
    "exact_search": "reverie.evals.bench.exact_search",
    "extract": "reverie.evals.bench.extract",
    "chunks": "reverie.evals.bench.chunks",
    "resolution": "reverie.evals.bench.resolution",
    "llama_index": "reverie.evals.bench.llama_index",
}
"""Name on the command line to module."""

Progress = Callable[[str], None]
"""Takes one line about what is measured now."""

Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Table:
    """Measurements. The first column names the row; floats are printed with two decimals."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a number should not exceed."""

    name: str
    limit: float
    measured: float

    @property
    def reached(self) -> bool:
        return self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """What a benchmark measured, and on what: ``facts`` are seeds, versions, the processor."""

    tables: tuple[Table, ...]
    goals: tuple[Goal, ...] = ()
    facts: dict[str, Cell] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """The report as JSON."""
        return {
            "tables": [
                {"title": t.title, "rows": [dict(zip(t.columns, r, strict=True)) for r in t.rows]}
                for t in self.tables
            ],
            "goals": [
                {"name": g.name, "limit": g.limit, "measured": g.measured, "reached": g.reached}
                for g in self.goals
            ],
            "facts": self.facts,
        }


def run_bench(name: str, repeats: int, progress: Progress) -> Report:
    """Run the benchmark called ``name``."""
    report: Report = importlib.import_module(BENCHES[name]).run(repeats, progress)
    return report
