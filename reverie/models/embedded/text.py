"""Turning token ids into text while they arrive, up to a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextStream:
    """Decodes one reply token by token; holds text back while it may begin a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(s for s in stop if s)
        self._held = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """The text that this token completes. Sets ``stopped`` when it ends in a stop string."""
        piece = self._decoder.step(self._tokenizer, token_id)
        if not piece:
            return ""
        return self._release(piece) if self._stop else piece

    def flush(self) -> str:
        """The text still held back when the reply ends without a stop string."""
        held, self._held = self._held, ""
        return held

    def _release(self, piece: str) -> str:
        text = self._held + piece
        found = [at for s in self._stop if (at := text.find(s)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, s) for s in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
