"""What a model call leaves behind: the record that traces keep and events carry."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from reverie.graphs.records import Usage

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.graphs.call import Reply


class PromptUse(TypedDict):
    """Which prompt file was used; ``version`` is the beginning of its content's SHA-256."""

    name: str
    version: str


class Turn(TypedDict):
    """One message of a prompt."""

    role: str
    content: str


class TokenProbability(TypedDict):
    """A token as the model wrote it, and its natural log-probability."""

    token: str
    logprob: float


class CallRecord(TypedDict):
    """One model call. A failed one has an error, and what it had cost by then."""

    node: str
    """``strategy.node``."""
    name: str
    """Unique in the run, and the same when the node runs again."""
    branch: int | None
    model: str
    prompts: list[PromptUse]
    template: str
    """The reasoning template that was added; empty: none."""
    messages: list[Turn]
    prefill: str
    options: dict[str, Any]
    text: str
    tool_calls: list[dict[str, Any]]
    tokens: list[TokenProbability]
    complete: bool
    usage: Usage
    began: float
    """Unix time in seconds; ``usage`` has the duration."""
    error: str
    error_type: str


def call_record(
    *,
    node: str,
    name: str,
    branch: int | None,
    model: str,
    prompts: Sequence[PromptUse],
    template: str,
    messages: Sequence[BaseMessage],
    prefill: str,
    options: Mapping[str, Any],
    usage: Usage,
    reply: Reply | None,
    error: BaseException | None,
) -> CallRecord:
    """The record of a call that has just ended, with a reply or an error."""
    return {
        "node": node,
        "name": name,
        "branch": branch,
        "model": model,
        "prompts": list(prompts),
        "template": template,
        "messages": [{"role": _ROLES.get(m.type, m.type), "content": m.text} for m in messages],
        "prefill": prefill,
        "options": {key: value for key, value in options.items() if value not in (None, (), [])},
        "text": reply.text if reply else "",
        "tool_calls": [dict(call) for call in reply.tool_calls] if reply else [],
        "tokens": [{"token": t, "logprob": p} for t, p in reply.tokens] if reply else [],
        "complete": reply.complete if reply else False,
        "usage": usage,
        "began": time.time() - usage["seconds"],
        "error": str(error) if error else "",
        "error_type": type(error).__name__ if error else "",
    }


_ROLES = {"human": "user", "ai": "assistant"}
