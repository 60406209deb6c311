"""The doctor's requests in both wire formats, and replies of any shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.models.doctor.question import Call, Question, delta_of, read, usage_of

KEYS = ["choices", "message", "delta", "content", "tool_calls", "function", "logprobs", "usage"]
KEYS += ["output", "type", "finish_reason", "response", "prompt_tokens", "text"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
TOOL = {"name": "look", "parameters": {"type": "object"}}
SCHEMA = {"type": "object"}


def test_a_question_leaves_out_what_is_not_asked_for() -> None:
    assert Question("Hello", tokens=5).body("m", "chat", "max_tokens") == {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "Hello"}],
    }


def test_a_question_in_chat_completions() -> None:
    question = Question(
        "Hello",
        tokens=5,
        temperature=0.0,
        seed=7,
        stop=["e"],
        n=2,
        top_logprobs=3,
        schema=SCHEMA,
        tools=[TOOL],
        tool_choice="auto",
        prefill="Well",
        extra={"ignore_eos": True},
    )

    body = question.body("m", "chat", "max_completion_tokens")

    assert body == {
        "model": "m",
        "max_completion_tokens": 5,
        "temperature": 0.0,
        "tool_choice": "auto",
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Well"},
        ],
        "seed": 7,
        "stop": ["e"],
        "n": 2,
        "tools": [{"type": "function", "function": TOOL}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "logprobs": True,
        "top_logprobs": 3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA},
        },
        "ignore_eos": True,
    }


def test_a_question_in_responses() -> None:
    body = Question("Hello", tokens=16, schema=SCHEMA, tools=[TOOL], top_logprobs=2).body(
        "m", "responses", "max_output_tokens"
    )

    assert body == {
        "model": "m",
        "max_output_tokens": 16,
        "input": [{"role": "user", "content": "Hello"}],
        "store": False,
        "tools": [{"type": "function", **TOOL}],
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "text": {
            "format": {"type": "json_schema", "name": "reply", "strict": True, "schema": SCHEMA}
        },
    }


def test_a_reply_of_chat_completions() -> None:
    call = {"function": {"name": "look", "arguments": "{}"}}
    message = {"content": "Yes.", "reasoning_content": "Hm.", "tool_calls": [call]}
    choice = {"message": message, "finish_reason": "length", "logprobs": {"content": [{}, 5]}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}

    reply = read({"choices": [choice, {}], "usage": usage}, "chat")

    assert (reply.text, reply.replies, reply.cut, reply.usage) == ("Yes.", 2, True, (3, 2))
    assert reply.reasoning == "reasoning_content"
    assert reply.calls == [Call("look", "{}")]
    assert reply.logprobs == [{}]


def test_a_reply_of_responses() -> None:
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "Yes."}]},
        {"type": "function_call", "name": "look", "arguments": "{}"},
    ]
    usage = {"input_tokens": 3, "output_tokens": 2}
    why = {"reason": "max_output_tokens"}

    reply = read(
        {"output": output, "usage": usage, "status": "incomplete", "incomplete_details": why},
        "responses",
    )

    assert (reply.text, reply.replies, reply.cut, reply.usage) == ("Yes.", 1, True, (3, 2))
    assert reply.reasoning == "reasoning"
    assert reply.calls == [Call("look", "{}")]


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>Hm.</think>\n\nYes.", "Yes.", "think"),
        ("<think>Hm, and on", "", "think"),
        ("Hm.</think>Yes.", "Yes.", "think_end"),
        ("Yes.", "Yes.", ""),
    ],
)
def test_thoughts_are_no_part_of_the_text(content: str, text: str, reasoning: str) -> None:
    reply = read({"choices": [{"message": {"content": content}}]}, "chat")

    assert (reply.text, reply.reasoning) == (text, reasoning)


@given(document=JSON)
def test_any_document_can_be_read(document: Any) -> None:
    for wire in ("chat", "responses"):
        reply = read(document, wire)  # type: ignore[arg-type]  # both are wires
        assert isinstance(reply.text, str)
        assert isinstance(delta_of(document, wire), str)  # type: ignore[arg-type]  # as above
    assert usage_of(document) is None or isinstance(usage_of(document), tuple)
