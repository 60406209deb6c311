"""Reciprocal rank fusion, by hand."""

from __future__ import annotations

import pytest

from reverie.knowledge.search.fusion import fuse
from reverie.knowledge.search.records import Place, Ranked


def ranked(*ids: str) -> list[Ranked]:
    return [Ranked(text, 10.0 - place) for place, text in enumerate(ids)]


def test_scores_are_the_sums_of_the_reciprocal_ranks() -> None:
    fused = fuse({"x": ranked("a", "b"), "y": ranked("b", "c")}, {})

    assert [one.id for one in fused] == ["b", "a", "c"]
    assert fused[0].score == pytest.approx(1 / 62 + 1 / 61)
    assert fused[1].score == pytest.approx(1 / 61)
    assert fused[0].places == (Place("x", 2, 9.0), Place("y", 1, 10.0))


def test_weights_and_k_count() -> None:
    fused = fuse({"x": ranked("a", "b"), "y": ranked("b")}, {"x": 3.0, "y": 0.5}, k=1)

    assert [(one.id, one.score) for one in fused] == [
        ("a", pytest.approx(3 / 2)),
        ("b", pytest.approx(3 / 3 + 0.5 / 2)),
    ]


def test_a_list_of_weight_zero_is_left_out() -> None:
    assert [one.id for one in fuse({"x": ranked("a"), "y": ranked("b")}, {"x": 0.0})] == ["b"]


def test_a_text_that_a_list_has_twice_counts_once_where_it_stands_best() -> None:
    fused = fuse({"x": ranked("a", "a", "b", "a")}, {})

    assert [(one.id, one.places[0].rank) for one in fused] == [("a", 1), ("b", 2)]
    assert fused[0].score == pytest.approx(1 / 61)
    assert fused[0].places[0].score == 10.0


def test_equal_scores_are_ordered_by_best_rank_then_id() -> None:
    assert [one.id for one in fuse({"x": ranked("b"), "y": ranked("a")}, {})] == ["a", "b"]
    # 1/61 is the sum of 1/122 and 1/122: a rank of 1 goes before two of 62.
    low = [f"x{place}" for place in range(61)]
    fused = fuse({"x": ranked("z"), "y": ranked(*low, "a"), "w": ranked(*low[:61], "a")}, {"y": 1})
    scores = {one.id: one.score for one in fused}
    assert scores["z"] == pytest.approx(scores["a"])


def test_nothing_fused_is_nothing() -> None:
    assert fuse({}, {}) == []
    assert fuse({"x": []}, {}) == []
