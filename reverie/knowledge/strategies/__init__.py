"""Strategy memory: every run, the strategies that it tried, and what they were worth."""

from reverie.knowledge.strategies.clusters import JOIN_SIMILARITY
from reverie.knowledge.strategies.history import MINIMUM_SIMILARITY, MINIMUM_WEIGHT
from reverie.knowledge.strategies.memory import StrategyMemory
from reverie.knowledge.strategies.overview import Interval, StrategySummary, summarise
from reverie.knowledge.strategies.records import (
    Judged,
    MeasuredCost,
    Outcome,
    Point,
    Posterior,
    RecalledSequence,
    RecordedRun,
    Run,
    SimilarRun,
    Source,
    TaskCluster,
    TemplateRecord,
    Trial,
)
from reverie.knowledge.strategies.schema import STRATEGY_SCHEMA

__all__ = [
    "JOIN_SIMILARITY",
    "MINIMUM_SIMILARITY",
    "MINIMUM_WEIGHT",
    "STRATEGY_SCHEMA",
    "Interval",
    "Judged",
    "MeasuredCost",
    "Outcome",
    "Point",
    "Posterior",
    "RecalledSequence",
    "RecordedRun",
    "Run",
    "SimilarRun",
    "Source",
    "StrategyMemory",
    "StrategySummary",
    "TaskCluster",
    "TemplateRecord",
    "Trial",
    "summarise",
]
