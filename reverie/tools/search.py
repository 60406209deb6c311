"""Searching the documents that were ingested."""

from __future__ import annotations

from typing import Annotated, Final

from reverie.errors import ToolFailed
from reverie.tools.registry import tool
from reverie.tools.tool import Example, Knowledge
from reverie.tools.words import Words, checked_words

_MOST: Final = 3
_LONGEST: Final = 900
"""Characters of one hit that are shown."""

_EXAMPLES = (
    Example(
        "Which port does the staging server use?",
        {"query": "port of the staging server"},
        "[1] servers.md:12 The staging server listens on port 8443.",
        "It uses port 8443.",
    ),
    Example(
        "Who wrote the report on the bridge?",
        {"query": "author of the report on the bridge"},
        "[1] reports/bridge.pdf Report on the old bridge, by Maria Lindt.",
        "Maria Lindt wrote it.",
    ),
)


@tool(side_effects=False, examples=_EXAMPLES)
async def search(
    query: Annotated[str, Words("what to search for, in a few words")], knowledge: Knowledge
) -> str:
    """Searches the documents that were read in, and gives the best passages with their places."""
    library = await knowledge.library()
    result = await library.search(checked_words(query), limit=_MOST)
    if not result.hits:  # a failure, so that nobody takes it for an answer
        raise ToolFailed("no document says anything about that")
    lines = []
    for number, hit in enumerate(result.hits, 1):
        place = hit.metadata.get("path", "")
        line = hit.metadata.get("first_line")
        where = f"{place}:{line} " if place and line else f"{place} " if place else ""
        text = hit.text if len(hit.text) <= _LONGEST else hit.text[:_LONGEST] + "…"
        lines.append(f"[{number}] {where}{text}")
    return "\n".join(lines)
