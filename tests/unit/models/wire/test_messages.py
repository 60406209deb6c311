"""LangChain's messages as those of Chat Completions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from reverie.errors import ModelRejected
from reverie.models.wire.messages import to_wire

PIXEL = "iVBORw0KGgo="
DATA_URL = f"data:image/png;base64,{PIXEL}"
CALL = {"name": "add", "args": {"a": 1, "of": "Größe"}, "id": "c1", "type": "tool_call"}
WRITTEN = {
    "type": "function",
    "id": "c1",
    "function": {"name": "add", "arguments": '{"a": 1, "of": "Größe"}'},
}


def one(message: BaseMessage) -> dict[str, Any]:
    """The single message that ``message`` becomes, which the SDK's types allow."""
    (wire,) = to_wire([message])
    TypeAdapter(ChatCompletionMessageParam).validate_python(wire)
    return wire


class TestText:
    def test_is_sent_as_it_is(self) -> None:
        messages = [SystemMessage("Be brief."), HumanMessage("Größe?"), AIMessage("2 m")]
        assert to_wire(messages) == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Größe?"},
            {"role": "assistant", "content": "2 m"},
        ]

    def test_has_the_name_of_who_said_it(self) -> None:
        assert one(HumanMessage("Hi", name="ann")) == {
            "role": "user",
            "name": "ann",
            "content": "Hi",
        }

    def test_of_any_role_keeps_it(self) -> None:
        assert to_wire([ChatMessage("x", role="critic")]) == [{"role": "critic", "content": "x"}]
        developer = SystemMessage("x", additional_kwargs={"__openai_role__": "developer"})
        assert one(developer) == {"role": "developer", "content": "x"}
        assert one(FunctionMessage("x", name="f")) == {
            "role": "function",
            "name": "f",
            "content": "x",
        }

    def test_in_blocks_becomes_one_text(self) -> None:
        blocks: list[str | dict[Any, Any]] = [
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            "b",
        ]
        assert one(HumanMessage(blocks))["content"] == "a\nb"
        assert one(AIMessage(blocks))["content"] == "ab"

    def test_of_a_file_is_text(self) -> None:
        assert one(HumanMessage([{"type": "text-plain", "text": "a"}]))["content"] == "a"

    def test_may_be_empty(self) -> None:
        assert to_wire([HumanMessage(""), AIMessage([])]) == [
            {"role": "user", "content": ""},
            {"role": "assistant", "content": ""},
        ]


class TestReplies:
    @pytest.mark.parametrize("type_", [AIMessage, AIMessageChunk])
    def test_lose_their_reasoning(self, type_: type[AIMessage]) -> None:
        message = type_(
            content=[
                {"type": "reasoning", "reasoning": "secret"},
                {"type": "thinking", "thinking": "secret", "signature": "s"},
                {"type": "non_standard", "value": {"encrypted": "secret"}},
                {"type": "text", "text": "4", "annotations": []},
            ],
            additional_kwargs={"reasoning_content": "secret"},
        )
        assert one(message) == {"role": "assistant", "content": "4"}

    def test_with_calls_and_no_text_have_null_content(self) -> None:
        message = AIMessage("", tool_calls=[CALL])
        assert one(message) == {"role": "assistant", "content": None, "tool_calls": [WRITTEN]}

    def test_say_calls_once(self) -> None:
        message = AIMessage(
            [
                {"type": "text", "text": "Let me see"},
                {"type": "tool_use", "id": "c1", "name": "add", "input": {}},
                {"type": "tool_call", "id": "c1", "name": "add", "args": {}},
                {"type": "tool_use", "id": "c2", "name": "sub", "input": {"b": 2}},
                {"type": "function_call", "call_id": "c3", "name": "mul", "arguments": "{}"},
            ],
            tool_calls=[CALL],
        )
        wire = one(message)
        assert wire["content"] == "Let me see"
        assert [call["id"] for call in wire["tool_calls"]] == ["c1", "c2", "c3"]
        assert wire["tool_calls"][1]["function"] == {"name": "sub", "arguments": '{"b": 2}'}

    def test_keep_calls_that_failed_in_a_form_that_servers_can_parse(self) -> None:
        message = AIMessage(
            "",
            invalid_tool_calls=[
                {"name": "add", "args": '{"a": ', "id": "c1", "error": "cut off"},
                {"name": None, "args": '{"a": 1}', "id": None, "error": None},
            ],
        )
        calls = one(message)["tool_calls"]
        assert json.loads(calls[0]["function"]["arguments"]) == {"invalid_arguments": '{"a": '}
        assert calls[0]["id"] == "c1"
        assert calls[1]["function"] == {"name": "unknown", "arguments": '{"a": 1}'}
        assert calls[1]["id"]

    def test_that_are_refusals_say_so(self) -> None:
        message = AIMessage("", additional_kwargs={"refusal": "I will not"})
        assert one(message)["content"] == "I will not"

    def test_keep_the_older_function_call(self) -> None:
        called = {"name": "add", "arguments": "{}"}
        wire = one(AIMessage("", additional_kwargs={"function_call": called}))
        assert wire == {"role": "assistant", "content": None, "function_call": called}


class TestToolResults:
    def test_answer_their_call(self) -> None:
        message = ToolMessage("5", tool_call_id="c1", name="add", artifact=object())
        assert one(message) == {
            "role": "tool",
            "name": "add",
            "content": "5",
            "tool_call_id": "c1",
        }

    def test_may_be_blocks_and_failures(self) -> None:
        blocks: list[str | dict[Any, Any]] = [{"type": "text", "text": "no"}, "luck"]
        message = ToolMessage(blocks, tool_call_id="c1", status="error")
        assert one(message) == {"role": "tool", "content": "no\nluck", "tool_call_id": "c1"}

    def test_within_a_user_message_become_messages(self) -> None:
        result = {"type": "tool_result", "tool_use_id": "c1", "content": "5"}
        wire = to_wire([HumanMessage([result]), HumanMessage([result, "and now?"])])
        said = {"role": "tool", "tool_call_id": "c1", "content": "5"}
        assert wire == [said, {"role": "user", "content": "and now?"}, said]


class TestMedia:
    @pytest.mark.parametrize(
        "block",
        [
            {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
            {"type": "image", "url": DATA_URL},
            {"type": "image", "source_type": "base64", "data": PIXEL, "mime_type": "image/png"},
            {"type": "image", "source_type": "url", "url": DATA_URL},
            {"type": "image_url", "image_url": {"url": DATA_URL}},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
            },
            {"type": "image", "source": {"type": "url", "url": DATA_URL}},
        ],
    )
    def test_images_are_sent_in_one_form(self, block: dict[str, Any]) -> None:
        content = one(HumanMessage(["What is it?", block]))["content"]
        assert content == [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": DATA_URL}},
        ]

    @pytest.mark.parametrize(
        ("block", "sent"),
        [
            (
                {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ),
            (
                {"type": "audio", "url": "http://a/b.wav"},
                {"type": "audio_url", "audio_url": {"url": "http://a/b.wav"}},
            ),
            (
                {"type": "video", "base64": "AAAA", "mime_type": "video/webm"},
                {"type": "video_url", "video_url": {"url": "data:video/webm;base64,AAAA"}},
            ),
            (
                {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"},
                {
                    "type": "file",
                    "file": {
                        "filename": "file",
                        "file_data": "data:application/pdf;base64,AAAA",
                    },
                },
            ),
            (
                {"type": "file", "file": {"file_data": "data:;base64,AAAA"}},
                {"type": "file", "file": {"filename": "file", "file_data": "data:;base64,AAAA"}},
            ),
            ({"type": "file", "file_id": "f1"}, {"type": "file", "file": {"file_id": "f1"}}),
        ],
    )
    def test_of_other_kinds_are_sent(self, block: dict[str, Any], sent: dict[str, Any]) -> None:
        assert to_wire([HumanMessage([block])]) == [{"role": "user", "content": [sent]}]


class TestRejected:
    @pytest.mark.parametrize(
        "block",
        [
            {"type": "hologram", "data": "secret"},
            {"type": "image", "base64": "secret"},
            {"type": "image", "file_id": "secret"},
            {"type": "file", "url": "http://secret"},
            {"type": "text"},
            {},
        ],
    )
    def test_content_is_named_but_not_shown(self, block: dict[str, Any]) -> None:
        with pytest.raises(ModelRejected, match="message 1 holds content") as raised:
            to_wire([HumanMessage("a"), HumanMessage(["b", block])])
        assert "secret" not in str(raised.value)
        assert raised.value.hint

    def test_messages_that_are_none_are_named(self) -> None:
        with pytest.raises(ModelRejected, match="'remove'"):
            to_wire([RemoveMessage(id="x")])

    def test_arguments_that_are_no_json_are_named(self) -> None:
        call = {**CALL, "args": {"a": object()}}
        with pytest.raises(ModelRejected, match="no JSON"):
            to_wire([AIMessage("", tool_calls=[call])])


class TestSurrogates:
    def test_halves_are_put_together(self) -> None:
        assert one(HumanMessage("\ud83d\ude00 \ud83d"))["content"] == "😀 \N{REPLACEMENT CHARACTER}"

    @given(st.text(st.characters(categories=["Cs", "L", "P"]), max_size=8))
    def test_never_reach_the_socket(self, text: str) -> None:
        messages = [
            SystemMessage(text),
            HumanMessage(text, name=text),
            HumanMessage([text, {"type": "image_url", "image_url": {"url": text}}]),
            AIMessage(text, tool_calls=[{"name": text, "args": {text: text}, "id": text}]),
            AIMessage(
                "", invalid_tool_calls=[{"name": text, "args": text, "id": text, "error": ""}]
            ),
            ToolMessage(text, tool_call_id=text, name=text),
            ChatMessage(text, role=text),
            HumanMessage([{"type": "tool_result", "tool_use_id": text, "content": text}]),
        ]
        json.dumps(to_wire(messages), ensure_ascii=False).encode()
