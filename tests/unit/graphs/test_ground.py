"""Grounding: which facts a dream sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverie.graphs.context import Context
from reverie.graphs.ground import facts_for_branch, find_facts
from reverie.graphs.records import Fact
from reverie.knowledge.graph.triplet import Triplet
from reverie.settings import Settings
from tests.unit.conftest import ScriptedResources


def fact(number: int, result: str = "it falls") -> Fact:
    return {
        "id": str(number),
        "what": f"thing {number}",
        "action": "is dropped",
        "result": result,
        "similarity": 0.9 - number / 100,
        "source": "motif",
    }


FACTS = [fact(n) for n in range(6)]


def ids(facts: list[Fact]) -> list[int]:
    return [int(f["id"]) for f in facts]


async def found(tmp_path: Path, question: str, facts: list[Triplet], **context: float) -> list[str]:
    resources = ScriptedResources(Settings(home=tmp_path), facts=facts)
    try:
        facts_found = await find_facts(question, resources, Context(**context))  # type: ignore[arg-type]
    finally:
        await resources.close()
    return [f["what"] for f in facts_found]


NEAR = Triplet("alpha", "beta", "gamma delta")  # cosine .5 per two shared words of four
HALF = Triplet("alpha", "beta", "kappa omega")
FAR = Triplet("sigma", "theta", "lambda omicron")


@pytest.mark.parametrize(
    ("minimum", "number"),
    [(0.5, 1), (0.99, 1), (-1.0, 1)],
)
async def test_facts_much_worse_than_the_best_are_left_out(
    tmp_path: Path, minimum: float, number: int
) -> None:
    """Even when the threshold would let them in."""
    got = await found(tmp_path, "alpha beta gamma delta", [NEAR, HALF, FAR], min_similarity=minimum)

    assert got == ["alpha"] * number


async def test_below_the_threshold_nothing_is_found(tmp_path: Path) -> None:
    assert await found(tmp_path / "a", "alpha beta mu nu", [NEAR], min_similarity=0.8) == []
    assert await found(tmp_path / "b", "alpha beta mu nu", [], min_similarity=0.0) == []


async def test_no_facts_are_looked_up_when_none_are_wanted(tmp_path: Path) -> None:
    assert await found(tmp_path, "alpha beta gamma delta", [NEAR], max_facts=0) == []


async def test_at_most_twice_as_many_are_found_as_one_branch_sees(tmp_path: Path) -> None:
    many = [Triplet("alpha", "beta", f"gamma delta {n}") for n in range(9)]

    got = await found(tmp_path, "alpha beta gamma delta", many, max_facts=2, min_similarity=0.1)

    assert len(got) == 4


@pytest.mark.parametrize("branch", range(4))
def test_every_expert_sees_the_best_facts_the_best_last(branch: int) -> None:
    assert ids(facts_for_branch(FACTS, Context(), branch, seed=1)) == [2, 1, 0]


def test_further_branches_see_other_samples_but_always_the_best_fact() -> None:
    samples = [ids(facts_for_branch(FACTS, Context(), branch, seed=1)) for branch in range(4, 24)]

    assert all(sample[-1] == 0 for sample in samples)
    assert all(sample == sorted(sample, reverse=True) for sample in samples)
    assert {len(sample) for sample in samples} == {3}
    assert len({tuple(sample) for sample in samples}) > 3
    assert samples[0] == ids(facts_for_branch(FACTS, Context(), 4, seed=1))


def test_few_facts_are_the_same_for_all() -> None:
    assert ids(facts_for_branch(FACTS[:2], Context(), 5, seed=1)) == [1, 0]
    assert facts_for_branch([], Context(), 5, seed=1) == []


def test_facts_stay_within_their_tokens_the_best_first_in() -> None:
    long = [fact(n, result="it falls " * 20) for n in range(3)]

    assert ids(facts_for_branch(long, Context(fact_tokens=200), 0, seed=1)) == [1, 0]
    assert ids(facts_for_branch(long, Context(fact_tokens=80), 0, seed=1)) == [0]
    assert facts_for_branch(long, Context(fact_tokens=10), 0, seed=1) == []


def test_other_scripts_cost_more_tokens_per_character() -> None:
    latin = [fact(n, result="i" * 60) for n in range(3)]
    chinese = [fact(n, result="落" * 60) for n in range(3)]
    context = Context(fact_tokens=100)

    assert len(facts_for_branch(latin, context, 0, seed=1)) > len(
        facts_for_branch(chinese, context, 0, seed=1)
    )
