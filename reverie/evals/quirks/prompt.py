"""The toy model's chat template and tokenizer: a token is a word with the white space before it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

_TOKEN = re.compile(r"\s*\S+|\s+$")


def tokens(text: str) -> list[str]:
    """``text`` in tokens; put together they are ``text`` again."""
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """The token's number. White space before a word is part of it."""
    return zlib.crc32(token.encode("utf-8", "replace")) % 100_000


def text_of(content: Any) -> str:
    """The text of a message's content: a string, a list of parts, or null."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return content or ""


def render(messages: Sequence[Mapping[str, Any]], tools: Any = None, *, goes_on: bool) -> str:
    """The prompt. Each message costs two tokens besides its words, the reply's beginning one.

    With ``goes_on`` the last message stays open, and the reply goes on with it.
    """
    lines = [f"<|tools|> {json.dumps(tools)} <|end|>"] if tools else []
    for number, message in enumerate(messages, start=1):
        text = text_of(message.get("content"))
        if message.get("tool_calls"):
            text += " " + json.dumps(message["tool_calls"])
        if goes_on and number == len(messages):
            return "\n".join([*lines, f"<|{message['role']}|> {text}"])
        lines.append(f"<|{message['role']}|> {text} <|end|>")
    return "\n".join([*lines, "<|assistant|>"])
