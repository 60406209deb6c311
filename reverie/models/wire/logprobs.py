"""Log-probabilities of tokens, in the forms that servers send them."""

from __future__ import annotations

import math
from typing import Any

from reverie.models.wire.piece import TokenLogprob
from reverie.models.wire.text import word

_LEAST = -9999.0
"""What vLLM sends for minus infinity, which JSON does not have."""


def read_logprobs(logprobs: Any) -> list[TokenLogprob]:
    """The ``logprobs`` of a choice, or the list in it, which Responses sends alone.

    Also in the form of the older /completions, which some servers use for chats too. Empty when
    it is something else: a reply is not lost for them.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
    if isinstance(content, list):
        return [_token(one) for one in content if isinstance(one, dict)]
    return _older(logprobs) if isinstance(logprobs, dict) else []


def _token(one: dict[str, Any]) -> TokenLogprob:
    top = one.get("top_logprobs")
    return TokenLogprob(
        word(one.get("token")),
        _logprob(one.get("logprob")),
        tuple(
            (word(other.get("token")), _logprob(other.get("logprob")))
            for other in top
            if isinstance(other, dict)
        )
        if isinstance(top, list)
        else (),
    )


def _older(logprobs: dict[str, Any]) -> list[TokenLogprob]:
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list):
        return []
    tops = logprobs.get("top_logprobs")
    tops = tops if isinstance(tops, list) else []
    found = []
    for place, (token, value) in enumerate(zip(tokens, values, strict=False)):
        top = tops[place] if place < len(tops) else None
        pairs = top.items() if isinstance(top, dict) else ()
        likeliest = tuple((word(other), _logprob(one)) for other, one in pairs)
        found.append(TokenLogprob(word(token), _logprob(value), likeliest))
    return found


def _logprob(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return _LEAST
    return number if math.isfinite(number) else _LEAST
