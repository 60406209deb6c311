"""The Responses API: bodies out, responses and events in, checked against the SDK's own types."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from reverie.errors import ContextOverflow, ModelRejected, ModelUnavailable, ReverieError
from reverie.models.profile import ModelProfile
from reverie.models.wire.piece import Piece, Request, TokenLogprob, Tokens, ToolDelta
from reverie.models.wire.responses import Responses

WIRE = Responses()
CAUTIOUS = ModelProfile(name="gpt-5.1-codex", wire="responses")
ABLE = ModelProfile(
    name="able",
    wire="responses",
    json_schema=True,
    json_object=True,
    schema_with_tools=True,
    logprobs=True,
    top_logprobs=5,
    n=True,
    seed=True,
    stop=True,
    prefill=True,
)
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds", "parameters": {"type": "object"}},
}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}


def body(*messages: dict[str, Any], profile: ModelProfile = ABLE, **options: Any) -> dict[str, Any]:
    """The body of a request, which the SDK's types allow."""
    request = Request(list(messages) or HELLO, **options)
    sent = WIRE.body(request, profile, stream=False)
    TypeAdapter(ResponseCreateParamsNonStreaming).validate_python(sent)
    streamed = WIRE.body(request, profile, stream=True)
    TypeAdapter(ResponseCreateParamsStreaming).validate_python(streamed)
    assert streamed == sent | {"stream": True}
    return sent


class TestBody:
    def test_says_only_what_was_asked_for(self) -> None:
        assert body() == {
            "model": "able",
            "input": [{"type": "message", "role": "user", "content": "Hello"}],
            "store": False,
        }

    def test_has_what_the_wire_has_and_nothing_else(self) -> None:
        sent = body(
            max_tokens=7,
            temperature=0.5,
            top_p=0.9,
            seed=3,
            stop=("END",),
            logprobs=True,
            top_logprobs=20,
            n=2,
            prefill="{",
        )
        del sent["model"], sent["input"]
        assert sent == {
            "store": False,
            "max_output_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 5,
        }

    def test_leaves_out_what_the_model_does_not_take(self) -> None:
        profile = CAUTIOUS.model_copy(update={"sampling": False, "refuses": ("store",)})
        form = {"type": "json_object"}
        sent = body(
            profile=profile, temperature=0.5, top_p=0.9, logprobs=True, response_format=form
        )
        assert sent.keys() == {"model", "input"}

    def test_begins_with_instructions(self) -> None:
        sent = body(
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            *HELLO,
            {"role": "system", "content": "Now be long."},
        )
        assert sent["instructions"] == "Be brief.\n\nBe kind."
        assert [item["role"] for item in sent["input"]] == ["user", "system"]

    def test_has_calls_and_their_results_as_items(self) -> None:
        function = {"name": "add", "arguments": '{"a": 1}'}
        sent = body(
            *HELLO,
            {
                "role": "assistant",
                "content": "Let me see",
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "5", "name": "add"},
            {"role": "assistant", "content": None, "function_call": function},
            {"role": "function", "name": "add", "content": "6"},
        )
        call = {"type": "function_call", **function}
        assert sent["input"][1:] == [
            {"type": "message", "role": "assistant", "content": "Let me see"},
            {**call, "call_id": "c1"},
            {"type": "function_call_output", "call_id": "c1", "output": "5"},
            {**call, "call_id": "call_add"},
            {"type": "function_call_output", "call_id": "call_add", "output": "6"},
        ]

    def test_has_images_and_files(self) -> None:
        content = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:;base64,AA"}},
        ]
        parts = [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:;base64,AA"},
        ]
        sent = body(
            {"role": "user", "content": content},
            {"role": "tool", "tool_call_id": "c1", "content": content},
        )
        assert sent["input"][0]["content"] == parts
        assert sent["input"][1]["output"] == parts

    @pytest.mark.parametrize(
        ("choice", "sent"),
        [
            ("required", "required"),
            (
                {"type": "function", "function": {"name": "add"}},
                {"type": "function", "name": "add"},
            ),
            (
                {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "add"}}],
                    },
                },
                {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "add"}],
                },
            ),
        ],
    )
    def test_flattens_tools_and_their_choice(self, choice: Any, sent: Any) -> None:
        made = body(tools=(TOOL,), tool_choice=choice, parallel_tool_calls=False)
        assert made["tools"] == [
            {
                "type": "function",
                "name": "add",
                "description": "Adds",
                "parameters": {"type": "object"},
                "strict": False,
            }
        ]
        assert made["tool_choice"] == sent
        assert made["parallel_tool_calls"] is False

    def test_is_strict_where_told_to(self) -> None:
        strict = {"type": "function", "function": {"name": "add", "strict": True}}
        made = body(tools=(strict, {"type": "web_search"}))
        assert made["tools"][0]["strict"] is True
        assert made["tools"][1] == {"type": "web_search"}

    def test_has_the_format_of_the_text(self) -> None:
        schema: dict[str, Any] = {"schema": {"type": "object"}}
        made = body(response_format={"type": "json_schema", "json_schema": schema})
        assert made["text"] == {"format": {"type": "json_schema", "name": "reply", **schema}}
        assert body(response_format={"type": "json_object"})["text"]["format"] == {
            "type": "json_object"
        }

    def test_merges_extra_body(self) -> None:
        made = body(
            logprobs=True,
            response_format={"type": "json_object"},
            extra_body={
                "text": {"verbosity": "low"},
                "include": ["reasoning.encrypted_content"],
                "reasoning": {"effort": "low"},
                "store": True,
            },
        )
        assert made["text"] == {"format": {"type": "json_object"}, "verbosity": "low"}
        assert made["include"] == ["message.output_text.logprobs", "reasoning.encrypted_content"]
        assert made["reasoning"] == {"effort": "low"}
        assert made["store"] is True


# -- what comes back ---------------------------------------------------------------------------

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}
THOUGHT: dict[str, Any] = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
}
CALL: dict[str, Any] = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "add",
    "arguments": '{"a":1}',
    "status": "completed",
}


def response(*output: dict[str, Any], **other: Any) -> dict[str, Any]:
    """A response, as the SDK writes it."""
    made = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "completed",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "usage": USAGE,
    }
    return Response.model_validate(made | other).model_dump()


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event, as the SDK writes it."""
    usual = {"item_id": "i", "output_index": 0, "content_index": 0, "sequence_number": 1}
    if "summary" in kind:
        usual["summary_index"] = 0
    made: Any = TypeAdapter(ResponseStreamEvent).validate_python(
        {**usual, "logprobs": [], **fields, "type": f"response.{kind}"}
    )
    dumped: dict[str, Any] = made.model_dump(exclude_unset=True)
    return dumped


async def read(*events: Any) -> list[Piece]:
    async def stream() -> AsyncGenerator[Any, None]:
        for one in events:
            yield one

    return [piece async for piece in WIRE.pieces(stream())]


def put_together(pieces: list[Piece]) -> Piece:
    """All pieces as one."""
    whole = Piece()
    tools: dict[int, ToolDelta] = {}
    for piece in pieces:
        whole.text += piece.text
        whole.reasoning += piece.reasoning
        whole.refusal += piece.refusal
        whole.logprobs += piece.logprobs
        whole.finish = piece.finish or whole.finish
        whole.usage = piece.usage or whole.usage
        whole.extra |= piece.extra
        for delta in piece.tools:
            so_far = tools.get(delta.index, ToolDelta(delta.index))
            tools[delta.index] = ToolDelta(
                delta.index,
                so_far.id + delta.id,
                so_far.name + delta.name,
                so_far.arguments + delta.arguments,
            )
    whole.tools = list(tools.values())
    return whole


KNOWN = {"model": "m", "id": "resp_1"}
SAID = Piece(text="Hello", finish="stop", usage=Tokens(9, 5, 4, 2), extra=KNOWN)


class TestReplies:
    def test_have_text_and_usage(self) -> None:
        assert WIRE.replies(response(MESSAGE)) == [SAID]

    def test_have_reasoning_and_calls(self) -> None:
        (reply,) = WIRE.replies(response(THOUGHT, CALL, {**CALL, "call_id": "call_2"}))
        assert reply.reasoning == "a\n\nb"
        assert reply.tools == [
            ToolDelta(0, "call_1", "add", '{"a":1}'),
            ToolDelta(1, "call_2", "add", '{"a":1}'),
        ]
        assert reply.finish == "tool_calls"

    def test_prefer_reasoning_to_its_summary(self) -> None:
        shown = {**THOUGHT, "content": [{"type": "reasoning_text", "text": "all of it"}]}
        (reply,) = WIRE.replies(response(shown, MESSAGE))
        assert (reply.reasoning, reply.text) == ("all of it", "Hello")

    def test_have_the_text_of_all_messages(self) -> None:
        (reply,) = WIRE.replies(response(MESSAGE, MESSAGE))
        assert reply.text == "HelloHello"

    def test_have_logprobs(self) -> None:
        top = [{"token": "Hi", "logprob": -0.5, "bytes": []}]
        token = {"token": "Hi", "logprob": -0.5, "bytes": [], "top_logprobs": top}
        part = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": [token]}
        (reply,) = WIRE.replies(response({**MESSAGE, "content": [part]}))
        assert reply.logprobs == [TokenLogprob("Hi", -0.5, (("Hi", -0.5),))]

    def test_say_refusals(self) -> None:
        part = {"type": "refusal", "refusal": "I will not"}
        (reply,) = WIRE.replies(response({**MESSAGE, "content": [part]}))
        assert (reply.refusal, reply.text) == ("I will not", "")

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [("max_output_tokens", "length"), ("content_filter", "content_filter")],
    )
    def test_say_why_they_are_incomplete(self, reason: str, finish: str) -> None:
        details = {"reason": reason}
        (reply,) = WIRE.replies(response(MESSAGE, status="incomplete", incomplete_details=details))
        assert (reply.finish, reply.text) == (finish, "Hello")

    def test_are_none_when_the_server_sent_none(self) -> None:
        assert WIRE.replies(response(usage=None)) == []

    def test_that_failed_raise(self) -> None:
        failed = response(status="failed", error={"code": "server_error", "message": "boom"})
        with pytest.raises(ModelUnavailable, match="boom"):
            WIRE.replies(failed)
        with pytest.raises(ModelUnavailable, match="without a word"):
            WIRE.replies(response(status="failed"))

    @pytest.mark.parametrize("sent", [{}, [], "text", None, {"choices": []}, {"output": "a"}])
    def test_of_something_else_are_a_value_error_that_says_what(self, sent: Any) -> None:
        with pytest.raises(ValueError, match="nothing of the Responses API"):
            WIRE.replies(sent)


def opened() -> dict[str, Any]:
    return event("created", response=response(status="in_progress", usage=None))


def ended(*output: dict[str, Any], **other: Any) -> dict[str, Any]:
    return event("completed", response=response(*output, **other))


TEXT_EVENTS = [
    opened(),
    event("in_progress", response=response(status="in_progress", usage=None)),
    event("output_item.added", item={**MESSAGE, "content": [], "status": "in_progress"}),
    event("content_part.added", part={"type": "output_text", "text": "", "annotations": []}),
    event("output_text.delta", delta="He"),
    event("output_text.delta", delta="llo"),
    event("output_text.done", text="Hello"),
    event("content_part.done", part=MESSAGE["content"][0]),
    event("output_item.done", item=MESSAGE),
    ended(MESSAGE),
]
CALL_EVENTS = [
    opened(),
    event("output_item.added", item={**CALL, "arguments": "", "status": "in_progress"}),
    event("function_call_arguments.delta", delta='{"a"'),
    event("function_call_arguments.delta", delta=":1}"),
    event("function_call_arguments.done", arguments='{"a":1}', name="add"),
    event("output_item.done", item=CALL),
    ended(CALL),
]
THOUGHT_EVENTS = [
    opened(),
    event("output_item.added", item={**THOUGHT, "summary": []}),
    event("reasoning_summary_part.added", part={"type": "summary_text", "text": ""}),
    event("reasoning_summary_text.delta", delta="a"),
    event("reasoning_summary_text.done", text="a"),
    event(
        "reasoning_summary_part.added",
        part={"type": "summary_text", "text": ""},
        summary_index=1,
    ),
    event("reasoning_summary_text.delta", delta="b", summary_index=1),
    event("output_item.done", item=THOUGHT),
    ended(THOUGHT, MESSAGE),
]


class TestPieces:
    async def test_come_as_they_are_said_and_once(self) -> None:
        pieces = await read(*TEXT_EVENTS)
        assert pieces == [
            Piece(extra=KNOWN),
            Piece(text="He"),
            Piece(text="llo"),
            Piece(finish="stop", usage=SAID.usage, extra=KNOWN),
        ]

    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            (TEXT_EVENTS, SAID),
            (
                CALL_EVENTS,
                Piece(
                    tools=[ToolDelta(0, "call_1", "add", '{"a":1}')],
                    finish="tool_calls",
                    usage=SAID.usage,
                    extra=KNOWN,
                ),
            ),
            (
                THOUGHT_EVENTS,
                Piece(
                    text="Hello",
                    reasoning="a\n\nb",
                    finish="stop",
                    usage=SAID.usage,
                    extra=KNOWN,
                ),
            ),
        ],
    )
    @pytest.mark.parametrize(
        "left_out",
        [
            (),
            ("delta",),
            ("delta", "text.done", "arguments.done"),
            ("delta", "done", "added"),
            ("done",),
            ("item.done", "created"),
        ],
    )
    async def test_are_the_same_whatever_a_server_leaves_out(
        self, events: list[dict[str, Any]], expected: Piece, left_out: tuple[str, ...]
    ) -> None:
        sent = [one for one in events if not one["type"].endswith(left_out or ("none",))]
        if "delta" in left_out:  # what sets parts off comes with the parts
            sent = [one for one in sent if "summary_part" not in one["type"]]
        whole = put_together(await read(*sent))
        if events is THOUGHT_EVENTS and left_out == ("delta",):
            expected = Piece(
                **{**_fields(expected), "reasoning": "a"}
            )  # its other half is not said
        assert whole == expected

    async def test_of_two_calls_are_kept_apart(self) -> None:
        second = {**CALL, "id": "fc_2", "call_id": "call_2"}
        pieces = await read(
            event("output_item.added", item={**CALL, "arguments": ""}, output_index=1),
            event("output_item.added", item={**second, "arguments": ""}, output_index=2),
            event("function_call_arguments.delta", delta="{", output_index=2),
            event("function_call_arguments.delta", delta="{", output_index=1),
            event("function_call_arguments.delta", delta="}", output_index=1),
            event("function_call_arguments.delta", delta="}", output_index=2),
            ended(THOUGHT, CALL, second),
        )
        assert put_together(pieces).tools == [
            ToolDelta(0, "call_1", "add", "{}"),
            ToolDelta(1, "call_2", "add", "{}"),
        ]

    async def test_have_logprobs_refusals_and_reasoning(self) -> None:
        token = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Ho", "logprob": -1}]}
        pieces = await read(
            event("reasoning_text.delta", delta="hm"),
            event("output_text.delta", delta="Hi", logprobs=[token], output_index=1),
            event("refusal.delta", delta="no", output_index=1, content_index=1),
        )
        assert pieces == [
            Piece(reasoning="hm"),
            Piece(text="Hi", logprobs=[TokenLogprob("Hi", -0.5, (("Ho", -1.0),))]),
            Piece(refusal="no"),
        ]

    async def test_end_with_what_there_was_room_for(self) -> None:
        cut = response(
            MESSAGE, status="incomplete", incomplete_details={"reason": "max_output_tokens"}
        )
        pieces = await read(
            event("output_text.delta", delta="Hello"), event("incomplete", response=cut)
        )
        assert pieces[-1].finish == "length"
        assert pieces[-1].usage == SAID.usage

    async def test_skip_what_is_not_known(self) -> None:
        pieces = await read(
            *TEXT_EVENTS[:5],
            {"type": "keepalive"},
            {"type": "response.hologram.delta", "delta": "no"},
            {"type": "response.output_text.delta", "delta": 5},
            *TEXT_EVENTS[5:],
        )
        assert put_together(pieces) == SAID

    async def test_read_a_server_that_does_not_stream(self) -> None:
        assert await read(response(MESSAGE)) == [SAID]

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("server_error", ModelUnavailable),
            ("rate_limit_exceeded", ModelUnavailable),
            ("vector_store_timeout", ModelUnavailable),
            ("invalid_prompt", ModelRejected),
            ("image_too_large", ModelRejected),
            ("context_length_exceeded", ContextOverflow),
        ],
    )
    async def test_end_in_the_error_that_the_server_reports(
        self, code: str, expected: type[ReverieError]
    ) -> None:
        error = {"code": code, "message": "The reason"}
        failed = response(status="failed") | {"error": error}
        for last in (
            {"type": "error", "param": None, "sequence_number": 2, **error},
            {"type": "error", "error": error},
            {"type": "response.failed", "sequence_number": 2, "response": failed},
        ):
            with pytest.raises(expected, match="The reason") as raised:
                await read(*TEXT_EVENTS[:5], last)
            if isinstance(raised.value, ModelUnavailable):
                assert raised.value.transient

    @pytest.mark.parametrize(
        "sent", [[1], ["text"], [{"choices": []}], [{"type": "response.completed"}]]
    )
    async def test_of_something_else_are_a_value_error(self, sent: list[Any]) -> None:
        with pytest.raises(ValueError, match="nothing of the Responses API"):
            await read(*sent)

    async def test_close_the_stream_when_they_are_closed(self) -> None:
        closed = []

        async def endless() -> AsyncGenerator[dict[str, Any], None]:
            try:
                while True:
                    yield event("output_text.delta", delta="a")
            finally:
                closed.append(True)

        pieces = WIRE.pieces(endless())
        assert (await anext(pieces)).text == "a"
        await pieces.aclose()
        assert closed == [True]


def _fields(piece: Piece) -> dict[str, Any]:
    return {name: getattr(piece, name) for name in Piece.__slots__}


# -- anything ----------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "type",
        "response",
        "output",
        "status",
        "item",
        "content",
        "summary",
        "text",
        "refusal",
        "delta",
        "arguments",
        "name",
        "call_id",
        "output_index",
        "content_index",
        "summary_index",
        "usage",
        "error",
        "incomplete_details",
        "logprobs",
    ]
)
KINDS = st.sampled_from(
    [
        "message",
        "reasoning",
        "function_call",
        "output_text",
        "failed",
        *(one["type"] for one in [*TEXT_EVENTS, *CALL_EVENTS, *THOUGHT_EVENTS]),
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
EVENTS = st.builds(
    lambda kind, fields: {**fields, "type": kind}, KINDS, st.dictionaries(NAMES, ANYTHING)
)


@given(ANYTHING)
def test_any_document_is_read_or_refused(sent: Any) -> None:
    try:
        replies = WIRE.replies(sent)
    except (ValueError, ReverieError):
        return
    assert all(isinstance(reply.text, str) and isinstance(reply.finish, str) for reply in replies)


@given(st.lists(ANYTHING | EVENTS, max_size=4))
async def test_any_stream_is_read_or_refused(sent: list[Any]) -> None:
    try:
        pieces = await read(*sent)
    except (ValueError, ReverieError):
        return
    assert all(isinstance(piece.text, str) and isinstance(piece.reasoning, str) for piece in pieces)
    assert all(isinstance(delta.arguments, str) for piece in pieces for delta in piece.tools)
