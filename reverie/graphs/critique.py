"""Reading a critique: whether it finds anything wrong, and whether a revision is an answer at all.

Small models criticise in the same words whatever they are asked, and revise by repeating the
critique.
"""

from __future__ import annotations

import re

from reverie.graphs.conclusion import conclusion
from reverie.graphs.same_answer import Said, said, same


def objection(critique: str, answer: str, question: str) -> str:
    """What a critique says is wrong; empty when it finds nothing, says nothing, or only says the
    answer again.
    """
    text = " ".join(critique.split())
    mine = said(text, question)
    if mine.bare or _NOTHING_WRONG.match(text) or same(mine, said(answer, question)):
        return ""
    return text


def plain_revision(written: str) -> str:
    """The first line of a revision, without what announces it."""
    return conclusion(_LEADS.sub("", written.strip()))


def fault_of(revision: str, critique: str) -> str:
    """Why a revision is no answer; empty when it may be one."""
    mine, other = said(revision), said(critique)
    if mine.bare:
        return "is empty"
    if _ABOUT_IT.match(revision) or _repeats(mine, other):
        return "is about the answer, and none itself"
    return ""


_LEADS = re.compile(r"^\W*(?:the )?(?:right|correct|revised|new) answer(?: is)?\s*:", re.IGNORECASE)
_NOTHING_WRONG = re.compile(
    r"^\W*(?:(?:there (?:is|are) )?nothing(?: is| to be)? (?:wrong|corrected?|to correct)"
    r"|nothing\W*$|none\W*$|(?:there (?:is|are) )?no (?:mistakes?|errors?|problems?)\b"
    r"|(?:(?:yes|ok|okay),?\W*)?(?:(?:the|this|your|that) answer|it|this|that|everything|all)"
    r"(?:'s| is| seems| looks) (?:all )?(?:right|correct|true|good|fine|accurate|ok)\b"
    r"|(?:yes|ok|okay|right|correct|true)\W*$)",
    re.IGNORECASE,
)
_ABOUT_IT = re.compile(
    r"^\W*(?:what is wrong\b|wrong answer\b|question\s*:|nothing is wrong\b|the (?:wrong )?answer "
    r"(?:is|was) (?:wrong|incorrect|right|correct|not)\b)",
    re.IGNORECASE,
)
_MOST_SHARED = 0.8
_FEW = 3


def _repeats(revision: Said, critique: Said) -> bool:
    """Whether a revision says the critique again, in whole or nearly so."""
    if revision.words == critique.words:
        return True
    mine, other = set(revision.words), set(critique.words)
    return len(mine) > _FEW and len(mine & other) >= _MOST_SHARED * max(len(mine), len(other))
