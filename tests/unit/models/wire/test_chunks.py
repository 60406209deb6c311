"""Pieces as LangChain's messages."""

from __future__ import annotations

import json

import pytest

from reverie.models.wire.chunks import chunk_of, last_chunk, message_of
from reverie.models.wire.piece import Piece, TokenLogprob, Tokens, ToolDelta

SCORED = TokenLogprob("a", -0.5, (("a", -0.5), ("b", -1.0)))
TOLD = {
    "token": "a",
    "logprob": -0.5,
    "top_logprobs": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.0}],
}
CALL = [
    ToolDelta(0, "t1", "weather", '{"city": '),
    ToolDelta(0, arguments='"Paris"}'),
    ToolDelta(1, "t2", "time", ""),
]


def test_a_chunk_with_everything() -> None:
    piece = Piece(
        text="hello",
        reasoning="hm",
        refusal="no",
        logprobs=[SCORED],
        tools=CALL[:1],
        extra={"id": "c1", "model": "toy", "token_ids": [1], "stop_ignored": True},
    )
    message = chunk_of(piece).message
    assert message.text == "hello"
    assert message.additional_kwargs == {"reasoning_content": "hm", "refusal": "no"}
    assert message.response_metadata["logprobs"] == {"content": [TOLD]}
    assert message.response_metadata["id"] == "c1"
    assert message.response_metadata["token_ids"] == [1]
    assert "stop_ignored" not in message.response_metadata
    assert message.tool_call_chunks[0]["name"] == "weather"
    assert message.tool_call_chunks[0]["args"] == '{"city": '


def test_a_stream_and_a_whole_reply_say_the_same() -> None:
    usage = Tokens(5, 7, cached=2, reasoning=3)
    pieces = [
        Piece(text="he", reasoning="h", logprobs=[SCORED], extra={"id": "c1"}, tools=CALL[:1]),
        Piece(text="llo", reasoning="m", logprobs=[SCORED], tools=CALL[1:]),
    ]
    merged = chunk_of(pieces[0]).message
    merged += chunk_of(pieces[1]).message
    end = Piece(usage=usage, extra={"usage_estimated": False})
    merged += last_chunk(end, "tool_calls", "toy", ["look"]).message
    whole = message_of(
        Piece(
            text="hello",
            reasoning="hm",
            logprobs=[SCORED, SCORED],
            tools=CALL,
            finish="tool_calls",
            usage=usage,
            extra={"id": "c1", "usage_estimated": False},
        ),
        "toy",
    )
    assert merged.text == whole.text == "hello"
    assert merged.additional_kwargs == whole.additional_kwargs
    assert merged.usage_metadata == whole.usage_metadata
    assert [(c["name"], c["args"], c["id"]) for c in merged.tool_calls] == [
        ("weather", {"city": "Paris"}, "t1"),
        ("time", {}, "t2"),
    ]
    assert merged.tool_calls == whole.tool_calls
    assert merged.response_metadata.pop("notices") == ["look"]
    assert merged.response_metadata == whole.response_metadata
    assert merged.chunk_position == "last"


def test_the_usage() -> None:
    message = message_of(Piece(usage=Tokens(5, 7, cached=2, reasoning=3)), "toy")
    assert message.usage_metadata == {
        "input_tokens": 5,
        "output_tokens": 7,
        "total_tokens": 12,
        "input_token_details": {"cache_read": 2},
        "output_token_details": {"reasoning": 3},
    }
    assert message_of(Piece(), "toy").usage_metadata is None


def test_a_reply_without_a_reason_for_its_end() -> None:
    assert message_of(Piece(), "toy").response_metadata["finish_reason"] == "unknown"
    assert (
        last_chunk(Piece(), "", "toy", ()).message.response_metadata["finish_reason"] == "unknown"
    )


@pytest.mark.parametrize(
    "arguments", ["{", "[]", "5", "null", '"text"', "{'a': 1}", "[" * 5000, "\x00"]
)
def test_arguments_that_are_no_object_are_an_invalid_call(arguments: str) -> None:
    piece = Piece(tools=[ToolDelta(0, "t1", "weather", arguments)])
    message = message_of(piece, "toy")
    assert not message.tool_calls
    (call,) = message.invalid_tool_calls
    assert (call["name"], call["id"], call["args"]) == ("weather", "t1", arguments)
    assert call["error"]


def test_calls_keep_their_order_and_do_not_mix() -> None:
    deltas = [
        ToolDelta(1, "b", "two", "{"),
        ToolDelta(0, "a", "one", "{"),
        ToolDelta(1, arguments='"x": 2}'),
        ToolDelta(0, arguments='"x": 1}'),
        ToolDelta(2, "c", "three", "{"),
    ]
    message = message_of(Piece(tools=deltas), "toy")
    assert [(c["name"], c["args"]) for c in message.tool_calls] == [
        ("two", {"x": 2}),
        ("one", {"x": 1}),
    ]
    assert [c["name"] for c in message.invalid_tool_calls] == ["three"]


def test_a_message_can_be_written_as_json() -> None:
    piece = Piece(text="hello", logprobs=[SCORED], tools=CALL, extra={"prompt_logprobs": [None]})
    json.dumps(message_of(piece, "toy").model_dump(mode="json"))
