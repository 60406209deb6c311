"""How many tokens a prompt has: asked of the server, or an upper bound."""

from __future__ import annotations

import hashlib
import string
import time
from collections import OrderedDict
from typing import Any

from reverie.errors import ModelRejected, ModelUnavailable
from reverie.models.profile import ModelProfile
from reverie.models.wire.connection import Connection

_PER_MESSAGE = 8
"""Tokens that a chat template adds to a message: role, marks, line ends; most add 4 or 5."""
_TEMPLATE = 64
"""What it adds to the whole: the system message it has of its own, with a date or a few rules."""
_SMALL = string.ascii_lowercase.encode()
_KEPT = 256
_SECONDS = 10.0
"""Counting is fast; a server that takes longer for it is busy, and the call itself will wait."""
_NO_COUNT = (ModelRejected, ModelUnavailable, KeyError, TypeError, ValueError)
"""What asking for a count raises where none comes: then a bound will do. A server that is gone is
found out by the call.
"""


class TokenCounter:
    """Counts for one model on one server, and keeps what it has counted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.absent = False
        """Whether the server turned out not to count at all."""
        self._known: OrderedDict[bytes, int] = OrderedDict()
        """By a digest: prompts may hold images."""

    async def prompt(
        self,
        messages: list[dict[str, Any]],
        prefill: str,
        profile: ModelProfile,
        *,
        seconds: float | None = None,
    ) -> int | None:
        """Tokens of a prompt, exactly; None when the server does not count, or not in time."""
        if not profile.counter:
            return None
        asked = repr((profile.name, messages, prefill)).encode("utf-8", "replace")
        key = hashlib.blake2b(asked, digest_size=16).digest()
        count = self._known.get(key)
        if count is None:
            try:
                count = await self._ask(messages, prefill, profile, _patience(seconds))
            except _NO_COUNT as error:
                self._note(error)
                return None
            self._known[key] = count
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return count

    async def text(
        self, text: str, profile: ModelProfile, *, seconds: float | None = None
    ) -> int | None:
        """Tokens of a text by itself, exactly; None when the server does not count."""
        if not profile.counter:
            return None
        try:
            return await self._text(text, profile, _patience(seconds))
        except _NO_COUNT as error:
            self._note(error)
            return None

    def _note(self, error: Exception) -> None:
        """See whether it may count another time."""
        if isinstance(error, ModelRejected):
            self.absent = self.absent or error.status in (404, 405, 501)
        elif not isinstance(error, ModelUnavailable):  # it counts in a form that nobody knows
            self.absent = True

    async def _ask(
        self,
        messages: list[dict[str, Any]],
        prefill: str,
        profile: ModelProfile,
        seconds: float,
    ) -> int:
        until = time.monotonic() + seconds
        if profile.counter == "vllm":
            begun = [{"role": "assistant", "content": prefill}] if prefill else []
            body = {
                "model": profile.name,
                "messages": [*messages, *begun],
                "add_generation_prompt": not begun,
                "continue_final_message": bool(begun),
            }
            return await self._count(body, seconds)
        written = await self._connection.post(
            "//apply-template", {"messages": messages}, seconds=seconds
        )
        left = until - time.monotonic()
        return await self._text(str(written["prompt"]) + prefill, profile, left, whole=True)

    async def _text(
        self, text: str, profile: ModelProfile, seconds: float, *, whole: bool = False
    ) -> int:
        """``whole``: the text is a prompt, in which control tokens are what they say."""
        if profile.counter == "vllm":
            body: dict[str, Any] = {
                "model": profile.name,
                "prompt": text,
                "add_special_tokens": False,
            }
            return await self._count(body, seconds)
        body = {"content": text, "add_special": whole, "parse_special": whole}
        told = await self._connection.post("//tokenize", body, seconds=seconds)
        return len(told["tokens"])

    async def _count(self, body: dict[str, Any], seconds: float) -> int:
        return int((await self._connection.post("//tokenize", body, seconds=seconds))["count"])


def _patience(seconds: float | None) -> float:
    return _SECONDS if seconds is None else min(seconds, _SECONDS)


def upper_bound(messages: list[dict[str, Any]], prefill: str = "") -> int:
    """More tokens than a prompt of usual text has in any usual tokenizer: one for two small letters
    (words have fewer), one for each other character of ASCII (numbers, lists and code come close to
    that), one for every byte of other scripts.
    """
    total = _TEMPLATE + _PER_MESSAGE * len(messages) + _bound(prefill)
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
    encoded = text.encode("utf-8", "replace")
    return len(encoded) - (len(encoded) - len(encoded.translate(None, _SMALL))) // 2
