"""The model as judge of an answer: one yes/no question, and the probability that it says yes.

P(True) of Kadavath et al. 2022 (arXiv 2207.05221): read off the first token that tells yes from no.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from reverie.graphs.call import SMALLEST_ANSWER, Reply

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.graphs.step import Step

SCHEMA: Final[Mapping[str, Any]] = {"type": "string", "enum": ["yes", "no"]}

_ALTERNATIVES = 20
"""As many as any server tells: a judge that is sure has the other word far down."""
_MOST_TOKENS = 8
_WORD = re.compile(
    r"[\s\"'*]*(?:(?P<yes>ye?|yes\b.*)|(?P<no>n|no\b.*))\Z", re.IGNORECASE | re.DOTALL
)


def judge_messages(step: Step, question: str, answer: str) -> list[BaseMessage]:
    """What the judge is asked."""
    return step.messages("judge", asked=question, answer=answer)


async def judge_cost(step: Step, question: str, answer: str = "") -> int:
    """Tokens that judging ``answer`` takes at most, prompt included."""
    return await step.count(judge_messages(step, question, answer)) + SMALLEST_ANSWER


async def judge(step: Step, question: str, answer: str, *, branch: int | None) -> float | None:
    """The probability (0 to 1) that the model calls ``answer`` right; None when it cannot be told.
    Raises CallFailed.
    """
    reply = await step.ask(
        "judge",
        judge_messages(step, question, answer),
        max_tokens=_MOST_TOKENS,
        json_schema=SCHEMA if step.model.reverie_profile.json_schema else None,
        branch=branch,
        shown=False,
        alternatives=_ALTERNATIVES,
    )
    return probability_of_yes(reply)


def probability_of_yes(reply: Reply) -> float | None:
    """P(yes) against P(no) where the reply says one of them. Without alternatives the word that was
    not said gets what is left of the said one's; without log-probabilities None.
    """
    written = ""
    for place, (token, logprob) in enumerate(reply.tokens):
        said = _word(written + token)
        if said is None:
            written += token
            continue
        masses = {"yes": 0.0, "no": 0.0}
        others = reply.alternatives[place] if place < len(reply.alternatives) else {}
        for other, value in {**others, token: logprob}.items():
            word = _word(written + other)
            if word is not None:
                masses[word] += math.exp(min(value, 0.0))
        if len(others) < _TELLING:
            p = min(masses[said], 1.0)
            return p if said == "yes" else 1 - p
        whole = masses["yes"] + masses["no"]
        return masses["yes"] / whole if whole else None
    return None


_TELLING = 2
"""Alternatives from which on the other word is known to be unlikely when it is not among them."""


def _word(text: str) -> str | None:
    match = _WORD.match(text)
    if match is None:
        return None
    return "yes" if match["yes"] else "no"
