"""How servers say that they do not take a field of a request."""

from __future__ import annotations

import re
from typing import Final

_FIELDS: Final = (
    "add_generation_prompt|continue_final_message|include_usage|logprobs|max_completion_tokens"
    "|max_output_tokens|max_tokens|parallel_tool_calls|prefill|presence_penalty|frequency_penalty"
    "|reasoning_effort|response_format|response format|return_token_ids|prompt_logprobs|seed|stop"
    "|store|stream_options|structured_outputs|temperature|text\\.format|tool_choice|tool use"
    "|tool calls|tools|top_k|top_logprobs|top_p"
)
"""Fields that are named in plain words too; any other is believed when it is quoted as one."""

_Q = r"['\"`\[\]]{0,3}"
_FIELD = rf"{_Q}\b(?P<field>{_FIELDS}|(?<=['\"`])[a-z]\w{{0,40}})\b(?:\.\w{{1,40}}){{0,3}}{_Q}"
_NOT = r"(?:not|n't|no longer) (?:\w{1,12} ){0,2}?"
_UNSUPPORTED = rf"(?:unsupported|unavailable|{_NOT}(?:supported|available|allowed|permitted|impl))"
_UNKNOWN = (
    r"(?:unknown|unrecognized|unexpected) (?:request |keyword )?"
    r"(?:parameter|param|field|argument|property)"
)
_ASIDE = r"(?:(?:the|use of|parameters?:?|assistant|message|setting) ){0,3}"

_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI: https://github.com/griptape-ai/ComfyUI-Griptape/issues/312
        # llama.cpp: https://github.com/ggml-org/llama.cpp/issues/10920
        rf"unsupported (?:parameter|param|value|field|argument|property)s?:? {_FIELD}",
        # OpenAI, "Unrecognized request argument supplied: stream_options", and those like it
        rf"{_UNKNOWN}s?(?: supplied)?:? {_Q}(?P<field>[a-z]\w{{0,40}})",
        # vLLM, as text: https://github.com/1Panel-dev/MaxKB/issues/2912
        r"extra_forbidden.{1,6}loc.{1,6}body.{1,4}(?<=\W)(?P<field>\w{1,40})",
        # Fireworks: https://github.com/FlowiseAI/Flowise/issues/2866
        rf"extra inputs are not permitted, field: {_Q}(?P<field>\w{{1,40}})",
        # Azure: https://github.com/microsoft/semantic-kernel/issues/10510
        r"(?:^|[\s/])(?P<field>\w{1,40})(?:\.\w{1,40}){0,3}: extra inputs are not permitted",
        # llama.cpp, "logprobs is not supported with tools + stream"; Groq, "property 'logprobs' is
        # unsupported"; DeepSeek, "This response_format type is unavailable now"
        rf"{_FIELD} (?:\w{{1,12}} ){{0,2}}?(?:(?:is|are) )?{_UNSUPPORTED}",
        # OpenAI says "'temperature' does not support 0 with this model"
        rf"{_FIELD} does not support",
        # Ollama, "does not support tools": https://github.com/ollama/ollama/issues/11131
        # LiteLLM says "does not support parameters: ['n']"
        rf"(?:do|does|is|are) ?{_NOT}support(?:ed|s)?:? {_ASIDE}{_Q}\b(?P<field>{_FIELDS})\b",
        rf"(?:do|does) ?{_NOT}support (?:the )?parameters?:? {_Q}(?P<field>[a-z]\w{{0,40}})",
        # OpenRouter
        r"no endpoints found that support (?P<field>tool use|\w{1,40})",
        # llama.cpp: https://github.com/defilantech/LLMKube/issues/126
        r"(?P<field>tools|tool_choice) param requires",
        # vLLM that was started without a parser for tool calls
        r"\"?auto\"? (?P<field>tool choice) requires",
        # LM Studio, which knows no json_object
        r"(?P<field>response_format)(?:\.type)?['\"`]? must be ['\"`]json_schema",
        # Servers in Rust
        rf"{_FIELD}: unknown variant",
        # llama.cpp, and in other words Groq
        r"(?P<n>only one completion choice|['\"`]n['\"`] ?: number must be at most 1\b)",
        # vLLM, when more are asked for than it was started with
        r"requested sample (?P<top_logprobs>logprobs of \d{1,9},? which is greater)",
        # llama.cpp with a model that thinks; Mistral:
        # https://github.com/0xPlaygrounds/rig/issues/708
        r"(?P<prefill>response prefill is incompatible|expected last role user)",
        r"(?P<prefill>last message must (?:be from|have role) user)",
    )
)

_NAMES: Final = {
    "response format": "response_format",
    "text": "response_format",
    "text.format": "response_format",
    "include_usage": "stream_options",
    "tool use": "tools",
    "tool calls": "tools",
    "tool choice": "tool_choice",
    "prefill": "continue_final_message",
}

_NEVER: Final = frozenset({"", "input", "messages", "message", "model", "body", "stream"})
"""Without these there is no request: what is said of them is about their content."""


def refused_field(text: str) -> str:
    """The field that ``text`` says the server does not take; empty if it says no such thing.

    Prefills are ``continue_final_message``; ``text.format`` of Responses is ``response_format``.
    """
    for pattern in _PATTERNS:
        if found := pattern.search(text):
            # A group that is not called field is called as the field that it means.
            name, value = next(iter(found.groupdict().items()))
            if field := canonical(value if name == "field" else name):
                return field
    return ""


def canonical(name: str) -> str:
    """The name of the field in Chat Completions; empty for what every request has."""
    name = name.strip().lower()
    if name.startswith("text.format"):
        return "response_format"
    first = re.split(r"[.\[/]", name.removeprefix("body.").lstrip("#/"), maxsplit=1)[0]
    first = _NAMES.get(first, first)
    return "" if first in _NEVER else first
