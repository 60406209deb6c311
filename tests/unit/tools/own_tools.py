"""What a package of one's own would hold."""

from __future__ import annotations

from reverie.tools import tool


@tool(side_effects=False)
def shout(text: str) -> str:
    """Says it loudly."""
    return text.upper()
