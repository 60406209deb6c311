"""Drawing a connected part of a graph within a budget."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.knowledge.graph.pagerank import personalised_pagerank
from reverie.knowledge.graph.records import CAUSES, Edge
from reverie.knowledge.graph.sampling import Budget, draw, edge_line, line_tokens, passing

FALLS = Edge("ball", CAUSES, "it falls", text="is dropped", start_label="a ball")


def test_a_triplet_s_line_is_what_happens_and_another_edge_s_its_relation() -> None:
    assert edge_line(FALLS) == "- a ball -> is dropped -> it falls\n"
    linked = Edge("a.md", "links_to", "b.md", text="see there")
    assert edge_line(linked) == "- a.md -> links_to see there -> b.md\n"
    assert line_tokens(FALLS) == 12  # 35 bytes, three to a token


def test_a_budget_is_never_overspent_and_gives_up_in_the_end() -> None:
    budget = Budget(30)
    long = Edge("a", CAUSES, "b", text="x" * 300)
    assert [budget.take(edge) for edge in (FALLS, long, FALLS, FALLS)] == [True, False, True, False]
    assert None in [budget.take(long) for _ in range(100)]
    assert Budget(0).take(FALLS) is None


def test_shares_of_edges_sum_to_the_time_spent_at_nodes_that_have_some() -> None:
    starts, ends = np.array([0, 0, 1, 2]), np.array([1, 2, 2, 2])  # the last one is a loop
    weights = np.array([1.0, 2.0, 1.0, 3.0])
    visits = personalised_pagerank(starts, ends, weights, np.array([1.0, 0, 0, 1]), restart=0.5)

    shares = passing(starts, ends, weights, visits)

    assert shares.sum() == pytest.approx(visits[:3].sum())
    assert (shares > 0).all()


def test_likelier_edges_are_drawn_first_as_often_as_their_share() -> None:
    starts, ends = np.zeros(3, dtype=np.int64), np.array([1, 2, 3])
    shares = np.array([0.6, 0.3, 0.1])

    first = Counter(
        draw(starts, ends, shares, [0], seed=seed, take=lambda _: True)[0] for seed in range(3000)
    )

    # Three standard errors of a share of .6 over 3,000 draws are .027.
    assert [first[edge] / 3000 for edge in range(3)] == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=15),
    st.integers(0, 1000),
    st.sets(st.integers(0, 14)),
)
def test_what_is_drawn_hangs_together_and_comes_once(
    edges: list[tuple[int, int]], seed: int, refused: set[int]
) -> None:
    starts = np.array([start for start, _ in edges], dtype=np.int64)
    ends = np.array([end for _, end in edges], dtype=np.int64)
    shares = np.ones(len(edges))

    def drawn() -> list[int]:
        return draw(starts, ends, shares, [0], seed=seed, take=lambda edge: edge not in refused)

    found = drawn()
    assert found == drawn()
    assert len(set(found)) == len(found)
    assert not refused & set(found)
    reached = {0}
    for edge in found:
        assert reached & set(edges[edge])
        reached |= set(edges[edge])
    touching = {n for n, edge in enumerate(edges) if reached & set(edge)}
    assert touching - refused == set(found)
