"""Personalised PageRank against the linear system that defines it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reverie.errors import ConfigError
from reverie.knowledge.graph.pagerank import WalkGraph, personalised_pagerank

Edges = list[tuple[int, int, float]]


def pagerank(edges: Edges, seeds: list[float], restart: float = 0.3, **more: Any) -> Any:
    starts, ends, weights = (np.array(c) for c in zip(*edges, strict=True)) if edges else [[]] * 3
    return personalised_pagerank(
        np.asarray(starts, dtype=np.int64),
        np.asarray(ends, dtype=np.int64),
        np.asarray(weights, dtype=np.float64),
        np.asarray(seeds, dtype=np.float64),
        restart=restart,
        **more,
    )


def solved(edges: Edges, seeds: list[float], restart: float) -> Any:
    """The stationary distribution, from the transition matrix written out."""
    number = len(seeds)
    adjacency = np.zeros((number, number))
    for a, b, weight in edges:
        adjacency[a, b] += weight
        if a != b:
            adjacency[b, a] += weight
    share = np.array(seeds) / sum(seeds)
    degrees = adjacency.sum(axis=1)
    steps = np.tile(share, (number, 1))  # from a node without edges it restarts
    linked = degrees > 0
    steps[linked] = (1 - restart) * adjacency[linked] / degrees[linked, None] + restart * share
    system = np.vstack([steps.T - np.eye(number), np.ones(number)])
    return np.linalg.lstsq(system, np.array([*np.zeros(number), 1.0]), rcond=None)[0]


@pytest.mark.parametrize("restart", [0.05, 0.3, 0.5, 1.0])
def test_it_is_the_solution_of_the_walk_s_equations(restart: float) -> None:
    random = np.random.default_rng(1)
    edges = [
        (int(a), int(b), float(w))
        for a, b, w in zip(
            random.integers(38, size=90),
            random.integers(38, size=90),
            random.random(90),
            strict=True,
        )
    ]  # with loops and several edges between two nodes; nodes 38 and 39 have none
    seeds = [*random.random(3), *np.zeros(36), 0.5]

    found = pagerank(edges, seeds, restart, tolerance=1e-12, most_steps=1000)

    np.testing.assert_allclose(found, solved(edges, seeds, restart), atol=1e-9)
    assert found.sum() == pytest.approx(1)


def test_more_of_it_goes_where_weights_are_higher() -> None:
    _, light, heavy = pagerank([(0, 1, 1.0), (0, 2, 3.0)], [1, 0, 0])

    assert heavy == pytest.approx(3 * light, rel=1e-4)


def test_what_cannot_be_reached_gets_nothing() -> None:
    found = pagerank([(0, 1, 1.0), (2, 3, 1.0)], [1, 0, 0, 0])

    assert found[0] > found[1] > 0
    assert found[2] == found[3] == 0


def test_without_edges_it_stays_at_the_seeds() -> None:
    np.testing.assert_allclose(pagerank([], [1, 3]), [0.25, 0.75])
    np.testing.assert_allclose(pagerank([(0, 1, 0.0)], [1, 3]), [0.25, 0.75])


def test_few_steps_still_sum_to_one() -> None:
    assert pagerank([(0, 1, 1.0), (1, 2, 1.0)], [1, 0, 0], most_steps=1).sum() == pytest.approx(1)


def test_one_graph_serves_several_walks() -> None:
    graph = WalkGraph(np.array([0, 1]), np.array([1, 2]), np.ones(2), 3)

    first = graph.pagerank(np.array([1.0, 0, 0]), restart=0.3)
    graph.pagerank(np.array([0, 0, 1.0]), restart=0.5)

    np.testing.assert_array_equal(first, graph.pagerank(np.array([1.0, 0, 0]), restart=0.3))
    np.testing.assert_array_equal(first, pagerank([(0, 1, 1), (1, 2, 1)], [1, 0, 0]))


@pytest.mark.parametrize(
    ("edges", "seeds", "restart", "said"),
    [
        ([(0, 1, 1.0)], [1, 0], 0.0, "probability"),
        ([(0, 1, 1.0)], [1, 0], 1.5, "probability"),
        ([(0, 1, 1.0)], [0, 0], 0.5, "No weight"),
        ([(0, 1, 1.0)], [-1, 2], 0.5, "to restart"),
        ([(0, 1, 1.0)], [float("nan"), 2], 0.5, "to restart"),
        ([(0, 1, -1.0)], [1, 0], 0.5, "of edges"),
        ([(0, 2, 1.0)], [1, 0], 0.5, "none of the 2 nodes"),
        ([(-1, 1, 1.0)], [1, 0], 0.5, "none of the 2 nodes"),
    ],
)
def test_what_cannot_be_is_refused(
    edges: Edges, seeds: list[float], restart: float, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        pagerank(edges, seeds, restart)
