"""What a dream is asked, and what it may answer.

The wording, the order of the schema's keys and the openers were chosen by measurement on small
models: the role first, the answer before the triplets, no extra white space, and a different
opening phrase per expert, which gives more distinct and more often right answers than temperature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reverie.errors import OutputInvalid
from reverie.graphs.prompt import load_prompt
from reverie.graphs.records import DreamTriplet, Expert, Fact

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_ROLES: dict[Expert, str] = {
    "spatial": "You are a spatial expert. Think about where things are and how they move.",
    "temporal": "You are a temporal expert. Think about what comes first, next and last.",
    "causal": "You are a causal expert. Think about why it happens.",
    "abstract": "You are an abstract expert. Think about the general rule.",
}

_OPENERS: dict[Expert, str] = {
    "spatial": "you can see",
    "temporal": "first",
    "causal": "this causes",
    "abstract": "the result is",
}

_CLAUSE = re.compile(
    r"\bwhat (?:happens|will happen|would happen) ((?:when|if) .+?)[?.! ]*$", re.IGNORECASE
)
_MOST_CLAUSE_WORDS = 16

# Whole words, generously many: a tight count glues words together, and maxLength takes seconds to
# compile. Letters of any script; what JSON would have to escape is left out.
_WORD = r"[\p{L}\p{M}\p{N}][\p{L}\p{M}\p{N}'\u2019-]*"
_WORDS = rf"{_WORD}( {_WORD}){{0,11}}"
_SENTENCE = rf"^({_WORD}[,;:]? ){{0,48}}{_WORD}[.!]$"

MOST_TRIPLETS = 3


@dataclass(frozen=True, slots=True)
class DreamPrompt:
    """The messages, the beginning of the reply, and the schema of the whole reply."""

    messages: list[BaseMessage]
    opener: str
    """The words that the answer begins with; empty when the expert begins as it likes."""
    prefill: str
    schema: dict[str, Any]


def dream_prompt(
    question: str, expert: Expert, facts: Sequence[Fact], *, own_triplets: bool
) -> DreamPrompt:
    """Ask ``expert``. With facts and not ``own_triplets``, the triplets are chosen among them."""
    opener = _opener(question, expert)
    if facts:
        listed = "\n".join(f"- {f['what']} -> {f['action']} -> {f['result']}" for f in facts)
        messages = load_prompt("dream").messages(
            role=_ROLES[expert], facts=listed, question=question
        )
    else:
        messages = load_prompt("dream_unaided").messages(role=_ROLES[expert], question=question)
    prefill = json.dumps({"answer": opener}, ensure_ascii=False, separators=(",", ":"))
    schema = _schema([] if own_triplets else facts)
    return DreamPrompt(messages, opener, prefill.removesuffix('"}'), schema)


def read_dream(text: str, facts: Sequence[Fact]) -> tuple[str, list[DreamTriplet]]:
    """The answer and the triplets of a reply, each triplet marked as a fact or as dreamed.

    Raises OutputInvalid when the reply is not the document that was asked for.
    """
    try:
        document = json.loads(text)
        answer = str(document["answer"]).strip()
        triplets = [tuple(map(str, t)) for t in document["triplets"]]
    except (ValueError, KeyError, TypeError) as error:
        raise OutputInvalid(
            "the dream was cut off before it was complete", hint="raise dream.max_tokens"
        ) from error
    known = {(f["what"], f["action"], f["result"]) for f in facts}
    return answer, [
        {
            "what": t[0],
            "action": t[1],
            "result": t[2],
            "origin": "fact" if t in known else "dreamed",
        }
        for t in dict.fromkeys(triplets)
        if len(t) == 3
    ]


def _opener(question: str, expert: Expert) -> str:
    """How the answer begins. A question about what happens gives its own clause; any other gets
    no opener, since one would not fit.
    """
    found = _CLAUSE.search(question)
    if found is None or len(found[1].split()) > _MOST_CLAUSE_WORDS:
        return ""
    clause = found[1][0].upper() + found[1][1:]
    if any(c in clause for c in '"\\') or not clause.isprintable():
        return ""
    return f"{clause}, {_OPENERS[expert]}"


def _schema(facts: Sequence[Fact]) -> dict[str, Any]:
    if facts:
        choices = dict.fromkeys((f["what"], f["action"], f["result"]) for f in facts)
        triplet: dict[str, Any] = {"enum": [list(choice) for choice in choices]}
        most = min(2, len(choices))
    else:
        part = {"type": "string", "pattern": f"^{_WORDS}$"}
        triplet = {"type": "array", "items": part, "minItems": 3, "maxItems": 3}
        most = MOST_TRIPLETS
    return {
        "type": "object",
        "properties": {
            "answer": {"type": "string", "pattern": _SENTENCE},
            "triplets": {"type": "array", "items": triplet, "minItems": 1, "maxItems": most},
        },
        "required": ["answer", "triplets"],
        "additionalProperties": False,
    }
