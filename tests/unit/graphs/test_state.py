"""Merging what parallel branches write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reverie.graphs.budget import NO_USAGE
from reverie.graphs.records import Dream
from reverie.graphs.state import merge_dreams, merge_notices


def dream(branch: int, answer: str = "") -> Dream:
    return {
        "branch": branch,
        "expert": "causal",
        "status": "ok",
        "answer": answer,
        "triplets": [],
        "confidence": None,
        "usage": NO_USAGE.copy(),
        "error": "",
    }


@given(st.permutations(range(6)), st.integers(0, 6))
def test_dreams_are_in_the_order_of_their_branches_however_they_arrive(
    arrival: list[int], cut: int
) -> None:
    dreams = [dream(branch) for branch in arrival]

    merged = merge_dreams(merge_dreams([], dreams[:cut]), dreams[cut:])

    assert [d["branch"] for d in merged] == sorted(arrival)
    assert merge_dreams(merged, merged) == merged


def test_a_branch_that_is_run_again_replaces_its_dream() -> None:
    assert merge_dreams([dream(0, "old"), dream(1)], [dream(0, "new")]) == [
        dream(0, "new"),
        dream(1),
    ]


def test_notices_are_told_once_in_their_order() -> None:
    assert merge_notices(["b", "a"], ["a", "c"]) == ["b", "a", "c"]
