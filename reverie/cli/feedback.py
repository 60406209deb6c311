"""``reverie feedback``: what a run's answer was worth, which moves the choice of strategies."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from reverie.cli.interrupt import Stop
    from reverie.knowledge.strategies import Posterior, RecordedRun
    from reverie.settings import Settings


def feedback(
    run: Annotated[str, typer.Argument(help="The run's id, or its first four characters or more.")],
    score: Annotated[float, typer.Argument(help="0 (wrong) to 1 (right).")],
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Score a run's answer. Scores are what later choices of a strategy learn from.

    The id stands below every answer. Scoring a run again replaces its score.

    Example: reverie feedback 3f9c 1

    Example: reverie feedback 3f9c02ab17de 0.5 --json
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings

    async def work(stop: Stop) -> tuple[RecordedRun, Posterior, Posterior]:
        return await _score(run, score, settings, stop, speak=sys.stderr.isatty() or not as_json)

    scored, before, after = run_interruptible(work, as_json=as_json)
    if as_json:
        document = {"run": dataclasses.asdict(scored), "before": before, "after": after}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(_text(scored, before, after))


async def _score(
    run_id: str, score: float, settings: Settings, stop: Stop, *, speak: bool
) -> tuple[RecordedRun, Posterior, Posterior]:
    """The scored run, and what is believed of its strategy for its question before and after."""
    from reverie.cli.progress import Loading, write_line
    from reverie.graphs.resources import Resources

    resources = Resources(
        settings, report=Loading(stop.check, write_line(sys.stderr) if speak else None)
    )
    try:
        memory = await resources.memory()
        found = await memory.find(run_id)
        vector = (await (await resources.embedder()).embed([found.question]))[0]
        before = (await memory.posteriors(vector, [found.strategy]))[0]
        scored = await memory.score(found.run_id, score)
        return scored, before, (await memory.posteriors(vector, [found.strategy]))[0]
    finally:
        await resources.close()


def _text(run: RecordedRun, before: Posterior, after: Posterior) -> str:
    from reverie.cli.wording import clean, counted, glyphs_for

    glyphs = glyphs_for(sys.stdout.encoding)
    question = clean(run.question)
    if len(question) > 60:
        question = question[:59].rstrip() + glyphs.ellipsis
    return (
        f"Scored {run.score:g}: run {run.run_id}, {question}\n"
        f"{clean(run.strategy)} is now expected to score {after['mean']:.2f} on this question "
        f"({before['mean']:.2f} before), from {counted(after['runs'], 'scored run')}"
    )
