"""Looking at what the graph knows around a thing."""

from __future__ import annotations

from typing import Annotated, Final

from reverie.errors import ToolFailed
from reverie.tools.registry import tool
from reverie.tools.tool import Example, Knowledge
from reverie.tools.words import Words, checked_words

_MOST_EDGES: Final = 12
_MOST_NODES: Final = 40

_EXAMPLES = (
    Example(
        "What becomes of ice that lies in the sun?",
        {"entity": "ice"},
        "ice -> lies in the sun -> it melts\nit melts -> makes -> a puddle",
        "It melts and makes a puddle.",
    ),
    Example(
        "Which module does parser.py import?",
        {"entity": "parser.py"},
        "parser.py -> imports -> tokenizer",
        "It imports tokenizer.",
    ),
)


@tool(name="graph", side_effects=False, examples=_EXAMPLES)
async def graph(entity: Annotated[str, Words("the name of a thing")], knowledge: Knowledge) -> str:
    """Gives what is known around a thing by its name: what it does, causes and belongs to."""
    store = await knowledge.facts()
    name = checked_words(entity, name="entity")
    start = (await store.resolve([name])).get(name)
    if start is None:
        near = await store.find(name, limit=1, kinds=("entity", "outcome", "action"))
        start = near[0].node.id if near else None
    if start is None:
        raise ToolFailed(f"nothing is known of {name}")
    found = await store.neighbourhood([start], hops=2, limit=_MOST_NODES)
    nearest = sorted(found.edges, key=lambda e: found.hops[e.start] + found.hops[e.end])
    lines = [
        f"{edge.start_label} -> {edge.text or edge.relation.replace('_', ' ')} -> {edge.end_label}"
        for edge in nearest
    ]
    if not lines:
        raise ToolFailed(f"nothing is known around {name}")
    return "\n".join(dict.fromkeys(lines[:_MOST_EDGES]))
