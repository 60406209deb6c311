"""How servers say that a prompt does not fit into the context window."""

from __future__ import annotations

import re
from typing import Final

_WINDOW = r"(?P<window>\d[\d,]{0,11})"
_PROMPT = r"(?P<prompt>\d[\d,]{0,11})"

# Each with the numbers it has, <w> for the window and <p> for the prompt's tokens. What may lie
# between them is bounded, so that hostile text takes no longer than its length.
_NUMBERED: Final = tuple(
    re.compile(pattern.replace("<w>", _WINDOW).replace("<p>", _PROMPT), re.IGNORECASE)
    for pattern in (
        # vLLM to 0.11, DeepSeek: https://github.com/meta-llama/llama-verifications/issues/58
        # OpenAI and llama-cpp-python: https://github.com/fierceX/Document_QA/issues/3
        r"maximum context length is <w> tokens.{0,60}?requested [\d,]{1,12} tokens? \(<p> ",
        # OpenAI, of messages alone: https://github.com/mckaywrigley/repo-chat/issues/15
        r"maximum context length is <w> tokens.{0,40}?messages resulted in <p> tokens",
        # vLLM 0.32 says that "your prompt contains [at least] N input tokens", others name output
        # tokens before; "your request has N input tokens" is in the refusal of max_tokens.
        r"context length is <w> tokens.{0,80}?(?:contains|has)(?: at least)? <p> input tok",
        # vLLM 0.15: https://github.com/vllm-project/vllm/issues/33418
        r"passed <p> input tokens.{0,100}?context length is only <w> tokens",
        # vLLM's engine; its older words: https://github.com/vllm-project/vllm/issues/12165
        r"prompt \(length <p>\).{0,80}?maximum model length of <w>",
        r"prompt \(total length <p>\) is too long.{0,40}?context length <w>",
        # llama.cpp: https://github.com/ggml-org/llama.cpp/pull/16486
        r"request \(<p> tokens\) exceeds the available context size \(<w> tokens\)",
        r"n_prompt_tokens\W{1,6}<p>.{0,20}?n_ctx\W{1,6}<w>",
        # llama.cpp's embeddings, with status 500: https://github.com/containers/ramalama/pull/2852
        r"input \(<p> tokens\) is too large to process.{0,60}?current batch size: <w>\)",
        # SGLang's two
        r"input \(<p> tokens\) is longer than the model's context length \(<w> tokens\)",
        r"maximum context length of <w> tokens.{0,60}?total of [\d,]{1,12} tokens: <p> tokens from",
        # LM Studio: https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/546 and
        # https://github.com/Gitlawb/openclaude/issues/353
        r"keep the first <p> tokens when.{0,80}?context length of only <w> tokens",
        r"n_keep: <p> ?>= n_ctx: <w>",
        # TGI: https://github.com/huggingface/text-generation-inference/issues/628 and 937
        r"tokens \+ `max_new_tokens` must be <= <w>\. Given: <p> `inputs`",
        r"`inputs` must have less than <w> tokens\. Given: <p>",
        # llama-cpp-python: https://github.com/abetlen/llama-cpp-python/issues/416
        r"requested tokens \(<p>\) exceed context window of <w>",
        # Gateways and hosted models
        r"input length \(<p>\) exceeds (?:the )?model's maximum context length \(<w>\)",
        r"prompt is too long: <p> tokens > <w> maximum",
        r"maximum prompt length is <w> but the request contains <p> tokens",
        r"input token count \(<p>\) exceeds the maximum number of tokens allowed \(<w>\)",
        # The window alone
        r"maximum context length (?:is|of) <w> tokens?.{0,40}?(?:however|your request|but)",
        r"exceeds the model's maximum context length of <w>",
        r"longer than the maximum model length of <w>",
        r"context length is only <w> tokens",
        r"exceeds the available context size \(<w> tokens\)",
    )
)

_PLAIN: Final = re.compile(
    r"exceeds? the (?:available )?context (?:size|length|window)"  # llama.cpp, Ollama
    r"|input length exceeds"  # Ollama
    r"|context_length_exceeded|exceed_context_size"
    r"|exceeds the context window of this model"  # OpenAI's Responses
    r"|(?:prompt|input|request|message)s? (?:is|are) too (?:long|large) for"
    r"|prompt is too long"
    r"|input is too large to process"
    r"|exceeds? the maximum (?:context|model) length"
    r"|context size has been exceeded"  # llama.cpp, in mid-stream
    r"|context (?:length|window) (?:was |has been |is )?exceeded"
    # vLLM's when the prompt alone fills the window:
    # https://github.com/vllm-project/vllm/issues/4667
    r"|max_tokens must be at least 1, got -\d",
    re.IGNORECASE,
)


def read_overflow(text: str) -> tuple[int | None, int | None] | None:
    """The window and the prompt's tokens, as far as ``text`` names them; None if the text is about
    something else. The prompt may fit: some servers refuse when prompt and reply together do not.
    """
    for pattern in _NUMBERED:
        if found := pattern.search(text):
            numbers = found.groupdict()
            return _number(numbers.get("window")), _number(numbers.get("prompt"))
    return (None, None) if _PLAIN.search(text) else None


def _number(digits: str | None) -> int | None:
    return int(digits.replace(",", "")) or None if digits else None
