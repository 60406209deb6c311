"""The count of tokens that a server sends with a reply."""

from __future__ import annotations

from typing import Any

from reverie.models.wire.piece import Tokens


def read_usage(usage: Any) -> Tokens | None:
    """The ``usage`` of Chat Completions (``prompt_tokens``) or Responses (``input_tokens``).

    None when there is none, or when it is all zeros: no call costs nothing.
    """
    if not isinstance(usage, dict):
        return None
    prompt = read_count(usage.get("prompt_tokens") or usage.get("input_tokens"))
    said = usage.get("completion_tokens")
    said = usage.get("output_tokens") if said is None else said
    completion = read_count(said)
    if said is None:
        completion = max(read_count(usage.get("total_tokens")) - prompt, 0)
    if not (prompt or completion):
        return None
    of_prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    of_completion = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    return Tokens(
        prompt,
        completion,
        read_count(of_prompt.get("cached_tokens")) if isinstance(of_prompt, dict) else 0,
        read_count(of_completion.get("reasoning_tokens")) if isinstance(of_completion, dict) else 0,
    )


def read_count(value: Any) -> int:
    """A count, also from text; zero for what is none."""
    if type(value) is int:  # nearly always
        return max(value, 0)
    try:
        return max(int(value), 0)
    except (TypeError, ValueError, OverflowError):
        return 0
