"""Output of a given form: read, checked, repaired once, or refused."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from reverie.errors import ConfigError, OutputInvalid
from reverie.models.structured import instruction, obeying, obtain, read_json

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
}
QUESTION = [HumanMessage("Who?")]


class Model:
    """Says its replies in turn, and keeps what it was asked."""

    def __init__(self, *replies: str | AIMessage) -> None:
        self.replies = [AIMessage(one) if isinstance(one, str) else one for one in replies]
        self.asked: list[list[BaseMessage]] = []

    async def __call__(self, messages: Sequence[BaseMessage]) -> AIMessage:
        self.asked.append(list(messages))
        return self.replies[len(self.asked) - 1]


def read(reply: AIMessage) -> Any:
    return read_json(str(reply.text), SCHEMA)


async def test_a_reply_that_can_be_read_is_asked_for_once() -> None:
    model = Model('{"name": "Ada"}')
    reply, document = await obtain(QUESTION, model, read)
    assert document == {"name": "Ada"}
    assert reply is model.replies[0]
    assert len(model.asked) == 1


async def test_the_model_is_shown_what_is_wrong() -> None:
    model = Model('{"name": 5}', '{"name": "Ada"}')
    reply, document = await obtain(QUESTION, model, read)
    assert document == {"name": "Ada"}
    assert reply is model.replies[1]
    question, shown, repair = model.asked[1]
    assert question is QUESTION[0]
    assert shown.text == '{"name": 5}'
    assert isinstance(shown, AIMessage)
    assert "name: 5 is not of type 'string'" in repair.text


async def test_what_is_still_wrong_is_refused() -> None:
    model = Model("first", "second " * 100)
    with pytest.raises(OutputInvalid, match="the reply of toy at X is not of the form") as caught:
        await obtain(QUESTION, model, read, who="toy at X")
    assert len(model.asked) == 2
    assert "second second" in caught.value.message
    assert "first" not in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.hint


def ended(text: str, finish: str, **more: Any) -> AIMessage:
    return AIMessage(text, response_metadata={"finish_reason": finish}, additional_kwargs=more)


@pytest.mark.parametrize(
    ("reply", "why", "hint"),
    [
        (ended('{"na', "length"), "cut off by max_tokens", "max_tokens"),
        (ended('{"na', "content_filter"), "cut off by the server's filter", "otherwise"),
        (ended("", "stop", refusal="I will\nnot"), "refused: 'I will not'", "another model"),
    ],
)
async def test_what_would_happen_again_is_not_asked_again(
    reply: AIMessage, why: str, hint: str
) -> None:
    model = Model(reply)
    with pytest.raises(OutputInvalid, match=why) as caught:
        await obtain(QUESTION, model, read)
    assert hint in caught.value.hint
    assert len(model.asked) == 1


async def test_a_tool_call_is_shown_as_text() -> None:
    call = {"name": "person", "args": {"name": 5}, "id": "t1", "type": "tool_call"}
    model = Model(AIMessage("", tool_calls=[call]), '{"name": "Ada"}')
    await obtain(QUESTION, model, read)
    shown = model.asked[1][1]
    assert shown.text == '[{"name": 5}]'
    assert not getattr(shown, "tool_calls", None)


async def test_an_empty_reply_is_shown_as_something() -> None:
    model = Model("", '{"name": "Ada"}')
    await obtain(QUESTION, model, read)
    assert model.asked[1][1].text


async def test_other_errors_pass() -> None:
    async def broken(messages: Sequence[BaseMessage]) -> AIMessage:
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        await obtain(QUESTION, broken, read)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ada"}',
        ' \n{"name": "Ada"}\n ',
        '```json\n{"name": "Ada"}\n```',
        '```\n{"name": "Ada"}```',
        'Here it is:\n```json\n{"name": "Ada"}\n```\nDone.',
    ],
)
def test_documents(text: str) -> None:
    assert read_json(text, SCHEMA) == {"name": "Ada"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ada",
        '{"name": "Ada"',
        "```json\n{\n```",
        '{"name": "Ada", "age": NaN}',
        '{"name": "Ada", "age": -Infinity}',
        "[" * 100_000,
        '{"name": ' * 50_000,
        "9" * 10_000,
    ],
)
def test_what_is_no_document(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON document"):
        read_json(text)


@pytest.mark.parametrize("text", ["{}", '{"name": 5}', '{"name": "Ada", "age": -1}', "[]", "null"])
def test_documents_that_do_not_obey(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_json(text, SCHEMA)


@given(st.text())
def test_any_text_is_a_document_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        obeying(read_json(text), {})
        obeying(read_json(text, SCHEMA), SCHEMA)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "#"},
        {"type": "nonsense"},
        {"minimum": "x"},
        {"required": 5},
        {"properties": 5},
        {"allOf": [5]},
    ],
)
def test_schemas_that_cannot_be_used(
    schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", None)  # nothing is fetched from anywhere
    with pytest.raises(ConfigError, match="schema cannot be used") as caught:
        obeying(5 if "minimum" in schema else {"a": 1}, schema)
    assert caught.value.hint


def test_a_schema_whose_parts_refer_to_each_other() -> None:
    schema = {
        "$defs": {"name": {"type": "string"}},
        "properties": {"name": {"$ref": "#/$defs/name"}},
    }
    assert obeying({"name": "Ada"}, schema) == {"name": "Ada"}
    with pytest.raises(ValueError, match="name"):
        obeying({"name": 5}, schema)


def test_patterns_that_python_does_not_know_are_left_to_the_server() -> None:
    assert obeying("x", {"pattern": r"\p{L}+"}) == "x"
    with pytest.raises(ValueError, match="match"):
        obeying("x", {"pattern": "^a"})


def test_the_instruction() -> None:
    said = instruction(SCHEMA)
    assert said.startswith("Reply with one JSON document")
    assert '"minimum": 0' in said
    assert instruction(SCHEMA, tools=True).startswith("Unless you call a tool, reply with one JSON")
