"""What a person says of a run's answer, and everything that learns from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reverie.graphs.confidence import recalibrate

if TYPE_CHECKING:
    from reverie.graphs.resources import Resources
    from reverie.knowledge.strategies import RecordedRun


async def score_run(resources: Resources, run_id: str, score: float) -> tuple[RecordedRun, bool]:
    """Scores a run from 0 (wrong) to 1 (right): the choice of strategies, the confidence of its
    model, and how long its answer is remembered follow. Returns the run, and whether confidence was
    fitted anew. Raises ConfigError for an unknown run or a score out of range.
    """
    scored = await (await resources.memory()).score(run_id, score)
    if resources.settings.memory.remember_runs:
        await (await resources.episodes()).weigh(scored.run_id, score)
    fitted = await recalibrate(resources, scored.model or resources.settings.model.name)
    return scored, bool(fitted)
