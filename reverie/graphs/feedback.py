"""What a person says of a run's answer, and everything that learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reverie.graphs.confidence import recalibrate
from reverie.graphs.confirm import settle

if TYPE_CHECKING:
    from reverie.graphs.resources import Resources
    from reverie.knowledge.strategies import RecordedRun


@dataclass(frozen=True, slots=True)
class Scored:
    """What a score did."""

    run: RecordedRun
    calibrated: bool
    """Whether the confidence of the run's model was fitted anew."""
    settled: int
    """How many dreamed triplets became facts, or are hypotheses again."""


async def score_run(resources: Resources, run_id: str, score: float) -> Scored:
    """Scores a run from 0 (wrong) to 1 (right): the choice of strategies, the confidence of its
    model, how long its answer is remembered, and what the graph holds for a fact follow. Raises
    ConfigError for an unknown run or a score out of range, and KnowledgeUnavailable.
    """
    run = await (await resources.memory()).score(run_id, score)
    if resources.settings.memory.remember_runs:
        await (await resources.episodes()).weigh(run.run_id, score)
    fitted = await recalibrate(resources, run.model or resources.settings.model.name)
    return Scored(run, bool(fitted), await settle(resources, run.run_id, score))
