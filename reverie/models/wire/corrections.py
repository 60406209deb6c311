"""What a profile has to say differently after a server has shown otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reverie.errors import ContextOverflow, ModelRejected
from reverie.models.profile import ModelProfile
from reverie.models.wire.piece import Request

Change = tuple[str, Any, str]
"""A profile's field, its new value, and why."""

_SWITCHES: dict[str, tuple[str, Any]] = {
    "logprobs": ("logprobs", False),
    "top_logprobs": ("top_logprobs", 0),
    "stream_options": ("usage", "never"),
    "seed": ("seed", False),
    "stop": ("stop", False),
    "n": ("n", False),
    "temperature": ("sampling", False),
    "top_p": ("sampling", False),
    "parallel_tool_calls": ("parallel_tools", False),
    "continue_final_message": ("prefill", False),
    "add_generation_prompt": ("prefill", False),
}
"""Request field to what its refusal means."""


def after_refusal(
    error: ModelRejected, profile: ModelProfile, body: dict[str, Any]
) -> list[Change]:
    """What to change so that the request, asked again, may be taken; nothing when it cannot be."""
    if isinstance(error, ContextOverflow):
        known = error.window in (None, profile.window)
        why = f"a refusal named {error.window} tokens"
        return [] if known else [("window", error.window, why)]
    name = error.field.partition(".")[0]
    if change := _exchanged(name, profile, body):
        return [change]
    if name == "response_format" and "text" in body:
        name = "text"  # as Responses calls it
    # Without tools the answer would be to another question.
    if name in body and name not in (*profile.refuses, "tools", "tool_choice"):
        return _without(name, profile, body)
    return []


def _exchanged(name: str, profile: ModelProfile, body: Mapping[str, Any]) -> Change | None:
    """The change when the server wants the same said in another way."""
    if name == "wire":
        other = "responses" if profile.wire == "chat" else "chat"
        return ("wire", other, "the server said that it speaks the other one")
    if name in ("max_tokens", "max_completion_tokens") and name in body:
        other = "max_completion_tokens" if name == "max_tokens" else "max_tokens"
        return ("max_tokens_field", other, f"the server refused {name}")
    if name == "tool_choice" and profile.tools == "native" and "tools" in body:
        return ("tools", "forced", "it takes tools only where a call is required")
    return None


def _without(name: str, profile: ModelProfile, body: Mapping[str, Any]) -> list[Change]:
    """What to change so that requests do not hold ``name`` any more."""
    why = f"the server refused {name}"
    if name in ("response_format", "text"):
        form = body[name]
        form = form.get("format", form) if isinstance(form, Mapping) else None
        if not isinstance(form, Mapping):  # the caller's own, from extra_body
            return []
        switch = "json_schema" if form.get("type") == "json_schema" else "json_object"
        return [(switch, False, why)] if getattr(profile, switch) else []
    changes: list[Change] = [("refuses", (*profile.refuses, name), why)]
    if name in _SWITCHES:
        switch, value = _SWITCHES[name]
        if getattr(profile, switch) != value:
            changes.append((switch, value, why))
    return changes


def after_reply(
    request: Request,
    profile: ModelProfile,
    *,
    usage: bool,
    scored: int,
    wrote: bool,
    shown: Mapping[str, Any],
) -> list[Change]:
    """What a reply shows to be wrong: a usage or log-probabilities that did not come (``scored``
    tokens had one; ``wrote`` says that there was text), and what the filters noted in ``shown``.
    """
    changes: list[Change] = []
    if not usage and profile.usage != "never":
        changes.append(("usage", "never", "it does not say what a reply cost"))
    if request.logprobs and profile.logprobs and wrote and not scored:
        changes.append(("logprobs", False, "it sent no log-probabilities when asked"))
    if shown.get("stop_ignored") and profile.stop:
        changes.append(("stop", False, "it wrote on behind a stop string"))
    if shown.get("tools_as_text") and profile.tools != "text":
        changes.append(("tools", "text", "it writes tool calls into its answer"))
    return changes
