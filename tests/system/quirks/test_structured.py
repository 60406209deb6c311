"""Schemas, grammars and tool calls, obeyed and not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reverie.evals.quirks import Quirks, QuirkServer

CALL: list[Any] = [{"role": "user", "content": "Please call it."}]
BOTH: list[Any] = [{"role": "user", "content": "Please call both."}]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "ab", "schema": SCHEMA}}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("f", "g")
]


def test_a_schema_is_obeyed_in_the_end(client: Any, server: QuirkServer) -> None:
    def said() -> str:
        return client.text(response_format=FORMAT)

    server.quirks = Quirks(invalid_json=1)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(said())
    assert set(json.loads(said())) == {"a", "b"}
    server.quirks = Quirks(invalid_json=-1, invalid_form="other")
    assert set(json.loads(said())) == set(json.loads(said())) == {"unexpected"}
    server.quirks = Quirks(invalid_json=-1, invalid_form="fenced")
    assert set(json.loads(said().removeprefix("```json\n").removesuffix("\n```"))) == {"a", "b"}
    server.quirks = Quirks(invalid_json=-1, invalid_form="prose")
    assert said().startswith("Sure")
    server.quirks = Quirks(ignores=("response_format",))
    assert not said().startswith("{")
    server.quirks = Quirks()
    assert set(json.loads(client.text(response_format={"type": "json_object"}))) == {"answer"}


def test_patterns_are_obeyed_or_overlooked(client: Any, server: QuirkServer) -> None:
    schema = {"type": "string", "pattern": "^[0-9]{3}$"}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert json.loads(client.text(response_format=wanted)).isdigit()
    server.quirks = Quirks(obeys_patterns=False)
    assert not json.loads(client.text(response_format=wanted)).isdigit()


@pytest.mark.parametrize(("form", "calls"), [("both", True), ("tools", True), ("schema", False)])
def test_schema_and_tools_together(
    client: Any, server: QuirkServer, form: Any, calls: bool
) -> None:
    server.quirks = Quirks(schema_with_tools=form)
    message = client.ask(messages=CALL, tools=TOOLS, response_format=FORMAT)["message"]
    assert bool(message.get("tool_calls")) is calls
    answered = client.text(tools=TOOLS, response_format=FORMAT)
    assert answered.startswith("{") is (form != "tools")
    server.quirks = Quirks(schema_with_tools="refused")
    client.error(tools=TOOLS, response_format=FORMAT)


@pytest.mark.parametrize(
    ("grammar", "field", "rule"),
    [
        ("structured_outputs", "structured_outputs", {"regex": "^[xy]{2}$"}),
        ("structured_outputs", "structured_outputs", {"choice": ["xx", "yy"]}),
        ("structured_outputs", "structured_outputs", {"grammar": 'root ::= "xx" | "yy"'}),
        ("gbnf", "grammar", 'root ::= "xx" | "yy"'),
        ("ebnf", "ebnf", 'root ::= "xx" | "yy"'),
        ("ebnf", "regex", "xx|yy"),
    ],
)
def test_one_grammar_is_obeyed_and_the_others_ignored(
    client: Any, server: QuirkServer, grammar: Any, field: str, rule: Any
) -> None:
    server.quirks = Quirks(grammar=grammar)
    assert len(client.text(**{field: rule})) == 2
    server.quirks = Quirks(grammar="")
    assert len(client.text(**{field: rule})) > 2


def test_tools_are_called_when_they_should_be(client: Any, server: QuirkServer) -> None:
    def names(**fields: Any) -> list[str]:
        calls = client.ask(tools=TOOLS, **fields)["message"].get("tool_calls", [])
        assert all(set(json.loads(c["function"]["arguments"])) == {"a", "b"} for c in calls)
        return [call["function"]["name"] for call in calls]

    named = {"type": "function", "function": {"name": "g"}}
    assert names() == []
    assert names(messages=CALL) == ["f"]
    assert names(messages=BOTH) == ["f", "g"]
    assert names(messages=BOTH, parallel_tool_calls=False) == ["f"]
    assert names(tool_choice="required") == ["f"]
    assert names(tool_choice=named) == ["g"]
    assert names(messages=CALL, tool_choice="none") == []
    told = [*CALL, {"role": "tool", "tool_call_id": "x", "content": "42"}]
    assert client.text(messages=told, tools=TOOLS) == "The result is 42."
    server.quirks = Quirks(parallel_tools=False)
    assert names(messages=BOTH) == ["f"]
    server.quirks = Quirks(tools="ignored")
    assert names(tool_choice="required") == []
    server.quirks = Quirks(tools="refused")
    assert "does not support tools" in client.error(tools=TOOLS)["error"]["message"]
    server.quirks = Quirks(tools="forced")
    assert "enable-auto-tool-choice" in client.error(tools=TOOLS)["error"]["message"]
    assert names(tool_choice="required") == ["f"]


@pytest.mark.parametrize(
    ("form", "begin", "end"),
    [
        ("hermes", '<tool_call>\n{"name": "f"', "}\n</tool_call>"),
        ("mistral", '[TOOL_CALLS] [{"name": "f"', "]"),
        ("json", '[{"name": "f"', "]"),
        ("fenced", '```json\n[{"name": "f"', "]\n```"),
    ],
)
def test_tool_calls_as_text(
    client: Any, server: QuirkServer, form: Any, begin: str, end: str
) -> None:
    server.quirks = Quirks(tools="text", tool_text=form)
    choice = client.ask(messages=BOTH, tools=TOOLS)
    content = choice["message"]["content"]
    assert content.startswith(begin)
    assert content.endswith(end)
    assert '"name": "g"' in content
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


def _arguments(client: Any, chunks: list[Any]) -> list[Any]:
    parts = [part for delta in client.deltas(chunks) for part in delta.get("tool_calls", [])]
    return [part["function"]["arguments"] for part in parts]


def test_tool_calls_in_streams(client: Any, server: QuirkServer) -> None:
    fields = {"messages": CALL, "tools": TOOLS, "seed": 1}
    pieces = _arguments(client, client.chunks(**fields))
    assert len(pieces) == 5
    assert set(json.loads("".join(pieces))) == {"a", "b"}
    server.quirks = Quirks(tool_chunks=1)
    (whole,) = _arguments(client, client.chunks(**fields))
    assert json.loads(whole) == json.loads("".join(pieces))
    server.quirks = Quirks(tool_ids=False, tool_index=False)
    for delta in client.deltas(client.chunks(**fields)):
        assert all(not {"id", "index"} & set(part) for part in delta.get("tool_calls", []))
    assert "id" not in client.ask(**fields)["message"]["tool_calls"][0]
    server.quirks = Quirks(tool_name_repeated=True)
    parts = [p for d in client.deltas(client.chunks(**fields)) for p in d.get("tool_calls", [])]
    assert [part["function"]["name"] for part in parts] == ["f"] * 5
    assert len({part["id"] for part in parts}) == 1


def test_forms_of_tool_arguments(client: Any, server: QuirkServer) -> None:
    def written() -> Any:
        message = client.ask(messages=CALL, tools=TOOLS)["message"]
        return message["tool_calls"][0]["function"]["arguments"]

    server.quirks = Quirks(tool_arguments="double")
    assert set(json.loads(json.loads(written()))) == {"a", "b"}
    server.quirks = Quirks(tool_arguments="object")
    assert set(written()) == {"a", "b"}
    assert isinstance(_arguments(client, client.chunks(messages=CALL, tools=TOOLS))[0], dict)
    server.quirks = Quirks(tool_arguments="broken")
    with pytest.raises(ValueError, match="delimiter"):
        json.loads(written())
