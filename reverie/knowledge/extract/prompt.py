"""What a model is asked when it reads a chunk, and the schema of what it may reply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any, Final, Literal

from reverie.models.outside_text import as_data

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.models.profile import ModelProfile

Words = Literal["chunk", "any"]
"""Which words a triplet may be made of, where the engine can see to it."""

MOST_WORDS: Final = 400
"""Different words of a chunk that a schema can list; of a longer one any word may be used."""

_TURN = re.compile(r"^## (system|user|assistant)$\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[^\W_]+(?:['\u2019.&/-][^\W_]+)*")
_ANY_WORD = r'[^ "\\\t\n\r.,;:!?]+'
_ALWAYS: Final[Sequence[str]] = (
    *("a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "it"),
    *("its", "not", "of", "on", "or", "that", "the", "to", "was", "were", "with"),
)
"""Words that join others and say nothing by themselves."""


def extraction_messages(text: str) -> list[BaseMessage]:
    """The chat turns that ask for the triplets of ``text``, which stands in one of them as data: on
    one line, with nothing in it that ends a place or begins a turn. The first call reads a file.
    """
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    data = as_data(text)
    return [kinds[role](Template(turn).substitute(text=data)) for role, turn in _turns()]


def example_parts() -> frozenset[str]:
    """What the examples' triplets are made of, which a small model copies."""
    shown = "".join(turn for role, turn in _turns() if role == "assistant")
    return frozenset(re.findall(r'"([^"]+)"', shown)) - {"triplets"}


def triplet_schema(text: str, profile: ModelProfile, *, most: int, words: Words) -> dict[str, Any]:
    """At most ``most`` triplets. Where patterns are obeyed and ``words`` is "chunk", they are made
    of the words of ``text``.
    """
    part: dict[str, Any] = {"type": "string", "minLength": 1}
    if profile.json_schema and profile.schema_patterns:
        word = _words_of(text) if words == "chunk" else _ANY_WORD
        part = {"type": "string", "pattern": rf"^{word}( {word}){{0,11}}$"}
    triplet = {"type": "array", "items": part, "minItems": 3, "maxItems": 3}
    return {
        "type": "object",
        "properties": {"triplets": {"type": "array", "items": triplet, "maxItems": most}},
        "required": ["triplets"],
        "additionalProperties": False,
    }


def _words_of(text: str) -> str:
    found = dict.fromkeys(_WORD.findall(as_data(text)))
    if not 0 < len(found) <= MOST_WORDS:
        return _ANY_WORD
    # Longest first, for engines that take the first alternative that fits.
    every: Sequence[str] = sorted({*found, *_ALWAYS}, key=lambda word: (-len(word), word))
    return "(" + "|".join(map(re.escape, every)).replace("\\-", "-") + ")"


@cache
def _turns() -> tuple[tuple[str, str], ...]:
    text = files(__package__).joinpath("triplets.md").read_text(encoding="utf-8")
    return tuple((turn[1], turn[2].strip()) for turn in _TURN.finditer(text))
