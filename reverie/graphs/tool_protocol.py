"""How a model asks for tools: in calls of its own, or in JSON documents.

A document is ``{"tool":"calculator","expression":"2*3"}``, the tool first and its arguments beside
it, or ``{"answer":"6"}``. Where the server obeys schemas there is one alternative per tool, which
for a small model makes the difference between mostly valid calls and mostly invalid ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from typing_extensions import TypedDict

from reverie.errors import ToolFailed
from reverie.graphs.confidence import span
from reverie.graphs.plain_words import plain_words
from reverie.tools.tool import KEY, Tool

if TYPE_CHECKING:
    from reverie.graphs.call import Reply
    from reverie.models.profile import ModelProfile

ANSWER: Final = "answer"
"""Where a document holds the answer; and the tool by which a model answers that has to call one."""

_LONGEST_EXCERPT = 200
_NO_MORE = "no tool may be called any more"

_GIVE_ANSWER: Final = {
    "type": "function",
    "function": {
        "name": ANSWER,
        "description": "Gives the final answer to the question.",
        "parameters": {
            "type": "object",
            "properties": {ANSWER: {"type": "string"}},
            "required": [ANSWER],
            "additionalProperties": False,
        },
    },
}


class ToolRequest(TypedDict):
    """One call that a model asks for. ``id`` is the model's own, or made up."""

    id: str
    tool: str
    arguments: dict[str, Any]


class ToolTurn(TypedDict):
    """One turn behind the prompt: what the model wrote (``asked``, with its requests), what a tool
    said (``result``), or what was wrong with a reply (``wrong``).
    """

    kind: Literal["asked", "result", "wrong"]
    text: str
    requests: list[ToolRequest]
    id: str
    tool: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a reply comes to: an answer, or requests, or a problem, which may be with a request."""

    text: str
    answer: str = ""
    requests: tuple[ToolRequest, ...] = ()
    problem: str = ""
    tokens: Sequence[tuple[str, float]] = ()
    """Those that wrote the answer or the call."""


def protocol_for(profile: ModelProfile, tools: Sequence[Tool]) -> Native | Written:
    """The way in which a model is best asked. One that calls tools only when it has to could not
    answer in words: documents under a schema let it do both.
    """
    forced = profile.tools == "forced"
    if profile.tools == "native" or (forced and not profile.json_schema):
        return Native(tools, forced=forced)
    return Written(tools, profile)


class Native:
    """Tool calls in their own field."""

    native = True

    def __init__(self, tools: Sequence[Tool], *, forced: bool) -> None:
        """``forced``: the model calls tools only when it has to; then the answer is one, too."""
        self._tools = {tool.name: tool for tool in tools}
        self._forced = forced

    def options(self, *, final: bool) -> dict[str, Any]:
        """What a call of the model takes. ``final``: it has to answer now."""
        described = [tool.described() for tool in self._tools.values()]
        if self._forced:
            offered = [_GIVE_ANSWER] if final else [*described, _GIVE_ANSWER]
            return {"tools": offered, "tool_choice": "required"}
        return {"tools": described, "tool_choice": "none" if final else "auto"}

    def read(self, reply: Reply, *, final: bool) -> Said:
        text = reply.text.strip()
        requests: list[ToolRequest] = []
        for number, call in enumerate(reply.tool_calls):
            if self._forced and call["name"] == ANSWER:
                return Said(text, answer=str(call["args"].get(ANSWER, "")).strip())
            name = call["id"] or f"call_{number}"
            requests.append({"id": name, "tool": call["name"], "arguments": call["args"]})
        if text and (final or not (requests or reply.broken_calls)):
            return Said(text, answer=text, tokens=reply.tokens)
        if final and requests:
            return Said(text, problem=_NO_MORE)
        if not requests:
            broken = "the arguments of a tool call are no JSON object"
            return Said(text, problem=broken if reply.broken_calls else "it is empty")
        for request in requests:
            if problem := _problem(request, self._tools):
                return Said(text, requests=(request,), problem=problem)
        return Said(text, requests=tuple(requests), tokens=reply.tokens)


class Written:
    """Tool calls as JSON documents."""

    native = False

    def __init__(self, tools: Sequence[Tool], profile: ModelProfile) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._profile = profile

    def options(self, *, final: bool) -> dict[str, Any]:
        """What a call of the model takes. ``final``: it has to answer now."""
        answer = _document({ANSWER: plain_words(self._profile)}, [ANSWER])
        if final:
            return {"json_schema": answer, "shown": False}
        definitions: dict[str, Any] = {}
        calls = [self._call(tool, definitions) for tool in self._tools.values()]
        schema: dict[str, Any] = {"anyOf": [*calls, answer]}
        if definitions:
            schema["$defs"] = definitions
        return {"json_schema": schema, "shown": False}

    def read(self, reply: Reply, *, final: bool) -> Said:
        from reverie.models.structured import read_json

        text = reply.text.strip()
        try:
            document = read_json(text)
        except ValueError as error:
            problem = "it was cut off" if not reply.complete else str(error)
            return Said(_excerpt(text), problem=problem)
        if not isinstance(document, dict) or not ({KEY, ANSWER} & document.keys()):
            wanted = f'{{"{ANSWER}":"..."}}' if final else f"a document with {KEY!r} or {ANSWER!r}"
            return Said(_excerpt(text), problem=f"it is not {wanted}")
        if KEY not in document:
            answer = document[ANSWER]
            answer = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
            if not answer.strip():
                return Said(_excerpt(text), problem="the answer is empty")
            return Said(text, answer=answer.strip(), tokens=span(reply.tokens, answer))
        if final:
            return Said(_excerpt(text), problem=_NO_MORE)
        arguments = {name: value for name, value in document.items() if name != KEY}
        request: ToolRequest = {"id": "call", "tool": str(document[KEY]), "arguments": arguments}
        problem = _problem(request, self._tools)
        return Said(
            text, requests=(request,), problem=problem, tokens=_values(reply.tokens, arguments)
        )

    def _call(self, tool: Tool, definitions: dict[str, Any]) -> dict[str, Any]:
        """The document that calls ``tool``; what its schema refers to goes to ``definitions``."""
        schema = _renamed(tool.schema, tool.name)
        for name, definition in schema.pop("$defs", {}).items():
            definitions[f"{tool.name}.{name}"] = definition
        properties = {KEY: {"const": tool.name}, **schema["properties"]}
        document = _document(properties, [KEY, *schema.get("required", [])])
        return document if self._profile.schema_patterns else _without_patterns(document)


def written_call(tool: str, arguments: Mapping[str, Any]) -> str:
    """The document that calls a tool."""
    return json.dumps({KEY: tool, **arguments}, ensure_ascii=False, separators=(",", ":"))


def written_answer(answer: str) -> str:
    """The document that answers."""
    return json.dumps({ANSWER: answer}, ensure_ascii=False, separators=(",", ":"))


def _values(
    tokens: Sequence[tuple[str, float]], arguments: Mapping[str, Any]
) -> list[tuple[str, float]]:
    """The tokens that wrote the arguments' values: all else in a call is given."""
    values = [v if isinstance(v, str) else json.dumps(v) for v in arguments.values()]
    return [token for value in values if value for token in span(tokens, value)]


def _problem(request: ToolRequest, tools: Mapping[str, Tool]) -> str:
    tool = tools.get(request["tool"])
    if tool is None:
        return f"there is no tool {request['tool'][:80]!r}, there are {', '.join(tools)}"
    try:
        tool.check(request["arguments"])
    except ToolFailed as error:
        return error.message
    return ""


def _document(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _renamed(schema: Any, tool: str) -> Any:
    """The schema with its references leading to definitions named after the tool."""
    if isinstance(schema, Mapping):
        return {
            key: value.replace("#/$defs/", f"#/$defs/{tool}.", 1)
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, tool)
            for key, value in schema.items()
        }
    return [_renamed(item, tool) for item in schema] if isinstance(schema, list) else schema


def _without_patterns(schema: Any) -> Any:
    """The schema for servers that do not know patterns of strings."""
    if isinstance(schema, Mapping):
        return {
            key: _without_patterns(value)
            for key, value in schema.items()
            if not (key == "pattern" and isinstance(value, str))
        }
    return [_without_patterns(item) for item in schema] if isinstance(schema, list) else schema


def _excerpt(text: str) -> str:
    """A reply that is no good, to be shown to the model: not a megabyte of it."""
    return text if len(text) <= _LONGEST_EXCERPT else f"{text[:_LONGEST_EXCERPT]}…"
