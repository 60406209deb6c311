"""Chat Completions: bodies out, documents and chunks in."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from reverie.errors import ContextOverflow, ModelRejected, ModelUnavailable, ReverieError
from reverie.models.profile import ModelProfile
from reverie.models.wire.completions import ChatCompletions
from reverie.models.wire.piece import Piece, Request, TokenLogprob, Tokens

WIRE = ChatCompletions()
CAUTIOUS = ModelProfile(name="small")
ABLE = ModelProfile(
    name="able",
    json_schema=True,
    json_object=True,
    schema_with_tools=True,
    logprobs=True,
    top_logprobs=5,
    n=True,
    seed=True,
    stop=True,
    prefill=True,
    parallel_tools=True,
)
MESSAGES = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
EVERYTHING = Request(
    MESSAGES,
    max_tokens=7,
    temperature=0.5,
    top_p=0.9,
    seed=3,
    stop=("END",),
    logprobs=True,
    top_logprobs=20,
    n=2,
    tools=(TOOL,),
    tool_choice="auto",
    parallel_tool_calls=False,
    response_format=SCHEMA,
)


async def stream(*documents: Any) -> AsyncGenerator[Any, None]:
    for document in documents:
        yield document


async def read(*documents: Any) -> list[Piece]:
    return [piece async for piece in WIRE.pieces(stream(*documents))]


def chunk(delta: Any = None, finish: str | None = None, **other: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [choice],
    } | other


def call_chunk(**call: Any) -> dict[str, Any]:
    return chunk({"tool_calls": [call]})


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def calls(pieces: list[Piece]) -> list[tuple[str, str, str]]:
    """Every call's id, name and arguments."""
    found: dict[int, list[str]] = {}
    for piece in pieces:
        for delta in piece.tools:
            call = found.setdefault(delta.index, ["", "", ""])
            call[0] += delta.id
            call[1] += delta.name
            call[2] += delta.arguments
    return [(id_, name, arguments) for _, (id_, name, arguments) in sorted(found.items())]


# -- bodies ------------------------------------------------------------------------------------


class TestBody:
    def test_says_only_what_was_asked_for(self) -> None:
        body = WIRE.body(Request(MESSAGES), ABLE, stream=False)
        assert body == {"model": "able", "messages": MESSAGES}

    def test_of_everything_is_what_the_sdk_documents(self) -> None:
        body = WIRE.body(EVERYTHING, ABLE, stream=False)
        TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(body)
        assert body == {
            "model": "able",
            "messages": MESSAGES,
            "max_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 3,
            "stop": ["END"],
            "logprobs": True,
            "top_logprobs": 5,
            "n": 2,
            "tools": [TOOL],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": {"type": "object"}},
            },
        }

    def test_leaves_out_what_an_unknown_server_may_refuse(self) -> None:
        body = WIRE.body(EVERYTHING, CAUTIOUS, stream=False)
        assert body.keys() == {
            "model",
            "messages",
            "max_tokens",
            "temperature",
            "top_p",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
        }

    def test_leaves_out_what_the_server_has_refused(self) -> None:
        profile = ABLE.model_copy(update={"refuses": ("top_p", "stream_options", "seed")})
        body = WIRE.body(EVERYTHING, profile, stream=True)
        assert body.keys().isdisjoint({"top_p", "stream_options", "seed"})
        assert body["temperature"] == 0.5

    def test_has_no_sampling_for_models_without(self) -> None:
        profile = ModelProfile(name="o", sampling=False, max_tokens_field="max_completion_tokens")
        body = WIRE.body(
            Request(MESSAGES, max_tokens=7, temperature=0, top_p=1), profile, stream=False
        )
        assert body == {"model": "o", "messages": MESSAGES, "max_completion_tokens": 7}

    @pytest.mark.parametrize(
        ("usage", "options"),
        [("asked", {"include_usage": True}), ("always", None), ("never", None)],
    )
    def test_asks_for_usage_where_it_has_to(self, usage: Any, options: Any) -> None:
        profile = ModelProfile(name="m", usage=usage)
        body = WIRE.body(Request(MESSAGES, n=3), profile, stream=True)
        TypeAdapter(CompletionCreateParamsStreaming).validate_python(body)
        assert body["stream"] is True
        assert body.get("stream_options") == options

    def test_streams_one_reply_only(self) -> None:
        assert "n" not in WIRE.body(Request(MESSAGES, n=3), ABLE, stream=True)

    @pytest.mark.parametrize(
        ("tools", "choice", "sent"),
        [
            ("native", None, True),
            ("text", None, True),
            ("none", "required", False),
            ("forced", None, False),
            ("forced", "auto", False),
            ("forced", "required", True),
            ("forced", {"type": "function", "function": {"name": "add"}}, True),
        ],
    )
    def test_sends_tools_to_servers_that_take_them(
        self, tools: Any, choice: Any, sent: bool
    ) -> None:
        request = Request(MESSAGES, tools=(TOOL,), tool_choice=choice)
        body = WIRE.body(request, ModelProfile(name="m", tools=tools), stream=False)
        assert ("tools" in body) is sent
        assert body.get("tool_choice") == (choice if sent else None)

    def test_sends_no_choice_without_tools(self) -> None:
        request = Request(MESSAGES, tool_choice="auto", parallel_tool_calls=True)
        assert WIRE.body(request, ABLE, stream=False).keys() == {"model", "messages"}

    def test_leaves_the_schema_out_beside_tools_that_exclude_it(self) -> None:
        profile = ABLE.model_copy(update={"schema_with_tools": False})
        both = Request(MESSAGES, tools=(TOOL,), response_format=SCHEMA)
        assert "response_format" not in WIRE.body(both, profile, stream=False)
        alone = Request(MESSAGES, response_format=SCHEMA)
        assert "response_format" in WIRE.body(alone, profile, stream=False)

    @pytest.mark.parametrize(
        ("form", "profile", "sent"),
        [
            ({"type": "json_object"}, ABLE, True),
            ({"type": "json_object"}, CAUTIOUS, False),
            ({"type": "text"}, ABLE, False),
            ({"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}, ABLE, True),
        ],
    )
    def test_sends_formats_that_are_obeyed(
        self, form: dict[str, Any], profile: ModelProfile, sent: bool
    ) -> None:
        body = WIRE.body(Request(MESSAGES, response_format=form), profile, stream=False)
        assert body.get("response_format") == (form if sent else None)

    def test_begins_the_reply_as_vllm_takes_it(self) -> None:
        request = Request(MESSAGES, prefill="{")
        body = WIRE.body(request, ABLE, stream=False)
        assert body["messages"] == [*MESSAGES, {"role": "assistant", "content": "{"}]
        assert body["continue_final_message"] is True
        assert body["add_generation_prompt"] is False
        assert request.messages == MESSAGES
        assert WIRE.body(request, CAUTIOUS, stream=False)["messages"] == MESSAGES

    def test_is_overruled_by_extra_body(self) -> None:
        extra = {"temperature": 1.5, "top_k": 4}
        body = WIRE.body(Request(MESSAGES, temperature=0.1, extra_body=extra), ABLE, stream=False)
        assert body["temperature"] == 1.5
        assert body["top_k"] == 4


# -- whole replies -----------------------------------------------------------------------------


def document(*messages: dict[str, Any], **other: Any) -> dict[str, Any]:
    choices = [
        {"index": i, "message": {"role": "assistant", **m}, "finish_reason": "stop"}
        for i, m in enumerate(messages)
    ]
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    return whole | other


class TestReplies:
    def test_reads_what_the_sdk_documents(self) -> None:
        usage = {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
        sent = ChatCompletion.model_validate(document({"content": "Hi"}, usage=usage))
        assert WIRE.replies(sent.model_dump()) == [
            Piece(
                text="Hi",
                finish="stop",
                usage=Tokens(9, 5, cached=4, reasoning=2),
                extra={"model": "m", "id": "c"},
            )
        ]

    def test_are_in_the_order_of_their_index_with_the_usage_once(self) -> None:
        sent = document({"content": "a"}, {"content": "b"}, usage={"prompt_tokens": 1})
        sent["choices"].reverse()
        replies = WIRE.replies(sent)
        assert [reply.text for reply in replies] == ["a", "b"]
        assert [reply.usage for reply in replies] == [Tokens(1, 0), None]

    @pytest.mark.parametrize("choices", [[], None])
    def test_are_none_when_the_server_sent_none(self, choices: Any) -> None:
        assert WIRE.replies({"choices": choices}) == []

    @pytest.mark.parametrize(
        "message",
        [
            {"content": "4", "reasoning": "2+2"},
            {"content": "4", "reasoning_content": "2+2"},
            {"content": "4", "reasoning": "2+2", "reasoning_content": "2+2"},
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]},
                    {"type": "text", "text": "4"},
                ]
            },
        ],
    )
    def test_keep_reasoning_under_every_name(self, message: dict[str, Any]) -> None:
        (reply,) = WIRE.replies(document(message))
        assert (reply.text, reply.reasoning) == ("4", "2+2")

    def test_give_every_call_an_id_of_its_own(self) -> None:
        sent = document(
            {
                "content": None,
                "tool_calls": [
                    {"id": "x", "type": "function", "function": {"name": "a", "arguments": "{}"}},
                    {"id": "x", "type": "function", "function": {"name": "a", "arguments": "{}"}},
                    {"function": {"name": "a", "arguments": {"n": 1}}},
                ],
            }
        )
        (reply,) = WIRE.replies(sent)
        found = calls([reply])
        assert [name for _, name, _ in found] == ["a", "a", "a"]
        assert [json.loads(arguments) for _, _, arguments in found] == [{}, {}, {"n": 1}]
        ids = [id_ for id_, _, _ in found]
        assert ids[0] == "x"
        assert len(set(ids)) == 3
        assert all(id_.startswith("call_") for id_ in ids[1:])

    def test_read_the_older_function_call(self) -> None:
        sent = document({"content": None, "function_call": {"name": "a", "arguments": "{}"}})
        sent["choices"][0]["finish_reason"] = "function_call"
        (reply,) = WIRE.replies(sent)
        assert calls([reply])[0][1:] == ("a", "{}")
        assert reply.finish == "tool_calls"

    def test_have_logprobs_and_ids_of_tokens(self) -> None:
        sent = document({"content": "Hi"}, prompt_token_ids=[1, 2], prompt_logprobs=[None])
        sent["choices"][0] |= {
            "token_ids": [7],
            "logprobs": {
                "content": [
                    {
                        "token": "Hi",
                        "logprob": -0.5,
                        "top_logprobs": [
                            {"token": "Hi", "logprob": -0.5},
                            {"token": "Ho", "logprob": None},
                        ],
                    }
                ]
            },
        }
        (reply,) = WIRE.replies(sent)
        assert reply.logprobs == [TokenLogprob("Hi", -0.5, (("Hi", -0.5), ("Ho", -9999.0)))]
        assert reply.extra["token_ids"] == [7]
        assert reply.extra["prompt_token_ids"] == [1, 2]
        assert reply.extra["prompt_logprobs"] == [None]

    def test_have_logprobs_in_the_form_of_completions(self) -> None:
        sent = document({"content": "Hi!"})
        sent["choices"][0]["logprobs"] = {
            "tokens": ["Hi", "!"],
            "token_logprobs": [-0.5, float("-inf")],
            "top_logprobs": [{"Hi": -0.5}],
        }
        (reply,) = WIRE.replies(sent)
        assert reply.logprobs == [
            TokenLogprob("Hi", -0.5, (("Hi", -0.5),)),
            TokenLogprob("!", -9999.0),
        ]

    def test_tolerate_numbers_as_text_and_counts_that_are_none(self) -> None:
        (reply,) = WIRE.replies(
            document({"content": "a"}, usage={"prompt_tokens": "7", "total_tokens": "9"})
        )
        assert reply.usage == Tokens(7, 2)
        (reply,) = WIRE.replies(
            document({"content": "a"}, usage={"prompt_tokens": 0, "completion_tokens": 0})
        )
        assert reply.usage is None

    def test_say_refusals(self) -> None:
        (reply,) = WIRE.replies(document({"content": None, "refusal": "I will not"}))
        assert reply.refusal == "I will not"

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            [],
            "text",
            None,
            {"object": "list", "data": []},
            {"choices": "none"},
            {"choices": [1]},
            {"choices": [{"message": "text"}]},
            {"choices": [{"message": {"tool_calls": "text"}}]},
            {"choices": [{"message": {"tool_calls": [{"function": [1]}]}}]},
        ],
    )
    def test_of_something_else_are_a_value_error_that_says_what(self, sent: Any) -> None:
        with pytest.raises(ValueError, match="this is no") as raised:
            WIRE.replies(sent)
        assert len(str(raised.value)) < 260

    def test_of_an_error_are_that_error(self) -> None:
        with pytest.raises(ModelRejected, match="no chat template"):
            WIRE.replies(
                {"error": {"message": "no chat template", "type": "invalid_request_error"}}  # type: ignore[dict-item]  # a document, whatever it holds
            )


# -- streams -----------------------------------------------------------------------------------


class TestPieces:
    async def test_come_as_the_sdk_documents(self) -> None:
        sent = [
            ChatCompletionChunk.model_validate({"created": 1, **one}).model_dump()
            for one in (
                chunk({"role": "assistant", "content": ""}),
                chunk({"content": "He"}),
                chunk({"content": "llo"}),
                chunk({}, "stop"),
                chunk(
                    choices=[],
                    usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
                ),
            )
        ]
        pieces = await read(*sent)
        assert pieces == [
            Piece(extra={"model": "m", "id": "c1"}),
            Piece(text="He"),
            Piece(text="llo"),
            Piece(finish="stop"),
            Piece(usage=Tokens(3, 2)),
        ]

    async def test_take_usage_with_the_last_word_or_with_every_one(self) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        pieces = await read(
            chunk({"content": "a"}, usage=usage),
            chunk({"content": "b"}, "stop", usage=usage | {"completion_tokens": 2}),
        )
        assert [piece.usage for piece in pieces] == [Tokens(3, 1), Tokens(3, 2)]

    async def test_skip_chunks_that_say_nothing(self) -> None:
        nothing = [
            {"choices": []},
            {"choices": None},
            {"object": "ping"},
            chunk(None),
            chunk({"content": None}),
            {"id": "c1"},
        ]
        pieces = await read(chunk({"content": "a"}), *nothing, chunk({}, "stop"))
        assert text(pieces) == "a"
        assert len(pieces) == 2

    async def test_follow_one_reply_of_several(self) -> None:
        other = chunk({"content": "no"})
        other["choices"][0]["index"] = 1
        pieces = await read(chunk({"content": "a"}), other, chunk({"content": "b"}, "stop"))
        assert text(pieces) == "ab"

    async def test_read_the_whole_message_of_a_server_that_does_not_stream(self) -> None:
        whole = document({"content": "all", "reasoning": "why"}, usage={"prompt_tokens": 1})
        (piece,) = await read(whole)
        assert (piece.text, piece.reasoning, piece.finish) == ("all", "why", "stop")
        assert piece.usage == Tokens(1, 0)

    async def test_do_not_say_the_whole_message_again(self) -> None:
        last = document({"content": "ab"})
        pieces = await read(chunk({"content": "a"}), chunk({"content": "b"}), last)
        assert text(pieces) == "ab"
        assert pieces[-1].finish == "stop"

    async def test_put_split_calls_in_their_places(self) -> None:
        pieces = await read(
            call_chunk(index=0, id="a", type="function", function={"name": "f", "arguments": ""}),
            call_chunk(index=0, function={"arguments": '{"x"'}),
            call_chunk(index=1, id="b", type="function", function={"name": "f", "arguments": "{"}),
            call_chunk(index=0, function={"arguments": ":1}"}),
            call_chunk(index=1, function={"arguments": "}"}),
            chunk({}, "tool_calls"),
        )
        assert calls(pieces) == [("a", "f", '{"x":1}'), ("b", "f", "{}")]

    @pytest.mark.parametrize(
        "sent",
        [
            # Gemini: every call whole, under index 0
            [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
                {"index": 0, "id": "b", "function": {"name": "f", "arguments": "{}"}},
            ],
            # no index, and arguments after the name
            [
                {"id": "a", "function": {"name": "f"}},
                {"function": {"arguments": "{}"}},
                {"id": "b", "function": {"name": "f"}},
                {"id": "b", "function": {"arguments": "{}"}},
            ],
            # id and name in every chunk
            [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}},
                {"index": 1, "id": "b", "function": {"name": "f", "arguments": "{}"}},
            ],
            # indices that begin at one, the id before the name
            [
                {"index": 1, "id": "a"},
                {"index": 1, "function": {"name": "f", "arguments": "{}"}},
                {"index": 2, "id": "b", "function": {"name": "f", "arguments": {}}},
            ],
        ],
    )
    async def test_put_calls_in_order_that_servers_muddle(self, sent: list[Any]) -> None:
        pieces = await read(*(call_chunk(**call) for call in sent))
        assert calls(pieces) == [("a", "f", "{}"), ("b", "f", "{}")]

    async def test_make_ids_where_there_are_none(self) -> None:
        pieces = await read(
            call_chunk(function={"name": "f", "arguments": "{}"}),
            call_chunk(function={"name": "f", "arguments": "{}"}),
        )
        (one, *_), (two, *_) = calls(pieces)
        assert one.startswith("call_")
        assert two.startswith("call_")
        assert one != two

    async def test_keep_ids_of_tokens(self) -> None:
        first = chunk({"role": "assistant"}, prompt_token_ids=[1, 2])
        second = chunk({"content": "a"})
        second["choices"][0]["token_ids"] = [9]
        pieces = await read(first, second)
        assert pieces[0].extra["prompt_token_ids"] == [1, 2]
        assert pieces[1].extra == {"token_ids": [9]}

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("eos_token", "stop"),
            ("max_tokens", "length"),
            ("function_call", "tool_calls"),
            ("x", "x"),
        ],
    )
    async def test_name_the_end_as_openai_does(self, said: str, expected: str) -> None:
        pieces = await read(chunk({"content": "a"}, said))
        assert pieces[-1].finish == expected

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            ({"message": "boom", "code": 500}, ModelUnavailable),
            ("an error was encountered while running the model", ModelUnavailable),
            ({"message": "slow down", "type": "rate_limit_exceeded"}, ModelUnavailable),
            ({"message": "bad", "type": "invalid_request_error"}, ModelRejected),
            (
                {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8},
                ContextOverflow,
            ),
        ],
    )
    async def test_end_in_the_error_that_the_server_reports(
        self, error: Any, expected: type[ReverieError]
    ) -> None:
        with pytest.raises(expected, match="broke off"):
            await read(chunk({"content": "a"}), {"error": error})

    @pytest.mark.parametrize("sent", [[1], ["text"], [{"choices": [1]}], [{"choices": "a"}]])
    async def test_of_something_else_are_a_value_error(self, sent: list[Any]) -> None:
        with pytest.raises(ValueError, match="this is no"):
            await read(*sent)

    async def test_of_events_of_another_kind_are_a_value_error_in_the_end(self) -> None:
        with pytest.raises(ValueError, match='"response": "Hi"'):
            await read({"response": "Hi", "done": False}, {"response": "!", "done": True})

    async def test_of_an_empty_stream_are_none(self) -> None:
        assert await read() == []

    async def test_close_the_stream_when_they_are_closed(self) -> None:
        closed = []

        async def endless() -> AsyncGenerator[dict[str, Any], None]:
            try:
                while True:
                    yield chunk({"content": "a"})
            finally:
                closed.append(True)

        pieces = WIRE.pieces(endless())
        assert (await anext(pieces)).text == "a"
        await pieces.aclose()
        assert closed == [True]


# -- anything ----------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "choices",
        "delta",
        "message",
        "content",
        "tool_calls",
        "function_call",
        "function",
        "name",
        "arguments",
        "index",
        "id",
        "usage",
        "logprobs",
        "top_logprobs",
        "tokens",
        "token_logprobs",
        "finish_reason",
        "error",
        "object",
        "reasoning",
        "refusal",
        "text",
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "token",
        "token_ids",
        "type",
        "thinking",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
DELTAS = st.dictionaries(NAMES, ANYTHING, max_size=4).map(chunk)


@given(ANYTHING)
def test_any_document_is_read_or_refused(sent: Any) -> None:
    try:
        replies = WIRE.replies(sent)
    except (ValueError, ReverieError):
        return
    assert all(isinstance(reply.text, str) and isinstance(reply.finish, str) for reply in replies)


@given(st.lists(ANYTHING | DELTAS, max_size=4))
async def test_any_stream_is_read_or_refused(sent: list[Any]) -> None:
    try:
        pieces = await read(*sent)
    except (ValueError, ReverieError):
        return
    assert all(isinstance(piece.text, str) and isinstance(piece.reasoning, str) for piece in pieces)
    indices = [delta.index for piece in pieces for delta in piece.tools]
    assert set(indices) == set(range(len(set(indices))))


def test_deep_documents_are_read_or_refused() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = {"a": [deep]}
    function = {"name": deep, "arguments": "{}"}
    for message in (
        {"content": deep},
        {"content": "a", "refusal": deep, "reasoning": deep},
        {"tool_calls": [{"id": deep, "function": function}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": deep}}]},
    ):
        try:
            (reply,) = WIRE.replies(document(message))
        except ValueError as error:
            assert len(str(error)) < 260  # noqa: PT017  # either outcome is right
        else:
            assert reply.finish == "stop"
