"""Text of a reply that is held back for a while, and the tokens that it is made of."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Literal

from reverie.models.wire.piece import TokenLogprob


class HeldText:
    """Text that comes in at one end and is taken out at the other, each token with its text.

    A token that lies across the place where the text is parted goes with its ``first`` character
    or with its ``last`` one.
    """

    __slots__ = ("_by_last", "_taken", "_tokens", "text")

    def __init__(self, goes_with: Literal["first", "last"]) -> None:
        self.text = ""
        self._by_last = goes_with == "last"
        self._taken = 0  # characters, from the beginning of the reply
        self._tokens: deque[tuple[int, TokenLogprob]] = deque()  # where it goes by, and the token

    def add(self, text: str, tokens: Sequence[TokenLogprob]) -> None:
        """Append the text of a piece and its tokens."""
        if tokens:
            self._place(text, tokens)
        self.text += text

    def take(self, length: int) -> tuple[str, list[TokenLogprob]]:
        """The first ``length`` characters and their tokens."""
        text, self.text = self.text[:length], self.text[length:]
        self._taken += len(text)
        return text, self._tokens_before(self._taken)

    def rest(self) -> tuple[str, list[TokenLogprob]]:
        """Everything that is left."""
        text, tokens = self.take(len(self.text))
        tokens += [token for _, token in self._tokens]  # of no character
        self._tokens.clear()
        return text, tokens

    def _place(self, text: str, tokens: Sequence[TokenLogprob]) -> None:
        lengths = [len(token.token) for token in tokens]
        whole = sum(lengths)
        # Tokens that are no text of their own (bytes of a character, special ones) make them longer
        # or shorter than the text is: then they are spread over it.
        scale = len(text) / whole if whole else 0.0
        begin = self._taken + len(self.text)
        for token, length, end in zip(tokens, lengths, itertools.accumulate(lengths), strict=True):
            last = begin + end * scale - 1
            first = begin + (end - length) * scale
            self._tokens.append((round(max(first, last) if self._by_last else first), token))

    def _tokens_before(self, place: int) -> list[TokenLogprob]:
        found = []
        while self._tokens and self._tokens[0][0] < place:
            found.append(self._tokens.popleft()[1])
        return found
