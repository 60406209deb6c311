"""How much of what a run has left each strategy of a sequence is given.

A strategy is worth its expected gain, if it comes to be tried (all before it have failed by then)
and if its tokens suffice. Costs are known by mean and spread: the mean suffices for about half of
the questions, one spread more for five in six. So what is left is given away in pieces, each as
large as a mean or a spread:

1. The first strategy gets its mean cost: nothing that may come later starves what is tried now.
2. The other pieces follow by value per token, as long as there is room: a mean whole or not at all,
   since half a strategy answers nothing; a spread as far as there is room.
3. What nobody needs goes to the first as well. A share is a limit, not a price: what the attempt
   does not spend is there again for the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reverie.graphs.records import Limits

_WITHIN_MEAN = 0.5
_WITHIN_SPREAD = 0.34
"""The share of costs up to the mean, and from there to one standard deviation above it: those of a
normal distribution.
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A strategy of the sequence: what it takes in tokens, and how likely it is to be right."""

    strategy: str
    cost: float
    """Mean, in tokens."""
    spread: float
    """Standard deviation, in tokens; 0: it always takes the same."""
    gain: float
    """Expected score, 0 to 1."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Tokens of one strategy that go together, and what each of them is worth."""

    place: int
    tokens: int
    worth: float
    base: bool
    """A mean cost; otherwise a spread."""

    @property
    def rank(self) -> tuple[float, int, bool]:
        """The smaller, the sooner. With equal worth, what is tried sooner, and its mean first."""
        return (-self.worth, self.place, not self.base)


def allocate(planned: Sequence[Planned], left: Limits, *, keep: int = 0) -> list[int]:
    """The tokens for each strategy of ``planned``, which are tried in order until one is accepted.
    ``keep`` is what must be left when all have ended.

    Never more in sum than ``left`` has beside ``keep``. The first gets at least its mean cost when
    that is there, and a higher gain never lowers a strategy's own share.
    """
    room = max(0, left["tokens"] - keep)
    if not planned:
        return []
    shares = [0] * len(planned)
    first, *later = _pieces(planned)
    rest = room - min(room, first.tokens)
    for piece in sorted(later, key=lambda piece: piece.rank):
        if piece.worth <= 0:
            continue
        if piece.base:
            given = piece.tokens if piece.tokens <= rest else 0
        elif piece.place == 0 or shares[piece.place]:
            given = min(piece.tokens, rest)
        else:
            given = 0
        shares[piece.place] += given
        rest -= given
    shares[0] = room - sum(shares[1:])
    return shares


def _pieces(planned: Sequence[Planned]) -> list[_Piece]:
    pieces: list[_Piece] = []
    reached = 1.0
    for place, one in enumerate(planned):
        gain = min(1.0, max(0.0, one.gain))
        mean, spread = max(1, _whole(one.cost)), _whole(one.spread)
        certain = 1.0 if spread == 0 else _WITHIN_MEAN
        base = _Piece(place, mean, reached * gain * certain / mean, base=True)
        # A spread without its mean is of no use, so it is never worth more a token.
        worth = min(base.worth, reached * gain * _WITHIN_SPREAD / max(1, spread))
        pieces += (base, _Piece(place, spread, worth, base=False))
        reached *= 1.0 - gain
    return pieces


def _whole(tokens: float) -> int:
    return math.ceil(max(0.0, tokens))
