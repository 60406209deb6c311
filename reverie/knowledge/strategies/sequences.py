"""Which strategies to try one after the other, from what sequences did on similar tasks.

A plan is a sequence of strategies of which later ones are tried only when the former were not
accepted. A run speaks for a plan when it went as the plan says, as far as it went: a run that ended
within the plan counts with its own score and cost; one that went on counts with what its attempt at
the plan's end was worth. Nothing is stored but runs, so a plan that stopped working is forgotten as
its outcomes fade and later ones speak against it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reverie.knowledge.strategies.history import MINIMUM_SIMILARITY, History, Remembered, Tried
from reverie.knowledge.strategies.records import RecalledSequence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHRINKAGE: Final = 2.0
"""How many average outcomes every estimate begins with."""
SAME_CLUSTER: Final = 0.5
"""What a run on the same kind of task counts at least, however its question is worded."""
FORGET_BELOW: Final = 0.2
"""A plan or a piece that is expected to score less is not recalled ..."""
FORGET_WEIGHT: Final = 3.0
"""... once outcomes of this weight say so."""
MOST_PIECES: Final = 3

_Evidence = Sequence[tuple[Remembered, float, float]]
"""Runs with their similarity and how much they count for this task, before their outcomes fade."""


@dataclass(frozen=True, slots=True)
class Task:
    """What sequences are for: its similarity to every run of a history, [R], and its kind."""

    similarity: NDArray[np.float32]
    cluster: int | None


def recall_sequences(
    history: History, task: Task, *, allowed: Collection[str] | None, price: float
) -> list[RecalledSequence]:
    """The plans for a task, that of most value first, with the composed one among them.

    Value is expected score minus ``price`` per 1,000 tokens.
    """
    evidence = [
        (run, float(cosine), weight)
        for run, cosine in zip(history.runs.values(), task.similarity, strict=True)
        if (weight := _relevance(run, float(cosine), task.cluster)) > 0
    ]
    average = _average(history, evidence)
    plans = {
        plan
        for run, _, _ in evidence
        for plan in [tuple(t.strategy for t in run.tried)]
        if allowed is None or set(plan) <= set(allowed)
    }
    found = [_measured(history, evidence, plan, average) for plan in sorted(plans)]
    recalled = [known.sequence(plan) for plan, known in found if not known.forgotten]
    composed = _compose(history, evidence, average, allowed, price)
    if composed is not None and tuple(composed["strategies"]) not in plans:
        recalled.append(composed)
    recalled.sort(key=lambda s: (s["tokens"] / 1000 * price - s["success"], len(s["strategies"])))
    return recalled


@dataclass(slots=True)
class _Known:
    """What outcomes say of a plan or a piece."""

    average: float
    weight: float = 0.0
    scores: float = 0.0
    tokens: float = 0.0
    similarity: float = 0.0
    runs: set[str] = field(default_factory=set)

    def add(self, run_id: str, score: float, tokens: int, similarity: float, weight: float) -> None:
        self.weight += weight
        self.scores += weight * score
        self.tokens += weight * tokens
        self.similarity += weight * max(0.0, similarity)
        self.runs.add(run_id)

    @property
    def success(self) -> float:
        """The mean of a Beta posterior whose prior is ``SHRINKAGE`` average outcomes."""
        return (SHRINKAGE * self.average + self.scores) / (SHRINKAGE + self.weight)

    @property
    def mean_tokens(self) -> float:
        return self.tokens / self.weight if self.weight else 0.0

    @property
    def forgotten(self) -> bool:
        too_little = self.weight < 1e-3  # faded: as if it had never been tried
        return too_little or (self.weight >= FORGET_WEIGHT and self.success < FORGET_BELOW)

    def sequence(self, plan: Sequence[str]) -> RecalledSequence:
        return RecalledSequence(
            strategies=list(plan),
            similarity=self.similarity / self.weight if self.weight else 0.0,
            success=self.success,
            runs=len(self.runs),
            tokens=self.mean_tokens,
            composed=False,
        )


def _relevance(run: Remembered, cosine: float, cluster: int | None) -> float:
    """How much a run counts for the task, 0 to 1."""
    near = cosine if cosine >= MINIMUM_SIMILARITY else 0.0
    same = cluster is not None and run.cluster == cluster
    return max(near, SAME_CLUSTER if same else 0.0)


def _average(history: History, evidence: _Evidence) -> float:
    """The mean score of all the attempts, which estimates are shrunk towards."""
    every = _Known(0.5)
    for run, _, relevance in evidence:
        for tried in run.tried:
            if tried.score is not None:
                weight = relevance * tried.weight * history.fading(tried.seq)
                every.add(run.run_id, tried.score, 0, 0.0, weight)
    return every.success


def _measured(
    history: History, evidence: _Evidence, plan: tuple[str, ...], average: float
) -> tuple[tuple[str, ...], _Known]:
    known = _Known(average)
    for run, cosine, relevance in evidence:
        went = run.tried[: len(plan)]
        if any(t.strategy != name for t, name in zip(went, plan, strict=False)):
            continue
        # Within the plan, the run's answer; beyond it, what the plan's last attempt gave.
        end = run.used if len(run.tried) <= len(plan) else went[-1]
        if end is not None and end.score is not None:
            weight = relevance * end.weight * history.fading(end.seq)
            known.add(run.run_id, end.score, sum(t.tokens for t in went), cosine, weight)
    return plan, known


# -- composing -------------------------------------------------------------------------------------


def _compose(
    history: History,
    evidence: _Evidence,
    average: float,
    allowed: Collection[str] | None,
    price: float,
) -> RecalledSequence | None:
    """Chains the strategies that worked: first the one of most value, then each time the one of
    most value behind an attempt of the former that was not accepted.

    What b is worth behind a is shrunk towards what b is worth anywhere. None when there is only one
    strategy to speak of.
    """
    pieces = _Pieces(history, evidence, average)
    usable = [
        name
        for name, known in sorted(pieces.alone.items())
        if not known.forgotten and (allowed is None or name in allowed)
    ]
    plan: list[str] = []
    while len(plan) < MOST_PIECES and (rest := [name for name in usable if name not in plan]):
        before = plan[-1] if plan else ""
        worth = {name: pieces.behind(before, name) for name in rest}
        best = max(rest, key=lambda name: worth[name].success - _price(pieces, name, price))
        if plan and worth[best].success < FORGET_BELOW:
            break
        plan.append(best)
    if len(plan) < 2:
        return None
    return pieces.chained(plan)


def _price(pieces: _Pieces, name: str, price: float) -> float:
    return pieces.alone[name].mean_tokens / 1000 * price


class _Pieces:
    """What every strategy is worth by itself, and behind every other one."""

    def __init__(self, history: History, evidence: _Evidence, average: float) -> None:
        self.alone: Mapping[str, _Known] = defaultdict(lambda: _Known(average))
        self._accepted: dict[str, _Known] = defaultdict(lambda: _Known(0.5))
        self._good: dict[str, _Known] = defaultdict(lambda: _Known(average))
        self._behind: dict[tuple[str, str], list[tuple[str, float, int, float, float]]]
        self._behind = defaultdict(list)
        for run, cosine, relevance in evidence:
            for before, tried in _steps(run.tried):
                if tried.score is None:
                    continue
                weight = relevance * tried.weight * history.fading(tried.seq)
                outcome = (run.run_id, tried.score, tried.tokens, cosine, weight)
                self.alone[tried.strategy].add(*outcome)
                self._accepted[tried.strategy].add(
                    run.run_id, float(tried.accepted), 0, 0.0, weight
                )
                if tried.accepted:
                    self._good[tried.strategy].add(*outcome)
                if before is not None:
                    self._behind[before.strategy, tried.strategy].append(outcome)

    def behind(self, before: str, name: str) -> _Known:
        """What ``name`` is worth when ``before`` was not accepted; empty: to begin with."""
        if not before:
            return self.alone[name]
        known = _Known(self.alone[name].success)
        for outcome in self._behind.get((before, name), ()):
            known.add(*outcome)
        return known

    def chained(self, plan: Sequence[str]) -> RecalledSequence:
        """The plan's expected score and cost: each step happens when none before was accepted."""
        success, reached, tokens = 0.0, 1.0, 0.0
        before = ""
        for last, name in _marked(plan):
            tokens += reached * self.alone[name].mean_tokens
            ends = 1.0 if last else self._accepted[name].success
            worth = self.behind(before, name) if last else self._good[name]
            success += reached * ends * worth.success
            reached *= 1.0 - ends
            before = name
        weight = sum(self.alone[name].weight for name in plan)
        return RecalledSequence(
            strategies=list(plan),
            similarity=sum(self.alone[name].similarity for name in plan) / max(weight, 1e-12),
            success=success,
            runs=len(set().union(*(self.alone[name].runs for name in plan))),
            tokens=tokens,
            composed=True,
        )


def _steps(tried: Sequence[Tried]) -> Iterator[tuple[Tried | None, Tried]]:
    """Every attempt with the one before it."""
    before: Tried | None = None
    for one in tried:
        yield before, one
        before = one


def _marked(plan: Sequence[str]) -> Iterable[tuple[bool, str]]:
    """Every step, and whether it is the last."""
    return ((i == len(plan) - 1, name) for i, name in enumerate(plan))
