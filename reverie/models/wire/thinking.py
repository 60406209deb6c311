"""Reasoning that a server leaves in the text, between tags, put where reasoning belongs."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from reverie.models.profile import Reasoning
from reverie.models.wire.held import HeldText
from reverie.models.wire.markers import Markers
from reverie.models.wire.piece import Piece, Pieces, TokenLogprob

_TAGS: Final = {
    "<think>": "</think>",  # Qwen3, DeepSeek-R1, GLM, Kimi K2, MiniMax M2, Nemotron and most others
    "<thinking>": "</thinking>",  # models tuned on the traces of others
    "[THINK]": "[/THINK]",  # Magistral
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "<mm:think>": "</mm:think>",  # MiniMax M3
    "◁think▷": "◁/think▷",  # Kimi-VL
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A Reasoning
    "<|channel>thought": "<channel|>",  # Gemma 4
    # gpt-oss, from servers that do not read its format (Harmony)
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",
}
_CLOSERS: Final = Markers(_TAGS.values())


def split_thinking(pieces: Pieces, mode: Reasoning) -> Pieces:
    """The reply with the reasoning at its beginning in ``Piece.reasoning``.

    ``think`` and the empty mode take what an opening tag at the very start begins; ``think_end``
    also what no tag opened, up to the closing one. Reasoning that never ends stays reasoning. A
    tag anywhere else is text, but for a whole reply (one piece) in the empty mode: there a closing
    tag alone ends reasoning too, because the chat template may have opened it. With a field for
    reasoning the pieces are returned as they are.

    White space around the tags is dropped. Log-probabilities of tags and reasoning are in
    ``extra["reasoning_logprobs"]``, piece by piece.
    """
    if mode in ("reasoning", "reasoning_content"):
        return pieces
    return _split(pieces, mode)


async def _split(pieces: Pieces, mode: Reasoning) -> Pieces:
    async with aclosing(pieces):
        splitter = _Splitter(mode)
        async for piece in pieces:
            read = piece if splitter.answering else splitter.read(piece)
            if not read.empty:
                yield read
        rest = splitter.read(Piece(), final=True)
        if not rest.empty:
            yield rest


class _Stage(Enum):
    START = auto()
    REASONING = auto()
    ENDED = auto()
    """Behind the closing tag, where white space is dropped."""
    ANSWER = auto()


class _Splitter:
    """Where a reply is, and what of it is held back."""

    def __init__(self, mode: Reasoning) -> None:
        self._unopened = mode == "think_end"
        self._whole_counts = mode == ""
        self._stage = _Stage.START
        self._closers = _CLOSERS
        self._thinks = False  # whether any reasoning has been read
        self._first = True
        self._held = HeldText("last")  # " Hello" behind a tag is a token of the answer

    @property
    def answering(self) -> bool:
        """Whether the rest of the reply is its answer, to be passed on as it is."""
        return self._stage is _Stage.ANSWER

    def read(self, piece: Piece, *, final: bool = False) -> Piece:
        """What is certain, now that ``piece`` has come."""
        whole = self._first and bool(piece.finish)
        final = final or bool(piece.finish)
        self._first = False
        self._held.add(piece.text, piece.logprobs)
        if piece.reasoning and self._unopened and self._closers is _CLOSERS:
            self._stage = _Stage.ANSWER  # this server has a field for it after all
        out = _Out()
        while self._advance(out, final=final, whole=whole):
            pass
        if self._stage is _Stage.ANSWER or final:
            out.to_answer(*self._held.rest(), reasoning=self._stage is not _Stage.ANSWER)
        extra = piece.extra
        if out.aside:
            extra = {**extra, "reasoning_logprobs": out.aside}
        return replace(
            piece,
            text=out.text,
            reasoning=piece.reasoning + out.reasoning,
            logprobs=out.logprobs,
            extra=extra,
        )

    def _advance(self, out: _Out, *, final: bool, whole: bool) -> bool:
        """Go one stage on, if what is held suffices to know that it has come."""
        text = self._held.text
        match self._stage:
            case _Stage.START:
                return self._begin(out, final=final, whole=whole)
            case _Stage.REASONING:
                return self._think(out, final=final)
            case _Stage.ENDED:
                out.to_tags(self._held.take(len(text) - len(text.lstrip()))[1])
                if self._held.text:
                    self._stage = _Stage.ANSWER
        return False

    def _begin(self, out: _Out, *, final: bool, whole: bool) -> bool:
        begun = self._held.text.lstrip()
        opener = next((tag for tag in _TAGS if begun.startswith(tag)), "")
        if opener:
            self._closers = Markers([_TAGS[opener]])
            out.to_tags(self._held.take(len(self._held.text) - len(begun) + len(opener))[1])
        elif not final and any(tag.startswith(begun) for tag in _TAGS):
            return False
        elif not (self._unopened or (whole and self._whole_counts and _CLOSERS.find(begun))):
            self._stage = _Stage.ANSWER
            return False
        self._stage = _Stage.REASONING
        return True

    def _think(self, out: _Out, *, final: bool) -> bool:
        text = self._held.text
        if not self._thinks:
            blank = len(text) - len(text.lstrip())
            out.to_tags(self._held.take(blank)[1])
            text = text[blank:]
        closer = self._closers.find(text)
        if closer is not None:
            begin, end = closer
            length = len(text[:begin].rstrip())
            out.to_reasoning(*self._held.take(length))
            out.to_tags(self._held.take(end - length)[1])
            self._stage = _Stage.ENDED
            return True
        if not final:
            text = text[: self._closers.begun(text)].rstrip()
        self._thinks = self._thinks or bool(text)
        out.to_reasoning(*self._held.take(len(text)))
        return False


class _Out:
    """What is certain of a piece."""

    __slots__ = ("aside", "logprobs", "reasoning", "text")

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.logprobs: list[TokenLogprob] = []
        self.aside: list[TokenLogprob] = []

    def to_answer(self, text: str, tokens: list[TokenLogprob], *, reasoning: bool = False) -> None:
        if reasoning:
            self.to_reasoning(text, tokens)
            return
        self.text += text
        self.logprobs += tokens

    def to_reasoning(self, text: str, tokens: list[TokenLogprob]) -> None:
        self.reasoning += text
        self.aside += tokens

    def to_tags(self, tokens: list[TokenLogprob]) -> None:
        self.aside += tokens
