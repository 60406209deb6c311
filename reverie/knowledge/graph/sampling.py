"""Drawing a connected part of a graph, edge by edge, within a budget."""

from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from reverie.knowledge.graph.records import CAUSES, Edge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BYTES_PER_TOKEN = 3
"""Of UTF-8: tokenizers made for English split other scripts into almost single characters."""
_MOST_REFUSED = 64
"""Lines too long for what is left, after which no shorter one is sought."""
_SHORTEST_LINE = 5
"""Tokens."""


def edge_line(edge: Edge) -> str:
    """An edge as a line of a prompt. Its labels are filled in, as stores return it."""
    said = edge.text if edge.relation == CAUSES else f"{edge.relation} {edge.text}".rstrip()
    return f"- {edge.start_label or edge.start} -> {said} -> {edge.end_label or edge.end}\n"


def line_tokens(edge: Edge) -> int:
    """About how many tokens ``edge_line`` costs."""
    return math.ceil(len(edge_line(edge).encode("utf-8", "replace")) / _BYTES_PER_TOKEN)


class Budget:
    """What may be spent on lines."""

    def __init__(self, tokens: int) -> None:
        self._left = tokens
        self._refused = 0

    def take(self, edge: Edge) -> bool | None:
        """Whether the edge's line is still within it; None when trying more is of no use."""
        cost = line_tokens(edge)
        if cost <= self._left:
            self._left -= cost
            return True
        self._refused += 1
        return None if self._refused > _MOST_REFUSED or self._left < _SHORTEST_LINE else False


def passing(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    weights: NDArray[np.float64],
    visits: NDArray[np.float64],
) -> NDArray[np.float64]:
    """How often a walk passes over each of E edges, [E], when it spends ``visits`` [N] at nodes.

    At a node it takes one of the node's edges by weight, so over an edge go shares of both ends.
    """
    import numpy as np

    number = len(visits)
    loops = starts == ends
    degrees = np.bincount(starts, weights, number)
    degrees += np.bincount(ends, np.where(loops, 0.0, weights), number)
    leaving = np.divide(visits, degrees, out=np.zeros(number), where=degrees > 0)
    both: NDArray[np.float64] = weights * (leaving[starts] + np.where(loops, 0.0, leaving[ends]))
    return both


def draw(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    shares: NDArray[np.float64],
    roots: Sequence[int],
    *,
    seed: int,
    take: Callable[[int], bool | None],
) -> list[int]:
    """Edges by position, in the order they were drawn: what is drawn hangs together with ``roots``.

    Of the edges that touch a node reached so far, one is drawn with a probability proportional to
    its share (``shares`` [E]); ``take`` says whether it is kept, and only then its ends are
    reached; when it says None, that was the last one. None is drawn twice. Every edge gets an
    exponential clock of its share as rate when it is first touched, and the clock that runs out
    first is drawn, which is the same as drawing by share each time (Efraimidis and Spirakis 2006,
    "Weighted random sampling with a reservoir").
    The same arguments draw the same.
    """
    # A number for every edge by its position: what is drawn depends on nothing else.
    numbers = random.Random(seed)  # noqa: S311  # sampling, no secret
    spans = [-math.log(1.0 - numbers.random()) for _ in range(len(starts))]
    begins, finishes, rates = starts.tolist(), ends.tolist(), shares.tolist()
    touching = _touching(begins, finishes)
    clocks: list[tuple[float, int]] = []
    started = [rate <= 0 for rate in rates]
    reached: set[int] = set()

    def reach(node: int, now: float) -> None:
        if node in reached:
            return
        reached.add(node)
        for edge in touching.get(node, ()):
            if not started[edge]:
                started[edge] = True
                heapq.heappush(clocks, (now + spans[edge] / rates[edge], edge))

    for root in roots:
        reach(root, 0.0)
    drawn: list[int] = []
    while clocks:
        now, edge = heapq.heappop(clocks)
        if (taken := take(edge)) is None:
            break
        if taken:
            drawn.append(edge)
            reach(begins[edge], now)
            reach(finishes[edge], now)
    return drawn


def _touching(starts: Sequence[int], ends: Sequence[int]) -> dict[int, list[int]]:
    """By node, the edges that begin or end there."""
    touching: defaultdict[int, list[int]] = defaultdict(list)
    for edge, (start, end) in enumerate(zip(starts, ends, strict=True)):
        touching[start].append(edge)
        if end != start:
            touching[end].append(edge)
    return touching
