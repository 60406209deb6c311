"""How many tokens a prompt has: asked of the server, or an upper bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from reverie.errors import ModelRejected, ModelUnavailable
from reverie.models.profile import ModelProfile
from reverie.models.wire.connection import Connection

_PER_MESSAGE = 8
"""Tokens that a chat template adds to a message: role, marks, line ends; most add 4 or 5."""
_KEPT = 256


class TokenCounter:
    """Counts for one model on one server, and keeps what it has counted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def prompt(
        self, messages: list[dict[str, Any]], prefill: str, profile: ModelProfile
    ) -> int | None:
        """Tokens of a prompt, exactly; None when the server does not count."""
        if not profile.counter:
            return None
        key = (repr(messages), prefill)
        if key not in self._known:
            try:
                self._known[key] = await self._ask(messages, prefill, profile)
            except (ModelRejected, ModelUnavailable):
                return None  # a bound will do; a server that is gone is found out by the call
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]

    async def text(self, text: str, profile: ModelProfile) -> int | None:
        """Tokens of a text by itself, exactly; None when the server does not count."""
        if not profile.counter:
            return None
        try:
            return await self._text(text, profile)
        except (ModelRejected, ModelUnavailable):
            return None

    async def _ask(
        self, messages: list[dict[str, Any]], prefill: str, profile: ModelProfile
    ) -> int:
        if profile.counter == "vllm":
            begun = [{"role": "assistant", "content": prefill}] if prefill else []
            body = {
                "model": profile.name,
                "messages": [*messages, *begun],
                "add_generation_prompt": not begun,
                "continue_final_message": bool(begun),
            }
            return int((await self._connection.post("//tokenize", body))["count"])
        written = await self._connection.post("//apply-template", {"messages": messages})
        return await self._text(written["prompt"] + prefill, profile)

    async def _text(self, text: str, profile: ModelProfile) -> int:
        if profile.counter == "vllm":
            body: dict[str, Any] = {
                "model": profile.name,
                "prompt": text,
                "add_special_tokens": False,
            }
            return int((await self._connection.post("//tokenize", body))["count"])
        return len((await self._connection.post("//tokenize", {"content": text}))["tokens"])


def upper_bound(messages: list[dict[str, Any]], prefill: str = "") -> int:
    """More tokens than a prompt has in any usual tokenizer: one for two ASCII characters (English
    prose has one for four, code one for three), one for every byte of other scripts.
    """
    total = _PER_MESSAGE * (len(messages) + 1) + _bound(prefill)
    for message in messages:
        total += _bound_of(message.get("content")) + _bound_of(message.get("tool_calls"))
    return total


def likely(text: str) -> int:
    """About how many tokens a text has; for replies whose cost a server does not tell."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def _bound_of(content: Any) -> int:
    if not content:
        return 0
    if isinstance(content, str):
        return _bound(content)
    if isinstance(content, list):
        return sum(map(_bound_of, content))
    if isinstance(content, dict):
        if content.get("type") in ("image_url", "image"):
            return 2048  # the largest tile budget of usual vision models, whatever the bytes
        return sum(map(_bound_of, content.values()))
    return _bound(str(content))


def _bound(text: str) -> int:
    encoded = len(text.encode("utf-8", "replace"))
    return encoded if encoded > len(text) else -(-encoded // 2)
