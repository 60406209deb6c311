"""A weighted vote over answers, and when it is settled (Wang et al. 2022, arXiv 2203.11171).

Each sample votes for its answer with its confidence, from 0 to 1, as weight; every vote weighs 1
where some sample has none. The vote is settled once no vote that is still out, however sure, could
change who wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reverie.errors import ReverieError
from reverie.graphs.attempt import answered
from reverie.graphs.records import Attempt, CandidateScores, Sample, Verdict
from reverie.graphs.same_answer import grouped, groups
from reverie.graphs.sample import Written, none_answered

if TYPE_CHECKING:
    from reverie.graphs.resources import Resources
    from reverie.graphs.step import Step

FULL = 1.0
"""The most that one vote can weigh."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes so far: samples that answered, the group each votes for, and what it weighs."""

    samples: tuple[Sample, ...]
    groups: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def totals(self) -> list[float]:
        """The weight of each group."""
        totals = [0.0] * (max(self.groups, default=-1) + 1)
        for group, weight in zip(self.groups, self.weights, strict=True):
            totals[group] += weight
        return totals

    def share(self, group: int) -> float:
        """A group's part of all weight, 0 to 1."""
        whole = sum(self.weights)
        return self.totals[group] / whole if whole else 0.0

    @property
    def leader(self) -> int | None:
        """The group that is ahead: by weight, then by votes, then by the surest vote, then by the
        lowest branch. None without votes.
        """
        if not self.samples:
            return None
        return max(range(len(self.totals)), key=self._rank)

    @property
    def lead(self) -> float:
        """How much heavier the leader is than the next group."""
        totals = sorted(self.totals, reverse=True)
        return totals[0] - (totals[1] if len(totals) > 1 else 0.0) if totals else 0.0

    def speaker(self, group: int) -> Sample:
        """Whose words stand for a group: the surest sample's, the earliest of equals."""
        members = self.members(group)
        return max(members, key=lambda s: (_of(s["confidence"]), -s["branch"]))

    def members(self, group: int) -> list[Sample]:
        """The samples that vote for a group."""
        return [s for s, g in zip(self.samples, self.groups, strict=True) if g == group]

    def _rank(self, group: int) -> tuple[float, int, float, int]:
        members = self.members(group)
        surest = max(_of(s["confidence"]) for s in members)
        first = min(s["branch"] for s in members)
        return round(self.totals[group], 9), len(members), surest, -first


async def poll(
    resources: Resources, question: str, samples: Sequence[Sample]
) -> tuple[Tally, list[str]]:
    """The vote of ``samples`` that answered, and a notice where sentences could not be compared."""
    answers = [s["answer"] for s in samples]
    try:
        return tally_of(samples, await grouped(answers, question, resources.embedder)), []
    except ReverieError as error:
        notice = f"similar sentences count as different answers: {error.message}"
        return tally_of(samples, groups(answers, question)), [notice]


def tally_of(samples: Sequence[Sample], groups: Sequence[int]) -> Tally:
    """The vote of ``samples`` that answered, each for its group of ``groups``."""
    known = all(s["confidence"] is not None for s in samples)
    weights = [_of(s["confidence"]) if known else FULL for s in samples]
    if not any(weights):  # a model that is sure of nothing votes all the same
        weights = [FULL] * len(weights)
    return Tally(tuple(samples), tuple(groups), tuple(weights))


def settled(tally: Tally, left: int) -> bool:
    """Whether the ``left`` votes that are still out cannot change who wins."""
    return left == 0 or tally.lead > left * FULL


def next_wave(tally: Tally, left: int) -> int:
    """The fewest of the ``left`` votes that can settle it: all of them for the leader, and sure."""
    for size in range(1, left):
        if tally.lead + size * FULL > (left - size) * FULL:
            return size
    return left


def verdict_of(tally: Tally, *, out: int = 0, scores: str = "vote") -> Verdict:
    """What the vote came to. ``out`` votes were never cast because it was settled before;
    ``scores`` is what each candidate's total is called.
    """
    leader = tally.leader
    if leader is None:
        return {
            "winner": None,
            "candidates": [],
            "weights": {},
            "dissent": [],
            "abstained": True,
            "why": "none of the samples came to an answer",
        }
    voted = list(zip(tally.samples, tally.groups, strict=True))
    candidates: list[CandidateScores] = [
        {
            "branch": sample["branch"],
            "label": sample["label"],
            "scores": {scores: tally.share(group), "confidence": sample["confidence"]},
            "total": tally.share(group),
        }
        for sample, group in voted
    ]
    return {
        "winner": tally.speaker(leader)["branch"],
        "candidates": candidates,
        "weights": {scores: 1.0},
        "dissent": [sample["branch"] for sample, group in voted if group != leader],
        "abstained": False,
        "why": _why(tally, leader, out),
    }


def elected(
    strategy: str, step: Step, written: Sequence[Written], tally: Tally, *, out: int = 0
) -> Attempt:
    """The attempt that the vote comes to, with the verdict on it, which is also streamed. ``out``
    votes were never cast because it was settled before.
    """
    leader = tally.leader
    if leader is None:
        return none_answered(strategy, written)
    verdict = verdict_of(tally, out=out)
    step.write({"type": "verdict", "verdict": verdict})
    won = next(w for w in written if w["sample"]["branch"] == verdict["winner"])
    agreement = tally.share(leader) if len(tally.samples) > 1 else None
    attempt = answered(
        strategy, won["sample"]["answer"], {**won["signals"], "agreement": agreement}
    )
    attempt["samples"], attempt["verdict"] = [w["sample"] for w in written], verdict
    return attempt


def _why(tally: Tally, leader: int, out: int) -> str:
    votes, all_ = len(tally.members(leader)), len(tally.samples)
    why = f"{votes} of {all_} say the same, with {tally.share(leader):.0%} of the weight"
    best = tally.totals[leader]
    if sum(round(total - best, 9) == 0 for total in tally.totals) > 1:
        why += "; a tie, which the surer answer wins"
    if out:
        why += f"; the {out} still out could not change that"
    return why


def _of(confidence: float | None) -> float:
    return min(1.0, max(0.0, confidence or 0.0))
