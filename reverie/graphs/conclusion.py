"""Finding the answer in a reply that reasons first: what stands behind ``Answer:``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from reverie.graphs.confidence import span

CUE: Final = "Answer:"

_CUE = re.compile(r"\**\b(?:final\s+)?answer\b\**\s*:\s*\**[^\S\n]*", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


def reasoned_answer(text: str) -> tuple[str, int]:
    r"""The answer behind the first ``Answer:``, or in the last ``\boxed{}``, and where in ``text``
    it begins. Empty when it is not there.
    """
    for cue in _CUE.finditer(text):
        answer = conclusion(text[cue.end() :])
        if answer:
            return answer, text.index(answer, cue.end())
    boxed = list(_BOXED.finditer(text))
    if boxed and boxed[-1][1].strip():
        return boxed[-1][1].strip(), boxed[-1].start(1)
    return "", 0


def conclusion(written: str) -> str:
    """The first line with a word in it, without what marks it as an answer."""
    for line in written.splitlines():
        answer = _CUE.sub("", line, count=1).strip().strip("*").strip()
        if any(c.isalnum() for c in answer):
            return answer
    return ""


def last_sentence(text: str) -> str:
    """What a text ends in; empty when there is no word in it."""
    sentences = re.split(r"(?<=[.!?])\s+|\n+", text.strip())
    return next((s for s in reversed(sentences) if any(c.isalnum() for c in s)), "")


def tokens_of(
    tokens: Sequence[tuple[str, float]], answer: str, begin: int
) -> Sequence[tuple[str, float]]:
    """The tokens that wrote ``answer``, which begins at the character ``begin`` of the reply: a
    short one may stand in the reasoning, too. None where they are not known to have written it.
    """
    at, later = 0, []
    for token, logprob in tokens:
        if at + len(token) > begin:
            later.append((token, logprob))
        at += len(token)
    written = "".join(token for token, _ in later)
    return span(later, answer) if answer and answer in written else ()
