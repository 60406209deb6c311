"""Requests that get an error, in the words of the servers that send it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reverie.evals.quirks.asked import Asked
from reverie.evals.quirks.behaviour import Quirks


class Refused(Exception):
    """An error response with this status and JSON body."""

    def __init__(
        self,
        status: int,
        document: Mapping[str, Any],
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(status)
        self.status = status
        self.document = document
        self.headers = headers


def refused(
    message: str,
    *,
    status: int = 400,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | int | None = None,
    **more: Any,
) -> Refused:
    """A refusal in OpenAI's form."""
    error = {"message": message, "type": kind, "param": param, "code": code, **more}
    return Refused(status, {"error": error})


def check_fields(body: Mapping[str, Any], quirks: Quirks) -> None:
    """Refuses the fields that ``quirks`` name."""
    for name in quirks.refuses:
        field, _, kind = name.partition(".")
        value = body.get(field)
        if value is None or (kind and kind != value.get("type") and kind not in value):
            continue
        instead = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
        raise refused(
            f"Unsupported parameter: '{name}' is not supported with this model.{instead}",
            param=name,
            code="unsupported_parameter",
        )


def check_model(name: Any, quirks: Quirks) -> None:
    """Refuses models that are not served."""
    if name not in quirks.models:
        raise refused(
            f"The model `{name}` does not exist.",
            status=404,
            kind="NotFoundError",
            param="model",
            code="model_not_found",
        )


def wrong_wire(model: str, path: str) -> Refused:
    """OpenAI's answer when a model does not speak what it is asked in."""
    if path == "/v1/responses":
        return refused(
            f"The requested model '{model}' cannot be used with the Responses API.",
            param="model",
            code="unsupported_model",
        )
    return refused(
        "This model is only supported in v1/responses and not in v1/chat/completions.",
        status=404,
        param="model",
    )


def wrong_key(sent: str) -> Refused:
    """OpenAI's 401, but with the whole key in it, and the header that it came in sent back."""
    key = sent.removeprefix("Bearer ")
    found = refused(
        f"Incorrect API key provided: {key}. You can find your API key in your settings.",
        status=401,
        code="invalid_api_key",
    )
    found.headers = (("x-received-authorization", sent),)
    return found


def check_window(asked: Asked, quirks: Quirks, *, responses: bool = False) -> None:
    """Refuses what does not fit into the window; with ``overflow="cut"``, cuts the prompt."""
    window, prompt, wanted = quirks.window, asked.prompt_tokens, asked.max_tokens or 0
    if quirks.overflow == "cut":
        asked.prompt_tokens = min(prompt, window - 1)
        return
    counted = 0 if quirks.overflow == "llamacpp" else wanted
    # The reply needs room for one token at least.
    if prompt + max(counted, 1) <= window:
        return
    match quirks.overflow:
        case "vllm":
            raise _vllm_overflow(window, prompt, wanted)
        case "llamacpp":
            raise Refused(
                400,
                {
                    "error": {
                        "code": 400,
                        "message": f"request ({prompt} tokens) exceeds the available context size "
                        f"({window} tokens), try increasing it",
                        "type": "exceed_context_size_error",
                        "n_prompt_tokens": prompt,
                        "n_ctx": window,
                    }
                },
            )
        case "sglang":
            raise _sglang_overflow(window, prompt, wanted)
        case "openai" if responses:
            raise refused(
                "Your input exceeds the context window of this model. Please adjust your input "
                "and try again.",
                param="input",
                code="context_length_exceeded",
            )
        case "openai":
            raise refused(
                f"This model's maximum context length is {window} tokens. However, your messages "
                f"resulted in {prompt + wanted} tokens. Please reduce the length of the messages.",
                param="messages",
                code="context_length_exceeded",
            )


def _vllm_overflow(window: int, prompt: int, wanted: int) -> Refused:
    if prompt >= window:
        message = (
            f"This model's maximum context length is {window} tokens. However, your prompt "
            f"contains at least {prompt} input tokens, which exceeds this limit even without any "
            "output tokens. Please reduce the length of the input prompt."
        )
    else:
        message = (
            f"This model's maximum context length is {window} tokens. However, you requested "
            f"{prompt + wanted} tokens ({prompt} in the messages, {wanted} in the completion). "
            "Please reduce the length of the messages or completion."
        )
    return refused(message, kind="BadRequestError", param="input_tokens", code=400)


def _sglang_overflow(window: int, prompt: int, wanted: int) -> Refused:
    """SGLang's errors are not inside an ``error`` object."""
    if prompt >= window:
        message = (
            f"The input ({prompt} tokens) is longer than the model's context length "
            f"({window} tokens)."
        )
    else:
        message = (
            f"Requested token count exceeds the model's maximum context length of {window} "
            f"tokens. You requested a total of {prompt + wanted} tokens: {prompt} tokens from the "
            f"input messages and {wanted} tokens for the completion."
        )
    error = {"object": "error", "message": message, "type": "BadRequestError", "param": None}
    return Refused(400, {**error, "code": 400})
