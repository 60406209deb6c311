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

    async def work(stop: Stop) -> _Effect:
        return await _score(run, score, settings, stop, speak=sys.stderr.isatty() or not as_json)

    effect = run_interruptible(work, as_json=as_json)
    if as_json:
        document = {
            "run": dataclasses.asdict(effect.run),
            "replaced": effect.replaced,
            "before": effect.before,
            "after": effect.after,
            "calibrated": effect.calibrated,
            "settled": effect.settled,
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(_text(effect))


@dataclasses.dataclass(frozen=True, slots=True)
class _Effect:
    """What a score did."""

    run: RecordedRun
    replaced: str
    """Whose score it replaced; empty: nobody's."""
    before: Posterior
    """What was believed of the run's strategy, for its question."""
    after: Posterior
    calibrated: bool
    """Whether confidence was fitted anew."""
    settled: int
    """How many dreamed triplets became facts, or are hypotheses again."""


async def _score(
    run_id: str, score: float, settings: Settings, stop: Stop, *, speak: bool
) -> _Effect:
    from reverie.cli.progress import Loading, write_line
    from reverie.graphs.feedback import score_run
    from reverie.graphs.resources import Resources

    resources = Resources(
        settings, report=Loading(stop.check, write_line(sys.stderr) if speak else None)
    )
    try:
        memory = await resources.memory()
        found = await memory.find(run_id)
        vector = await resources.question_vector(found.question)
        before = (await memory.posteriors(vector, [found.strategy]))[0]
        scored = await score_run(resources, found.run_id, score)
        after = (await memory.posteriors(vector, [found.strategy]))[0]
        return _Effect(
            run=scored.run,
            replaced=found.source or "",
            before=before,
            after=after,
            calibrated=scored.calibrated,
            settled=scored.settled,
        )
    finally:
        await resources.close()


def _text(effect: _Effect) -> str:
    from reverie.cli.wording import clean, counted, glyphs_for
    from reverie.graphs.confirm import CONFIRMED

    run = effect.run
    glyphs = glyphs_for(sys.stdout.encoding)
    question = clean(run.question)
    if len(question) > 60:
        question = question[:59].rstrip() + glyphs.ellipsis
    lines = [f"Scored {run.score:g}: run {run.run_id}, {question}"]
    if effect.replaced:
        whose = "your earlier score" if effect.replaced == "feedback" else f"the {effect.replaced}"
        lines.append(f"It replaces {whose}")
    lines.append(
        f"{clean(run.strategy)} is now expected to score {effect.after['mean']:.2f} on this "
        f"question ({effect.before['mean']:.2f} before), from "
        f"{counted(effect.after['runs'], 'scored attempt')}"
    )
    others = [name for name in dict.fromkeys(run.strategies) if name != run.strategy]
    if others:
        lines.append(
            f"{' and '.join(map(clean, others))} of the same run got this score too where the "
            "answer was the same, and 0 without an answer"
        )
    if effect.calibrated:
        lines.append("Confidence was calibrated anew (it uses what was scored)")
    if effect.settled:
        now = "now facts" if (run.score or 0.0) >= CONFIRMED else "hypotheses again"
        lines.append(f"{counted(effect.settled, 'dreamed triplet')}: {now}")
    return "\n".join(lines)
