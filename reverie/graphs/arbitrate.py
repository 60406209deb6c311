"""Arbitration: which dream to believe, with every number that says so.

Scorers are functions of all candidates and the evidence that give each candidate a score from 0 to
1, or None where they have nothing to judge by. The total is their weighted mean over those that
judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reverie.graphs.records import CandidateScores, Dream, Fact, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.models.embedder import Embedder

WEIGHTS: Mapping[str, float] = {"grounding": 0.5, "confidence": 0.4, "agreement": 0.1}
"""Grounding judges best; agreement between the answers of one small model says least."""

_DISSENT_BELOW = 0.6
"""Cosine similarity to the winner's answer below which a dream says something else."""


async def arbitrate(
    dreams: Sequence[Dream],
    facts: Sequence[Fact],
    embedder: Embedder,
    *,
    abstain_below: float,
) -> Verdict:
    """Judge the dreams that succeeded. Ties go to grounding, then confidence, then the lower
    branch; the verdict abstains when the best total is below ``abstain_below``.
    """
    candidates = [d for d in dreams if d["status"] == "ok"]
    if not candidates:
        return _verdict(None, [], [], f"none of the {len(dreams)} dreams came to an answer")
    vectors = await embedder.embed(
        [d["answer"] for d in candidates]
        + [f"{f['what']} {f['action']}, {f['result']}" for f in facts]
    )
    answers, evidence = vectors[: len(candidates)], vectors[len(candidates) :]
    judged = {
        "grounding": grounding(answers, evidence),
        "confidence": [d["confidence"] for d in candidates],
        "agreement": agreement(answers),
    }
    scored = [
        _scores(dream, {name: values[i] for name, values in judged.items()})
        for i, dream in enumerate(candidates)
    ]
    best = max(range(len(scored)), key=lambda i: _rank(scored[i]))
    if scored[best]["total"] < abstain_below:
        why = f"the best dream scores {scored[best]['total']:.2f}, below {abstain_below:g}"
        return _verdict(None, scored, [], why)
    dissent = [
        d["branch"]
        for i, d in enumerate(candidates)
        if float(answers[i] @ answers[best]) < _DISSENT_BELOW
    ]
    return _verdict(candidates[best]["branch"], scored, dissent, _why(scored, best))


def grounding(answers: NDArray[np.float32], evidence: NDArray[np.float32]) -> list[float | None]:
    """Each answer's ``[N, D]`` cosine similarity to the fact ``[M, D]`` nearest to it."""
    if not len(evidence):
        return [None] * len(answers)
    return [float(max(0.0, best)) for best in (answers @ evidence.T).max(axis=1)]


def agreement(answers: NDArray[np.float32]) -> list[float | None]:
    """Each answer's ``[N, D]`` mean cosine similarity to the others; None for a single one."""
    n = len(answers)
    if n < 2:
        return [None] * n
    similar = answers @ answers.T
    return [float(max(0.0, (similar[i].sum() - similar[i, i]) / (n - 1))) for i in range(n)]


def _scores(dream: Dream, scores: dict[str, float | None]) -> CandidateScores:
    given = {name: value for name, value in scores.items() if value is not None}
    weight = sum(WEIGHTS[name] for name in given)
    total = sum(WEIGHTS[name] * value for name, value in given.items()) / weight if weight else 0.0
    return {
        "branch": dream["branch"],
        "label": dream["expert"],
        "scores": scores,
        "total": total,
    }


def _rank(candidate: CandidateScores) -> tuple[float, float, float, int]:
    scores = candidate["scores"]
    return (
        round(candidate["total"], 6),
        scores["grounding"] or 0.0,
        scores["confidence"] or 0.0,
        -candidate["branch"],
    )


def _why(scored: Sequence[CandidateScores], best: int) -> str:
    winner = scored[best]
    parts = ", ".join(
        f"{name} {value:.2f}" for name, value in winner["scores"].items() if value is not None
    )
    others = [c["total"] for i, c in enumerate(scored) if i != best]
    lead = f", {winner['total'] - max(others):.2f} ahead of the next" if others else ""
    return f"dream {winner['branch'] + 1} scores {winner['total']:.2f} ({parts}){lead}"


def _verdict(
    winner: int | None, candidates: list[CandidateScores], dissent: list[int], why: str
) -> Verdict:
    return {
        "winner": winner,
        "candidates": candidates,
        "weights": dict(WEIGHTS),
        "dissent": dissent,
        "abstained": winner is None,
        "why": why,
    }
