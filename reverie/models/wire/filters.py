"""What is done to every reply before anybody sees it, in order."""

from __future__ import annotations

from reverie.models.profile import ModelProfile
from reverie.models.wire.arguments import decode_arguments
from reverie.models.wire.piece import Pieces, Request
from reverie.models.wire.stop import cut_at_stop
from reverie.models.wire.thinking import split_thinking
from reverie.models.wire.tool_text import read_tool_text


def filtered(pieces: Pieces, request: Request, profile: ModelProfile) -> Pieces:
    """Reasoning apart, tool calls in their own field with arguments that are JSON, and nothing
    behind a stop string.
    """
    pieces = split_thinking(pieces, profile.reasoning)
    if request.tools:
        names = [str(tool.get("function", {}).get("name", "")) for tool in request.tools]
        pieces = decode_arguments(read_tool_text(pieces, names))
    if request.stop:
        pieces = cut_at_stop(pieces, request.stop)
    return pieces
