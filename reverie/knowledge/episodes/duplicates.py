"""Memories that say the same in other words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from reverie.knowledge.episodes.episode import Episode
from reverie.knowledge.episodes.file import changed_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MERGE_ABOVE: Final = 0.95
"""Cosine from which two memories are taken to say the same."""

_BLOCK = 512
"""Rows compared at once: bounds the table of cosines."""


def near_duplicates(
    seqs: NDArray[np.int64],
    matrix: NDArray[np.float32],
    episodes: Mapping[int, Episode],
    above: float,
) -> list[list[int]]:
    """Groups of memories that say the same, by ``seq`` [N]; ``matrix`` [N, D] holds their vectors.

    Each group is around its oldest memory: every other one is similar to that one, so a chain of
    small changes does not end in one group. Only memories of one kind with the same numbers and
    negations are compared.
    """
    import numpy as np

    alike: dict[tuple[str, frozenset[tuple[str, int]]], list[int]] = {}
    for row, seq in enumerate(seqs.tolist()):
        if (episode := episodes.get(seq)) is not None:
            words = frozenset(changed_words(episode.text).items())
            alike.setdefault((episode.kind, words), []).append(row)
    groups: list[list[int]] = []
    for rows in map(np.array, alike.values()):
        groups += [seqs[rows[group]].tolist() for group in _similar(matrix[rows], above)]
    return groups


def _similar(matrix: NDArray[np.float32], above: float) -> Iterator[NDArray[np.int64]]:
    """Rows that are similar to the first of them, two or more, each row once at most."""
    import numpy as np

    taken = np.zeros(len(matrix), dtype=np.bool_)
    for start in range(0, len(matrix), _BLOCK):
        cosines = matrix[start : start + _BLOCK] @ matrix.T
        for row, similar in enumerate(cosines >= above, start):
            if not taken[row]:
                taken[row] = True
                others = np.flatnonzero(similar & ~taken)
                others = others[others > row]
                taken[others] = True
                if len(others):
                    yield np.concatenate(([row], others))
