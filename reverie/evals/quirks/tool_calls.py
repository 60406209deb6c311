"""Tool calls in the forms that servers send them in."""

from __future__ import annotations

import json
from typing import Any

from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.prompt import tokens
from reverie.evals.quirks.toy import Said


def arguments(said: Said, quirks: Quirks) -> list[Any]:
    """The arguments of each call: strings, or objects with ``tool_arguments="object"``.

    Of a reply that its limit has cut, as much as fits.
    """
    if quirks.tool_arguments == "object" and said.finish != "length":
        return [call.arguments for call in said.calls]
    written = [json.dumps(call.arguments, ensure_ascii=False) for call in said.calls]
    if said.finish == "length":
        left = said.call_tokens
        for number, text in enumerate(written):
            # The name of a call is one token.
            kept = tokens(text)[: max(left - 1, 0)]
            written[number] = "".join(kept)
            left -= 1 + len(kept)
    if quirks.tool_arguments == "double":
        return [json.dumps(text, ensure_ascii=False) for text in written]
    if quirks.tool_arguments == "broken":
        return [text[:-1] for text in written]
    return written


def chunks(text: str, count: int) -> list[str]:
    """``text`` in ``count`` parts of similar length; fewer when it is too short."""
    size = max(-(-len(text) // max(count, 1)), 1)
    return [text[at : at + size] for at in range(0, len(text), size)]
