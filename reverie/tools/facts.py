"""Looking up what the graph store knows, by meaning."""

from __future__ import annotations

from typing import Annotated, Final

from reverie.errors import ToolFailed
from reverie.tools.registry import tool
from reverie.tools.tool import Example, Knowledge
from reverie.tools.words import Words, checked_words

NOTHING: Final = "nothing is known about that"

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
    query: Annotated[str, Words("what to look up, in a few words")], knowledge: Knowledge
) -> str:
    """Looks up stored facts about things and what happens to them."""
    ground = knowledge.settings.ground
    vector = (await (await knowledge.embedder()).embed([checked_words(query)]))[0]
    found = await (await knowledge.facts()).similar(
        vector, limit=max(1, ground.max_facts), minimum=ground.min_similarity
    )
    if not found:  # a failure, so that nobody takes it for an answer
        raise ToolFailed(NOTHING)
    triplets = [match.triplet for match in found]
    return "\n".join(f"{t.what} -> {t.action} -> {t.result}" for t in triplets)
