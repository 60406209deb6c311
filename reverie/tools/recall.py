"""Recalling what was learnt before, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from reverie.errors import ToolFailed
from reverie.tools.registry import tool
from reverie.tools.tool import Example, Knowledge
from reverie.tools.words import Words, checked_words

_MOST: Final = 3
_LONGEST: Final = 400
"""Characters of one memory that are shown."""

_EXAMPLES = (
    Example(
        "Which tea does Ada like?",
        {"query": "tea that Ada likes"},
        "2026-03-01: Ada likes green tea",
        "She likes green tea.",
    ),
    Example(
        "When is the office closed?",
        {"query": "office closed"},
        "2026-02-11: The office is closed on Fridays",
        "It is closed on Fridays.",
    ),
)


@tool(side_effects=False, examples=_EXAMPLES)
async def recall(
    query: Annotated[str, Words("what to remember, in a few words")], knowledge: Knowledge
) -> str:
    """Recalls what was learnt in earlier conversations and runs, with the day it was learnt."""
    episodes = await knowledge.episodes()
    found = await episodes.recall(checked_words(query), limit=_MOST, use=True)
    if not found:  # a failure, so that nobody takes it for an answer
        raise ToolFailed("nothing about that is remembered")
    lines = []
    for one in found:
        day = datetime.fromtimestamp(one.episode.learned, UTC).strftime("%Y-%m-%d")
        text = " ".join(one.episode.text.split())
        lines.append(f"{day}: {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}")
    return "\n".join(lines)
