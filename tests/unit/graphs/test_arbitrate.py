"""Arbitration: every number is kept, and ties and doubt have rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from reverie.graphs.arbitrate import WEIGHTS, arbitrate
from reverie.graphs.budget import NO_USAGE
from reverie.graphs.records import Dream, Fact, Verdict

FACT: Fact = {
    "id": "1",
    "what": "a ball",
    "action": "is dropped",
    "result": "it falls",
    "similarity": 0.9,
    "source": "motif",
}


class Angles:
    """Embeds a text that is a number of degrees as that direction; a fact lies at 0."""

    name = "angles"
    dimension = 2

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        turns = [0.0 if "," in text else np.deg2rad(float(text)) for text in texts]
        return np.array([[np.cos(t), np.sin(t)] for t in turns], dtype=np.float32)


def dream(branch: int, answer: str, confidence: float | None = 0.8) -> Dream:
    return {
        "branch": branch,
        "expert": "causal",
        "status": "ok" if answer else "failed",
        "answer": answer,
        "triplets": [],
        "confidence": confidence,
        "usage": NO_USAGE.copy(),
        "error": "" if answer else "cut off",
    }


async def judge(
    *dreams: Dream, facts: Sequence[Fact] = (FACT,), abstain_below: float = 0.0
) -> Verdict:
    return await arbitrate(dreams, facts, Angles(), abstain_below=abstain_below)


def cosine(degrees: float) -> float:
    return float(np.cos(np.deg2rad(degrees)))


async def test_every_scorers_number_is_kept_for_every_candidate() -> None:
    verdict = await judge(dream(0, "60", 0.5), dream(1, "0", 0.9), dream(2, ""))

    assert verdict["winner"] == 1
    assert verdict["weights"] == WEIGHTS
    assert [c["branch"] for c in verdict["candidates"]] == [0, 1]
    first, second = (c["scores"] for c in verdict["candidates"])
    assert first == pytest.approx({"grounding": 0.5, "confidence": 0.5, "agreement": 0.5})
    assert second == pytest.approx({"grounding": 1.0, "confidence": 0.9, "agreement": 0.5})
    assert verdict["candidates"][1]["total"] == pytest.approx(0.5 * 1 + 0.4 * 0.9 + 0.1 * 0.5)
    assert verdict["why"].startswith("dream 2 scores 0.91 (grounding 1.00, confidence 0.90")
    assert not verdict["abstained"]


async def test_scorers_with_nothing_to_judge_by_are_left_out_of_the_mean() -> None:
    verdict = await judge(dream(0, "0", None), dream(1, "60", 0.7), facts=())

    first, second = verdict["candidates"]
    assert first["scores"] == {
        "grounding": None,
        "confidence": None,
        "agreement": pytest.approx(0.5),
    }
    assert first["total"] == pytest.approx(0.5)
    assert second["total"] == pytest.approx((0.4 * 0.7 + 0.1 * 0.5) / 0.5)


async def test_a_single_dream_without_facts_or_confidence_has_nothing_for_it() -> None:
    verdict = await judge(dream(0, "0", None), facts=(), abstain_below=0.2)

    assert verdict["candidates"][0]["scores"] == dict.fromkeys(WEIGHTS)
    assert verdict["candidates"][0]["total"] == 0.0
    assert verdict["abstained"]


async def test_an_opposite_answer_scores_no_less_than_nothing() -> None:
    verdict = await judge(dream(0, "0"), dream(1, "180"))

    assert verdict["candidates"][1]["scores"]["grounding"] == 0.0
    assert verdict["candidates"][1]["scores"]["agreement"] == 0.0


async def test_equal_totals_go_to_grounding_then_to_the_lower_branch() -> None:
    # grounding .5 less costs .25; confidence .625 more brings it back.
    tied = await judge(dream(0, "60", 0.925), dream(1, "0", 0.3))
    assert [c["total"] for c in tied["candidates"]] == pytest.approx([0.67, 0.67])
    assert tied["winner"] == 1

    assert (await judge(dream(3, "0"), dream(1, "0")))["winner"] == 1


async def test_below_the_threshold_it_abstains_and_says_why() -> None:
    verdict = await judge(dream(0, "80", 0.1), dream(1, "85", 0.1), abstain_below=0.5)

    assert verdict["abstained"]
    assert verdict["winner"] is None
    assert len(verdict["candidates"]) == 2
    assert "below 0.5" in verdict["why"]


async def test_those_who_say_something_else_than_the_winner_dissent() -> None:
    verdict = await judge(dream(0, "0"), dream(1, "50"), dream(2, "60"), dream(3, "180"))

    assert cosine(50) > 0.6 > cosine(60)
    assert verdict["winner"] == 0
    assert verdict["dissent"] == [2, 3]


async def test_when_all_failed_there_is_nothing_to_choose() -> None:
    verdict = await judge(dream(0, ""), dream(1, ""))

    assert verdict["abstained"]
    assert verdict["candidates"] == []
    assert verdict["why"] == "none of the 2 dreams came to an answer"
