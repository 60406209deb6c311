"""What errors mean, in the words that servers have for them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reverie.models.wire.error_body import excerpt
from reverie.models.wire.refusal import Refusal, error_in, read_refusal, retry_after


def read(document: Any, status: int = 400) -> Refusal:
    return read_refusal(status, document, {})


VLLM = "This model's maximum context length is 16384 tokens. However, "

OVERFLOWS = [
    (
        VLLM + "you requested 122946 tokens (112946 in the messages, 10000 in the completion). "
        "Please reduce the length of the messages or completion.",
        16384,
        112946,
    ),
    (
        (
            "This model's maximum context length is 8191 tokens, however you requested 8238 tokens "
            "(8238 in your prompt; 0 for the completion). Please reduce your prompt"
        ),
        8191,
        8238,
    ),
    (
        VLLM + "your messages resulted in 16393 tokens. Please reduce the length of the messages.",
        16384,
        16393,
    ),
    (
        VLLM + "your prompt contains at least 16385 input tokens, which exceeds this limit even "
        "without any output tokens. Please reduce the length of the input prompt.",
        16384,
        16385,
    ),
    (
        VLLM + "you requested 4000 output tokens and your prompt contains 12500 input tokens, for "
        "a total of 16500 tokens.",
        16384,
        12500,
    ),
    (
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 20000. This model's maximum "
            "context length is 16384 tokens and your request has 92 input tokens (20000 > "
            "16384 - 92)."
        ),
        16384,
        92,
    ),
    (
        VLLM + "your prompt contains 99999 characters (more than 88888 characters, which is the "
        "upper bound for 16384 input tokens).",
        16384,
        None,
    ),
    (
        (
            "You passed 31745 input tokens and requested 1024 output tokens. However, the model's "
            "context length is only 32768 tokens, resulting in a maximum input length of "
            "31744 tokens."
        ),
        32768,
        31745,
    ),
    (
        (
            "The decoder prompt (length 8825) is longer than the maximum model length of 8192. "
            "Make sure that `max_model_len` is no smaller than the number of text tokens."
        ),
        8192,
        8825,
    ),
    (
        "The prompt (total length 25938) is too long to fit into the model (context length 4096).",
        4096,
        25938,
    ),
    ("max_tokens must be at least 1, got -186.", None, None),
    ("request (1407 tokens) exceeds the available context size (256 tokens)", 256, 1407),
    ("the request exceeds the available context size, try increasing it", None, None),
    (
        "The input (291793 tokens) is longer than the model's context length (262144 tokens).",
        262144,
        291793,
    ),
    (
        (
            "Requested token count exceeds the model's maximum context length of 32768 tokens. You "
            "requested a total of 70000 tokens: 6000 tokens from the input messages and 64000 "
            "tokens for the completion."
        ),
        32768,
        6000,
    ),
    (
        "Requested token count exceeds the model's maximum context length of 262144 tokens.",
        262144,
        None,
    ),
    (
        (
            "Trying to keep the first 10136 tokens when context the overflows. However, the model "
            "is loaded with context length of only 7866 tokens, which is not enough."
        ),
        7866,
        10136,
    ),
    (
        (
            "The number of tokens to keep from the initial prompt is greater than the context "
            "length (n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger "
            "context length"
        ),
        4096,
        13055,
    ),
    (
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: "
            "1244 `inputs` tokens and 1000 `max_new_tokens`"
        ),
        2048,
        1244,
    ),
    (
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 1872",
        1024,
        1872,
    ),
    ("the input length exceeds the context length", None, None),
    ("Requested tokens (2285) exceed context window of 2048", 2048, 2285),
    ("prompt is too long: 213462 tokens > 200000 maximum", 200000, 213462),
    ("Your input exceeds the context window of this model.", None, None),
    ("Input length (265,330) exceeds model's maximum context length (262,144).", 262144, 265330),
]


class TestOverflow:
    @pytest.mark.parametrize(("message", "window", "prompt"), OVERFLOWS)
    @pytest.mark.parametrize(
        "shape",
        [
            lambda message: {"error": {"message": message, "type": "BadRequestError"}},
            lambda message: {"object": "error", "message": message, "code": 400},
            lambda message: {"error": message, "error_type": "validation"},
            lambda message: json.dumps({"detail": message}).encode(),
            lambda message: message,
        ],
    )
    def test_is_known_with_its_numbers_in_every_shape(
        self, message: str, window: int | None, prompt: int | None, shape: Any
    ) -> None:
        refusal = read(shape(message))
        assert (refusal.kind, refusal.window, refusal.prompt_tokens) == ("overflow", window, prompt)
        assert refusal.message == message[:500]
        assert refusal.parameter == ""

    @pytest.mark.parametrize("nested", [False, True])
    def test_has_the_numbers_that_llama_cpp_gives_beside_its_words(self, nested: bool) -> None:
        document: Any = {
            "error": {
                "code": 500,
                "message": "the request exceeds the available context size. try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 1407,
                "n_ctx": 256,
            }
        }
        if nested:  # Ollama hands on what its runner said
            document = {"error": json.dumps(document)}
        refusal = read(document, 500)
        assert (refusal.kind, refusal.window, refusal.prompt_tokens) == ("overflow", 256, 1407)
        assert refusal.message.startswith("the request exceeds")

    def test_is_known_by_openais_code(self) -> None:
        error = {"message": "too much", "code": "context_length_exceeded", "param": "messages"}
        refusal = read({"error": error})
        assert (refusal.kind, refusal.code) == ("overflow", "context_length_exceeded")

    def test_is_not_a_limit_on_replies_or_rates(self) -> None:
        reply = (
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens"
        )
        assert read({"error": {"message": reply, "param": "max_tokens"}}).kind == "other"
        rate = "Request too large: Limit 10000 tokens per min, Requested 15000"
        assert read({"error": {"message": rate}}, 429).kind == "too_many"


UNSUPPORTED = [
    ("Unsupported param: tools", "tools"),
    ("tools param requires --jinja flag", "tools"),
    ("registry.ollama.ai/library/deepseek-r1:14b does not support tools", "tools"),
    ("No endpoints found that support tool use.", "tools"),
    (
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "tool_choice",
    ),
    ("logprobs is not supported with tools + stream", "logprobs"),
    ("property 'logprobs' is unsupported", "logprobs"),
    ("logprobs are not available for this model", "logprobs"),
    ("Requested sample logprobs of 30, which is greater than max allowed: 20", "top_logprobs"),
    ("Unrecognized request argument supplied: stream_options", "stream_options"),
    ("Extra inputs are not permitted, field: 'stream_options', value: True", "stream_options"),
    (
        "Validation error at #/stream_options: Extra inputs are not permitted",
        "stream_options",
    ),
    (
        (
            "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), 'msg': 'Extra "
            "inputs are not permitted', 'input': 800}]"
        ),
        "max_completion_tokens",
    ),
    (
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead."
        ),
        "max_tokens",
    ),
    (
        (
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default "
            "(1) value is supported."
        ),
        "temperature",
    ),
    ("Unknown parameter: 'parallel_tool_calls'.", "parallel_tool_calls"),
    ("parallel_tool_calls is not allowed here", "parallel_tool_calls"),
    ("Only one completion choice is allowed", "n"),
    ("'n' : number must be at most 1", "n"),
    ("openai does not support parameters: ['n'], for model=x", "n"),
    ("'response_format.type' must be 'json_schema' or 'text'", "response_format"),
    ("This response_format type is unavailable now", "response_format"),
    ("response_format: unknown variant `json_schema`, expected `text`", "response_format"),
    ("This model does not support response format `json_schema`.", "response_format"),
    ("Unknown parameter: 'text.format'.", "response_format"),
    ("seed not supported", "seed"),
    ("stop is not supported with this model", "stop"),
    (
        "Assistant response prefill is incompatible with enable_thinking.",
        "continue_final_message",
    ),
    (
        (
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got "
            "assistant"
        ),
        "continue_final_message",
    ),
    ("This model does not support assistant message prefill.", "continue_final_message"),
    ("Unrecognized request argument supplied: add_generation_prompt", "add_generation_prompt"),
]


class TestUnsupportedField:
    @pytest.mark.parametrize(("message", "field"), UNSUPPORTED)
    def test_is_named(self, message: str, field: str) -> None:
        refusal = read({"error": {"message": message}})
        assert (refusal.kind, refusal.parameter) == ("unsupported_field", field)

    def test_is_named_by_openais_code(self) -> None:
        error = {"message": "No.", "code": "unsupported_value", "param": "text.format.type"}
        assert read({"error": error}).parameter == "response_format"

    def test_is_named_by_fastapi(self) -> None:
        found = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}
        refusal = read({"detail": [found]}, 422)
        assert (refusal.kind, refusal.parameter) == ("unsupported_field", "seed")
        assert refusal.message == "seed: Extra inputs"

    @pytest.mark.parametrize(
        "error",
        [
            {
                "message": "Invalid 'temperature': decimal above maximum value",
                "param": "temperature",
                "code": "decimal_above_max_value",
            },
            {"message": "Invalid schema for response_format 'x'", "param": "response_format"},
            {
                "message": "Unsupported value: 'messages[0].role' does not support 'system' with "
                "this model.",
                "param": "messages[0].role",
                "code": "unsupported_value",
            },
            {"message": "Conversation roles must alternate user/assistant/user/assistant"},
            {"message": "the tools you have named need a description"},
        ],
    )
    def test_is_not_a_field_with_a_bad_value(self, error: dict[str, str]) -> None:
        refusal = read({"error": error})
        assert (refusal.kind, refusal.parameter) == ("other", "")

    def test_of_fastapi_with_a_bad_value_is_other(self) -> None:
        found = {"type": "less_than_equal", "loc": ["body", "top_p"], "msg": "at most 1"}
        refusal = read({"detail": [found]}, 422)
        assert (refusal.kind, refusal.parameter, refusal.message) == (
            "other",
            "",
            "top_p: at most 1",
        )


class TestKinds:
    @pytest.mark.parametrize(
        ("status", "document", "kind"),
        [
            (401, {"error": "Unauthorized"}, "key"),
            (403, "forbidden", "key"),
            (400, {"error": {"message": "API key not valid", "code": "invalid_api_key"}}, "key"),
            (404, {"error": {"message": "no", "code": "model_not_found"}}, "unknown_model"),
            (404, {"object": "error", "message": "The model `x` does not exist."}, "unknown_model"),
            (404, {"error": {"message": 'model "x" not found, try pulling it'}}, "unknown_model"),
            (400, {"error": {"message": "x is not a valid model ID"}}, "unknown_model"),
            (404, {"detail": "Not Found"}, "other"),
            (
                404,
                {
                    "error": {
                        "message": "This model is only supported in v1/responses and not in "
                        "v1/chat/completions."
                    }
                },
                "wrong_wire",
            ),
            (
                404,
                {
                    "error": {
                        "message": "This is not a chat model and thus not supported in the "
                        "v1/chat/completions endpoint. Did you mean to use v1/completions?",
                        "param": "model",
                    }
                },
                "wrong_wire",
            ),
            (
                400,
                (
                    "Unsupported legacy protocol: /v1/chat/completions is not supported. Please "
                    "use /v1/responses."
                ),
                "wrong_wire",
            ),
            (400, {"error": {"message": "no", "code": "content_filter"}}, "content_filter"),
            (
                403,
                {"error": {"message": "no", "code": "content_policy_violation"}},
                "content_filter",
            ),
            (429, {}, "too_many"),
            (413, {"error": {"message": "no", "code": "rate_limit_exceeded"}}, "too_many"),
            (500, {"error": {"message": "model file not found"}}, "server"),
            (503, "<html><title>503 Service Unavailable</title></html>", "server"),
            (0, {"error": "the runner has stopped"}, "server"),
            (0, {"error": {"message": "bad", "type": "BadRequestError"}}, "other"),
            (400, None, "other"),
        ],
    )
    def test_are_told_apart(self, status: int, document: Any, kind: str) -> None:
        assert read(document, status).kind == kind


class TestMessage:
    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ({"error": {"message": "a\n b\x00"}}, "a b"),
            ({"error": "a"}, "a"),
            ({"error": ["a", "b"]}, "a"),
            ({"detail": "a"}, "a"),
            ({"message": "a"}, "a"),
            ({"object": "error", "message": "a"}, "a"),
            ({"errors": [{"message": "a"}]}, "a"),
            ([{"error": {"code": 400, "message": "a"}}], "a"),
            (b'{"error": "a"}', "a"),
            (b"\xff", "\N{REPLACEMENT CHARACTER}"),
            ("<!DOCTYPE html><html><head><title>\n502 Bad</title>", "502 Bad"),
            ("<html><body>no", "a page of HTML"),
            (
                {
                    "error": {
                        "message": "Provider returned error",
                        "metadata": {"raw": '{"error": {"message": "logprobs is unsupported"}}'},
                    }
                },
                "Provider returned error",
            ),
            ({}, ""),
            ("", ""),
            (None, ""),
            ({"error": {"message": "lone \ud800 half"}}, "lone half"),
        ],
    )
    def test_is_found_in_every_shape(self, document: Any, message: str) -> None:
        assert read(document).message == message

    def test_of_another_server_is_searched_too(self) -> None:
        raw = '{"error": {"message": "logprobs is unsupported"}}'
        error = {"message": "Provider returned error", "metadata": {"raw": raw}}
        assert read({"error": error}).parameter == "logprobs"

    def test_is_short(self) -> None:
        assert len(read({"error": "word " * 10_000}).message) <= 500


class TestRetryAfter:
    NOW = 1_700_000_000.0

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "3"}, 3.0),
            ({"Retry-After": "0.25"}, 0.25),
            ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
            ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
            ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
            ({"retry-after": "Tue, 14 Nov 2023 22:13:30 -0000"}, 10.0),
            ({"retry-after": "Mon, 13 Nov 2023 22:13:30 GMT"}, 0.0),
            ({"retry-after": "tomorrow"}, None),
            ({"retry-after": "-3"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": ""}, None),
            ({"retry-after": "Tue, 99 Nov 2023 22:13:30 GMT"}, None),
            ({}, None),
        ],
    )
    def test_is_read(self, headers: dict[str, str], seconds: float | None) -> None:
        assert retry_after(headers, self.NOW) == seconds

    @given(st.text())
    def test_is_never_more_than_nonsense(self, said: str) -> None:
        found = retry_after({"retry-after": said}, self.NOW)
        assert found is None or found >= 0


# -- anything ----------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "error",
        "message",
        "detail",
        "msg",
        "loc",
        "type",
        "code",
        "param",
        "object",
        "metadata",
        "raw",
    ]
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just("extra_forbidden"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(ANYTHING | st.binary() | st.text(), st.integers(0, 599))
@example(b"[" * 5000, 400)
@example("{" + '"error":{' * 3000, 400)
@example({"detail": [{"loc": ["body"], "msg": None, "type": "extra_forbidden"}]}, 422)
def test_any_body_is_read(document: Any, status: int) -> None:
    refusal = read_refusal(status, document, {})
    assert len(refusal.message) <= 500
    assert (refusal.kind == "unsupported_field") == bool(refusal.parameter)
    refusal.message.encode()
    error_in(document)
    assert len(excerpt(document)) <= 200


def test_deep_documents_are_read() -> None:
    document: Any = "the input length exceeds the context length"
    for _ in range(50_000):
        document = {"error": document}
    assert read(document).kind == "other"
    assert excerpt(document).startswith('{"error": {"error":')


@pytest.mark.parametrize(
    "text",
    [
        "maximum context length is 1 tokens " * 200,
        "model " * 2000,
        "`" * 4000,
        "a" * 4000,
        "a." * 2000,
        "unsupported parameter " * 300,
        "logprobs is not not " * 300,
        "does not support the the the the " * 200,
        "<title" * 4000,
        "1" * 4000,
        "extra_forbidden loc body " * 200,
    ],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    begun = time.process_time()
    for _ in range(3):
        read({"error": text})
    assert time.process_time() - begun < 0.5
