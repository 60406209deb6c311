"""Looking up what the graph store knows, by meaning."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from reverie.errors import ToolFailed
from reverie.tools.registry import tool
from reverie.tools.tool import Example, Knowledge

NOTHING: Final = "nothing is known about that"

_PATTERN: Final = r'^([^ "\\\t\n\r]+ ){0,15}[^ "\\\t\n\r]+$'
"""Some words. A limit on characters would take grammars seconds to compile."""
_MOST_CHARACTERS: Final = 1000

_EXAMPLES = (
    Example(
        "What happens to a candle in the sun?",
        {"query": "a candle in the sun"},
        "a candle -> is left in the sun -> the wax gets soft and bends",
        "The wax gets soft and the candle bends.",
    ),
    Example(
        "What happens when you tighten a guitar string?",
        {"query": "tighten a guitar string"},
        "a guitar string -> is pulled tighter -> it sounds higher",
        "It sounds higher.",
    ),
)


@tool(side_effects=False, examples=_EXAMPLES)
async def facts(
    query: Annotated[
        str,
        Field(
            json_schema_extra={"pattern": _PATTERN}, description="what to look up, in a few words"
        ),
    ],
    knowledge: Knowledge,
) -> str:
    """Looks up stored facts about things and what happens to them."""
    ground = knowledge.settings.ground
    if not query.strip():
        raise ToolFailed("the query is empty")
    if len(query) > _MOST_CHARACTERS:
        raise ToolFailed(f"the query is longer than {_MOST_CHARACTERS} characters")
    vector = (await (await knowledge.embedder()).embed([query]))[0]
    found = await (await knowledge.facts()).similar(
        vector, limit=max(1, ground.max_facts), minimum=ground.min_similarity
    )
    if not found:  # a failure, so that nobody takes it for an answer
        raise ToolFailed(NOTHING)
    triplets = [match.triplet for match in found]
    return "\n".join(f"{t.what} -> {t.action} -> {t.result}" for t in triplets)
