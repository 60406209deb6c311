"""``reverie strategies``: what every strategy did, what it cost, and what is believed of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from reverie.cli.interrupt import Stop
    from reverie.cli.strategy_choice import ChoiceNow, PolicyNow
    from reverie.knowledge.strategies import Point, TaskCluster
    from reverie.settings import Settings

_EMPTY = """nothing is recorded yet in {path}
Ask a question (`reverie ask "What happens when you drop a ball?"`), then score its answer
(`reverie feedback RUN 1`): scores are what the choice of strategies learns from."""


def strategies(  # noqa: PLR0917  # the command line's options, passed by name
    by_type: Annotated[bool, typer.Option("--by-type", help="A row per type of task.")] = False,
    prior: Annotated[
        bool,
        typer.Option("--prior", help="What is expected of every strategy, before and after."),
    ] = False,
    evaluate: Annotated[
        str | None,
        typer.Option(
            help="What another policy would have scored: uniform, learned, or a strategy's name.",
            metavar="POLICY",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Draw success and cost over time into this file.", metavar="FILE"),
    ] = None,
    confidence: Annotated[
        bool,
        typer.Option("--confidence", help="How far each model's confidence can be believed."),
    ] = False,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what every strategy did so far: uses, success, cost, trend, and its chance of being
    chosen now.

    Success is the mean score, with the 95 % interval in parentheses. Answers that nothing scored
    are pending: they count as uses, and teach nothing.

    Example: reverie strategies --by-type

    Example: reverie strategies --png strategies.png

    Example: reverie strategies --evaluate direct --json
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    if confidence:
        _confidence(settings, as_json=as_json)
        return

    async def work(stop: Stop) -> _Found | None:
        del stop
        return await _look(settings, evaluate)

    found = run_interruptible(work, as_json=as_json)
    if found is None:
        _nothing(settings, as_json=as_json)
        return
    for notice in found.notices:
        print(notice, file=sys.stderr)
    if png is not None:
        from reverie.cli.strategy_plot import draw

        draw(found.points, png)
    if as_json:
        document = _document(found, by_type=by_type)
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print(found, by_type=by_type, prior=prior)
        if png is not None:
            print(f"drawn into {png}")


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read from the memory."""

    points: list[Point]
    kinds: list[TaskCluster]
    now: ChoiceNow
    evaluation: PolicyNow | None
    notices: Sequence[str]


async def _look(settings: Settings, policy: str | None) -> _Found | None:
    """Everything the command shows. Loads neither a model nor the embedder."""
    from reverie.cli.strategy_choice import choice_now, evaluated
    from reverie.graphs.features import features_version
    from reverie.knowledge.strategies import StrategyMemory

    memory = await StrategyMemory.inspect(
        settings.home / "strategies.sqlite", memory=settings.learn.memory
    )
    if memory is None:
        return None
    try:
        version = features_version(memory.embedder)
        log = await memory.outcomes(0, version)
        in_force = await memory.scored(version)
        pending = await memory.pending()
        evaluation = None
        if policy is not None:
            evaluation = await asyncio.to_thread(evaluated, in_force, policy, settings)
        return _Found(
            points=await memory.points(),
            kinds=await memory.clusters(),
            now=await asyncio.to_thread(choice_now, log, settings, pending),
            evaluation=evaluation,
            notices=memory.notices,
        )
    finally:
        await memory.close()


def _nothing(settings: Settings, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"strategies": [], "choice": None, "kinds": []}, indent=2))
    else:
        print(_EMPTY.format(path=settings.home / "strategies.sqlite"))


def _confidence(settings: Settings, *, as_json: bool) -> None:
    from reverie.cli.confidence_report import confidence_report, confidence_table, uncalibrated_text
    from reverie.cli.interrupt import run_interruptible
    from reverie.cli.strategy_table import print_table

    async def work(stop: Stop) -> dict[str, Any]:
        del stop
        return await confidence_report(settings)

    report = run_interruptible(work, as_json=as_json)
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return
    if report["calibrations"]:
        print_table(confidence_table(report))
    if lacking := uncalibrated_text(report):
        print(lacking)


def _document(found: _Found, *, by_type: bool) -> dict[str, Any]:
    from reverie.knowledge.strategies import summarise

    return {
        "strategies": summarise(found.points, by_type=by_type),
        "choice": found.now,
        "kinds": found.kinds,
        **({"evaluation": found.evaluation} if found.evaluation else {}),
    }


def _print(found: _Found, *, by_type: bool, prior: bool) -> None:
    from reverie.cli.strategy_table import beliefs_table, footer, policy_text, print_table, told
    from reverie.knowledge.strategies import summarise

    if found.evaluation is not None:
        print(policy_text(found.evaluation))
        return
    if prior:
        print_table(beliefs_table(found.now))
    else:
        summaries = summarise(found.points, by_type=by_type)
        print_table(told(summaries, found.now, by_type=by_type))
    print(footer(found.now, found.kinds))
