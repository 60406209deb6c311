"""What a dream is asked, and what it may answer.

The wording, the order of the schema's keys and the openers were chosen by measurement on small
models: the role first, the answer before the triplets, no extra white space, and a different
opening phrase per expert, which gives more distinct and more often right answers than temperature.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reverie.errors import OutputInvalid
from reverie.graphs.outside_text import as_data
from reverie.graphs.prompt import load_prompt
from reverie.graphs.records import DreamTriplet, Expert, Fact

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.models.profile import ModelProfile

Opening = Literal["prefill", "pattern", "free"]
"""How an answer is made to begin with its opener: the reply is begun, or the schema says so, or not
at all.
"""

Fill = Callable[..., "list[BaseMessage]"]
"""Takes a prompt's name and, by name, what is put into it."""

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
_MOST_CLAUSE = 300
"""Characters. The end of a longer question is enough, and the search takes quadratic time."""

# Whole words, generously many: a tight count glues words together, and maxLength takes seconds to
# compile. Letters of any script; what JSON would have to escape is left out.
_WORD = r"[\p{L}\p{M}\p{N}][\p{L}\p{M}\p{N}'\u2019-]*"
_PLAIN_WORD = r'[^ "\\\t\n\r.,;:!?]+'  # where classes of letters may be unknown
_SPECIAL = re.compile(r"[.^$*+?()\[\]{}|\\]")

MOST_TRIPLETS = 3

for _name in ("dream", "dream_unaided"):
    load_prompt(_name)  # here, not in a node: it is a file


def _packaged(name: str, **values: str) -> list[BaseMessage]:
    return load_prompt(name).messages(**values)


@dataclass(frozen=True, slots=True)
class DreamPrompt:
    """The messages, the beginning of the reply, and the schema of the whole reply."""

    messages: list[BaseMessage]
    opener: str
    """The words that the answer begins with; empty when the expert begins as it likes."""
    prefill: str
    schema: dict[str, Any]


def opening_for(profile: ModelProfile) -> Opening:
    """How a model's answers can be made to begin. A schema holds for a reply that was begun only
    where the engine matches the beginning too.
    """
    if profile.prefill and profile.schema_prefill and profile.schema_patterns:
        return "prefill"
    return "pattern" if profile.json_schema and profile.schema_patterns else "free"


def dream_prompt(
    question: str,
    expert: Expert,
    facts: Sequence[Fact],
    *,
    own_triplets: bool,
    opening: Opening = "prefill",
    fill: Fill = _packaged,
) -> DreamPrompt:
    """Ask ``expert``. With facts and not ``own_triplets``, the triplets are chosen among them.
    ``fill`` fills in a prompt by its name.
    """
    opener = "" if opening == "free" else _opener(question, expert)
    if facts:
        listed = "\n".join(
            f"- {as_data(' -> '.join((f['what'], f['action'], f['result'])))}" for f in facts
        )
        messages = fill("dream", role=_ROLES[expert], facts=listed, question=question)
    else:
        messages = fill("dream_unaided", role=_ROLES[expert], question=question)
    prefill = ""
    if opening == "prefill":
        begun = json.dumps({"answer": opener}, ensure_ascii=False, separators=(",", ":"))
        prefill = begun.removesuffix('"}')
    schema = _schema([] if own_triplets else facts, *_texts(opening, opener))
    return DreamPrompt(messages, opener, prefill, schema)


def read_dream(text: str, facts: Sequence[Fact]) -> tuple[str, list[DreamTriplet]]:
    """The answer and the triplets of a reply, each triplet marked as a fact or as dreamed.

    Raises OutputInvalid when the reply is not the document that was asked for.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise OutputInvalid(
            "the dream was cut off before it was complete", hint="raise dream.max_tokens"
        ) from error
    try:
        answer = str(document["answer"]).strip()
        triplets = [tuple(map(str, t)) for t in document["triplets"] if isinstance(t, list)]
    except (KeyError, TypeError) as error:
        raise OutputInvalid("the dream is not the document that was asked for") from error
    if not answer:
        raise OutputInvalid("the dream has no answer")
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
    found = _CLAUSE.search(question[-_MOST_CLAUSE:])
    if found is None:
        return ""
    words = found[1].split(" ")
    if len(words) > _MOST_CLAUSE_WORDS or not all(map(_is_word, words)):
        return ""
    clause = found[1][0].upper() + found[1][1:]
    return f"{clause.rstrip(',;:')}, {_OPENERS[expert]}"


def _is_word(text: str) -> bool:
    """Whether the schema takes ``text`` for a word: an opener must be able to begin a reply."""
    word = text[:-1] if text.endswith((",", ";", ":")) else text
    return bool(word) and all(
        unicodedata.category(c)[0] in "LMN" or (i > 0 and c in "'\u2019-")
        for i, c in enumerate(word)
    )


def _texts(opening: Opening, opener: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schemas of an answer and of a triplet's part."""
    if opening == "free":
        return {"type": "string"}, {"type": "string"}
    word = _WORD if opening == "prefill" else _PLAIN_WORD
    begins = ""
    if opening == "pattern" and opener:
        begins = _SPECIAL.sub(lambda found: "\\" + found[0], opener) + " "
    sentence = rf"^{begins}({word}[,;:]? ){{0,48}}{word}[.!]$"
    return (
        {"type": "string", "pattern": sentence},
        {"type": "string", "pattern": rf"^{word}( {word}){{0,11}}$"},
    )


def _schema(facts: Sequence[Fact], answer: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if facts:
        choices = dict.fromkeys((f["what"], f["action"], f["result"]) for f in facts)
        triplet: dict[str, Any] = {"enum": [list(choice) for choice in choices]}
        most = min(2, len(choices))
    else:
        triplet = {"type": "array", "items": part, "minItems": 3, "maxItems": 3}
        most = MOST_TRIPLETS
    return {
        "type": "object",
        "properties": {
            "answer": answer,
            "triplets": {"type": "array", "items": triplet, "minItems": 1, "maxItems": most},
        },
        "required": ["answer", "triplets"],
        "additionalProperties": False,
    }
