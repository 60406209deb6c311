"""Memories that say the same in other words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    small changes does not end in one group.
    """
    import numpy as np

    groups: list[list[int]] = []
    taken: set[int] = set()
    for start in range(0, len(seqs), _BLOCK):
        cosines = matrix[start : start + _BLOCK] @ matrix.T
        for offset, row in enumerate(cosines):
            first = int(seqs[start + offset])
            if first in taken or first not in episodes:
                continue
            others = [int(seqs[i]) for i in np.flatnonzero(row >= above) if i > start + offset]
            group = [first, *_same(episodes, first, [o for o in others if o not in taken])]
            if len(group) > 1:
                groups.append(group)
                taken.update(group)
    return groups


def _same(episodes: Mapping[int, Episode], first: int, others: Sequence[int]) -> list[int]:
    one = episodes[first]
    words = changed_words(one.text)
    return [
        other
        for other in others
        if other in episodes
        and episodes[other].kind == one.kind
        and changed_words(episodes[other].text) == words
    ]
