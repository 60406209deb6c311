"""How far confidence can be believed, before and after calibration, on answers of a real model.

``python -m reverie.evals.bench.confidence --records FILE ...`` reads answers that were recorded
with ``python -m reverie.evals.gym record``; without records (as ``python -m reverie.evals.bench
confidence``) it asks the model of the settings, unless a few questions show that the model can
answer none of them. Half of the questions fit the calibration, the other half measure it, whatever
strategies they were asked with.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from reverie.errors import ConfigError, ReverieError
from reverie.evals.bench import Progress, Report, Table
from reverie.evals.gym.families import TUNING, questions
from reverie.evals.gym.record import Record, read_records, record_all
from reverie.evals.gym.settings import gym_settings
from reverie.evals.reliability import Estimate, accuracy_at, draw_reliability, reliability
from reverie.knowledge.calibration import Calibration, Outcome, raw_score
from reverie.knowledge.calibration_error import brier, calibration_error
from reverie.knowledge.calibration_fit import fit_all

_LEAST = 500
_PER_FAMILY = 32
_PROBED = 1
"""Questions of each family, asked directly, that tell whether the model can answer some."""
_KNOWN = 1 / 8
"""The share of them that it has to."""
_STRATEGIES = ("direct", "chain_of_thought")
SPLITS = 20
_SEED = 0


@dataclass(frozen=True, slots=True)
class Halves:
    """The tested half of the answers, and what each confidence says of them."""

    fitted: int
    """Answers that the calibration was fitted to."""
    tested: Sequence[Record]
    raw: Sequence[float]
    calibrated: Sequence[float]
    calibrations: Sequence[Calibration]

    @property
    def right(self) -> list[float]:
        return [float(r["right"]) for r in self.tested]


def run(repeats: int, progress: Progress) -> Report:  # noqa: ARG001  # greedy: all runs are alike
    """Ask the model of the settings, then measure."""
    from reverie.settings import load_settings

    model = load_settings().settings.model.name
    with TemporaryDirectory(prefix="reverie-bench-") as home:
        into = Path(home) / "records.jsonl"
        asyncio.run(_ask(into, Path(home), model, _PROBED, _STRATEGIES[:1], progress))
        first = read_records([into])
        right = sum(r["right"] for r in first)
        if right < _KNOWN * len(first):
            return _not_measured(model, right, len(first))
        asyncio.run(_ask(into, Path(home), model, _PER_FAMILY, _STRATEGIES, progress))
        return measure(read_records([into]), progress)


def measure(records: Sequence[Record], progress: Progress, plot: Path | None = None) -> Report:
    """The report on recorded answers; ``plot`` is a PNG to write. Raises ConfigError."""
    usable = [r for r in records if r["status"] == "ok" and raw_score(_signals(r)) is not None]
    right = sum(r["right"] for r in usable)
    if len(usable) < _LEAST or not right or right == len(usable):
        raise ConfigError(
            f"{len(usable)} answers with signals, {right} of them right: too few to measure",
            hint=f"record at least {_LEAST} answers of a model that is right at times and wrong "
            "at times",
        )
    progress(f"{len(usable)} answers: fit to half of the questions, measure on the others")
    halves = split(usable, _SEED)
    if plot is not None:
        draw_reliability(
            plot,
            {
                "raw score": (halves.raw, halves.right),
                "calibrated": (halves.calibrated, halves.right),
            },
            title=f"{len(halves.tested)} answers that the calibration was not fitted to",
        )
    progress(f"{SPLITS} other ways to halve the questions")
    tables = (_main_table(halves), _strategies(halves), _spread(usable), _forms(halves))
    facts: dict[str, str | int | float] = {
        "answers": len(usable),
        "left out (failed, abstained or without signals)": len(records) - len(usable),
        "questions": len({r["id"] for r in usable}),
        "families": len({r["family"] for r in usable}),
        "fitted to": halves.fitted,
        "tokens": sum(r["tokens"] for r in usable),
        "seed": _SEED,
    }
    return Report(tables, facts=facts)


def split(records: Sequence[Record], seed: int) -> Halves:
    """Fit to the answers to one half of the questions, and say how sure one is of the others."""
    fitting = [r for r in records if _half(r["id"], seed)]
    tested = [r for r in records if not _half(r["id"], seed)]
    calibrations = fit_all(
        [Outcome(r["strategy"], _signals(r), float(r["right"]), r["id"]) for r in fitting]
    )
    if not calibrations:
        raise ConfigError("half of the answers are too few to calibrate", hint="record more")
    pooled = calibrations[0]
    own = {c.strategy: c for c in calibrations[1:]}
    raw, calibrated = [], []
    for record in tested:
        signals, strategy = _signals(record), record["strategy"]
        score = raw_score(signals) or 0.0
        said = own.get(strategy, pooled).apply(signals, strategy)
        raw.append(score)
        calibrated.append(score if said is None else said)
    return Halves(len(fitting), tested, raw, calibrated, calibrations)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure recorded answers; exit code 2 when they cannot be."""
    from reverie.evals.bench.__main__ import say, show

    parser = argparse.ArgumentParser(
        prog="python -m reverie.evals.bench.confidence", description=__doc__
    )
    parser.add_argument("--records", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    parser.add_argument("--json", action="store_true", help="a JSON document instead of tables")
    options = parser.parse_args(arguments)
    try:
        report = measure(read_records(options.records), say, options.plot)
    except ReverieError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(report.document(), indent=2))
    else:
        show(report)
    return 0


async def _ask(  # noqa: PLR0917  # called here only
    into: Path,
    home: Path,
    model: str,
    per_family: int,
    strategies: Sequence[str],
    progress: Progress,
) -> None:
    """Add answers to ``into``, those that it has not yet."""
    from reverie.agents.reasoner import Reasoner

    asked = [
        (question, strategy)
        for question in await asyncio.to_thread(questions, per_family, seed=TUNING)
        for strategy in strategies
    ]
    progress(f"{len(asked)} answers of {model}")
    async with Reasoner(gym_settings(model, home)) as reasoner:
        await record_all(reasoner, asked, into)


def _not_measured(model: str, right: int, asked: int) -> Report:
    table = Table(
        "Confidence: not measured, since there is nothing to tell apart",
        ("model", "right", "asked"),
        ((model, right, asked),),
    )
    return Report((table,), facts={"hint": "set REVERIE_MODEL_NAME to a model that knows some"})


def _main_table(halves: Halves) -> Table:
    groups = [r["id"] for r in halves.tested]
    before = reliability(halves.raw, halves.right, groups=groups, seed=_SEED)
    after = reliability(halves.calibrated, halves.right, groups=groups, seed=_SEED)
    rows: list[tuple[str, Estimate, Estimate]] = [
        ("ECE, 10 bins of equal mass", before.ece_mass, after.ece_mass),
        ("ECE, 10 bins of equal width", before.ece_width, after.ece_width),
        ("Brier score", before.brier, after.brier),
        ("area under ROC", before.auroc, after.auroc),
        ("accuracy, all answers", before.accuracy, after.accuracy),
        ("accuracy, the surer half", before.accuracy_at_half, after.accuracy_at_half),
    ]
    return Table(
        f"{before.answers} answers to questions that nothing was fitted to (95 % intervals)",
        ("", "raw score", "calibrated"),
        tuple((name, str(one), str(other)) for name, one, other in rows),
    )


def _strategies(halves: Halves) -> Table:
    rows = []
    for strategy in sorted({r["strategy"] for r in halves.tested}):
        at = [i for i, r in enumerate(halves.tested) if r["strategy"] == strategy]
        right = [halves.right[i] for i in at]
        raw, calibrated = [halves.raw[i] for i in at], [halves.calibrated[i] for i in at]
        rows.append(
            (
                strategy,
                len(at),
                f"{mean(right):.3f}",
                f"{calibration_error(raw, right):.3f}",
                f"{calibration_error(calibrated, right):.3f}",
                f"{brier(raw, right):.3f}",
                f"{brier(calibrated, right):.3f}",
            )
        )
    columns = ("strategy", "answers", "right", "ECE raw", "calibrated", "Brier raw", "calibrated ")
    return Table("By strategy (ECE: bins of equal mass)", columns, tuple(rows))


def _spread(records: Sequence[Record]) -> Table:
    found = [split(records, seed) for seed in range(SPLITS)]

    def row(name: str, values: Sequence[float]) -> tuple[str, str, str]:
        return name, f"{mean(values):.3f}", f"{stdev(values):.3f}"

    rows = []
    for name, said in (("raw score", _raw), ("calibrated", _calibrated)):
        rows += [
            row(f"ECE, equal mass, {name}", [calibration_error(said(h), h.right) for h in found]),
            row(
                f"ECE, equal width, {name}",
                [calibration_error(said(h), h.right, binning="width") for h in found],
            ),
            row(f"Brier, {name}", [brier(said(h), h.right) for h in found]),
            row(f"accuracy, the surer half, {name}", [_at_half(said(h), h) for h in found]),
        ]
    return Table(
        f"The same over {SPLITS} ways to halve the questions",
        ("", "mean", "standard deviation"),
        tuple(rows),
    )


def _raw(halves: Halves) -> Sequence[float]:
    return halves.raw


def _calibrated(halves: Halves) -> Sequence[float]:
    return halves.calibrated


def _at_half(said: Sequence[float], halves: Halves) -> float:
    return accuracy_at(said, halves.right, 0.5)


def _forms(halves: Halves) -> Table:
    counts = Counter(r["strategy"] for r in halves.tested)
    return Table(
        "What was fitted",
        ("strategy", "form", "fitted to", "tested on"),
        tuple(
            (c.strategy or "all", c.kind, c.outcomes, counts.get(c.strategy, len(halves.tested)))
            for c in halves.calibrations
        ),
    )


def _signals(record: Record) -> dict[str, float | None]:
    signals = record["signals"]
    return {
        "mean": signals["mean"],
        "weakest": signals["weakest"],
        "agreement": signals["agreement"],
        "verifier": signals["verifier"],
    }


def _half(question: str, seed: int) -> bool:
    return hashlib.sha256(f"{seed}:{question}".encode()).digest()[0] % 2 == 0


if __name__ == "__main__":
    sys.exit(main())
