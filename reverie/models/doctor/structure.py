"""Whether replies keep to a form: JSON schema, JSON, regular expression, tool call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from reverie.errors import ModelRejected
from reverie.models.doctor.probing import Outcome, Probe, Probing, no, said, unknown, yes
from reverie.models.doctor.question import Call, Question, Reply
from reverie.models.profile import Grammar

# Nothing in the prompt leads to these words: a reply has them only if the schema made it.
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "zebra": {"type": "string", "enum": ["striped-17"]},
        "lamps": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
    },
    "required": ["zebra", "lamps"],
    "additionalProperties": False,
}
_PATTERN: Final = "^[0-9]{3}-[A-F]{2}$"
_PATTERN_SCHEMA: Final = {
    "type": "object",
    "properties": {"zebra": {"type": "string", "pattern": _PATTERN}},
    "required": ["zebra"],
    "additionalProperties": False,
}
_EBNF = 'root ::= "407-BE" | "512-CA"'
_GRAMMARS: Mapping[Grammar, Mapping[str, Any]] = {
    "structured_outputs": {"structured_outputs": {"regex": "[0-9]{3}-[A-F]{2}"}},
    "gbnf": {"grammar": _EBNF},
    "ebnf": {"ebnf": _EBNF},
}
_PROSE = "What is the sea? Answer in one sentence, in plain words."
# strict: vLLM holds the arguments to the schema only then.
_TOOL: Final = {
    "name": "look_up_weather",
    "description": "Looks up the weather of a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
_STRICT_PARAMETERS: Final = {
    "type": "object",
    "properties": {"zebra": {"type": "string", "enum": ["striped-17"]}},
    "required": ["zebra"],
    "additionalProperties": False,
}
_CALL_PROMPT = "Call the tool look_up_weather for the city of Paris."
_NO_SCHEMA = "it does not obey a JSON schema"
_BOTH_PROMPT = (
    "Call the tool look_up_weather for both Paris and Rome: two calls, at the same time, before "
    "you answer."
)


async def _json_schema(probing: Probing) -> Outcome:
    reply = await probing.ask(_form(probing, _PROSE, schema=_SCHEMA))
    if _is_ours(_json(reply.text)):
        return yes("a reply obeyed a schema it would not by chance", json_schema=True)
    return _not_obeyed(reply)


async def _schema_patterns(probing: Probing) -> Outcome:
    if lacking := probing.lacks("json_schema", _NO_SCHEMA):
        return lacking
    reply = await probing.ask(_form(probing, _PROSE, schema=_PATTERN_SCHEMA))
    value = _json(reply.text).get("zebra")
    if isinstance(value, str) and re.fullmatch(_PATTERN, value):
        return yes(f"{value} has the pattern of the schema", schema_patterns=True)
    return _not_obeyed(reply)


async def _json_object(probing: Probing) -> Outcome:
    # Some servers want the word JSON in the prompt.
    prompt = f"{_PROSE} Do not write JSON."
    reply = await probing.ask(_form(probing, prompt, json_object=True, tokens=96))
    if _json(reply.text):
        return yes("a reply was JSON where the prompt asked for none", json_object=True)
    if reply.cut and _begins_as_json(reply.text):
        return yes("a reply was JSON as far as it came", json_object=True)
    return _not_obeyed(reply)


async def _grammar(probing: Probing) -> Outcome:
    if probing.wire == "responses":
        return no("the Responses API has no grammar")
    own = probing.preset.profile.get("grammar", "") if probing.preset else ""
    refusals: list[str] = []
    silent = True
    for name in sorted(_GRAMMARS, key=lambda name: name != own):
        question = _form(probing, _PROSE, tokens=12, extra=_GRAMMARS[name])
        try:
            text = (await probing.ask(question)).text.strip()
        except ModelRejected as error:
            refusals.append(f"{name} refused: {said(error)}")
            continue
        silent = silent and not text
        if re.fullmatch(_PATTERN, text):
            return yes(f"{text} has the form asked for", name, grammar=name)
    if silent and not refusals:
        return unknown("the replies were empty")
    return no("; ".join(refusals) or "a grammar changed nothing, in any of three forms")


async def _tools(probing: Probing) -> Outcome:
    """Calls of the model's own choice, else of a choice that it does not have."""
    question = _form(probing, _CALL_PROMPT, tools=[_TOOL], tokens=96)
    refusals: dict[str, str] = {}
    replies: dict[str, Reply] = {}
    for choice in ("auto", "required"):
        try:
            replies[choice] = await probing.ask(replace(question, tool_choice=choice))
        except ModelRejected as error:
            refusals[choice] = said(error)
            continue
        if replies[choice].calls:
            return _called(replies, refusals.get("auto", ""))
    return _not_called(list(replies.values()), refusals)


def _called(replies: Mapping[str, Reply], refusal: str) -> Outcome:
    """There was a call, at the model's own choice or because one was required."""
    free, required = replies.get("auto"), replies.get("required")
    if required is None:
        assert free is not None  # noqa: S101  # one of them has the call
        return yes(_told(free.calls[0]), "native", tools="native")
    told = f"required: {_told(required.calls[0])}"
    if free is None:
        evidence = f"{told}; at its own choice refused: {refusal}"
        return yes(evidence, "when required", tools="forced")
    if _written_call(free):
        return no("at its own choice it writes calls into the text", "as text", tools="text")
    return yes(f"{told}; at its own choice it used words", "native", tools="native")


def _not_called(replies: list[Reply], refusals: Mapping[str, str]) -> Outcome:
    if any(map(_written_call, replies)):
        return no("it writes calls into the text", "as text", tools="text")
    if replies and all(reply.empty for reply in replies):
        return unknown("the replies were empty")
    if "auto" in refusals:
        return no(f"refused: {refusals['auto']}", "refused", tools="none")
    refused = f"; a required one is refused: {refusals['required']}" if refusals else ""
    return no(f"it answers in words when it should call{refused}", "ignored", tools="text")


async def _parallel_tools(probing: Probing) -> Outcome:
    if lacking := probing.lacks("tools", "it has no tool calls in a field of their own"):
        return lacking
    choice = "auto" if probing.field("tools") == "native" else "required"
    question = _form(probing, _BOTH_PROMPT, tools=[_TOOL], tokens=160, tool_choice=choice)
    reply = await probing.ask(question)
    if len(reply.calls) > 1:
        return yes(f"{len(reply.calls)} calls in one reply", parallel_tools=True)
    return no(f"{len(reply.calls)} came where two were asked for")


async def _strict_tools(probing: Probing) -> Outcome:
    """Whether a call's arguments can only be what the tool takes."""
    if lacking := probing.lacks("tools", "it has no tool calls in a field of their own"):
        return lacking
    tool = {**_TOOL, "parameters": _STRICT_PARAMETERS}
    question = _form(probing, _CALL_PROMPT, tools=[tool], tool_choice="required", tokens=96)
    reply = await probing.ask(question)
    if not reply.calls:
        return unknown("no call came although one was required")
    if _arguments(reply.calls[0]) == {"zebra": "striped-17"}:
        return yes("arguments obeyed a schema they would not by chance", strict_tools=True)
    return no(f"the arguments were {_shown(str(reply.calls[0].arguments))}")


async def _schema_with_tools(probing: Probing) -> Outcome:
    """Both count: a call where one is asked for, the schema where the answer is."""
    if lacking := probing.lacks("json_schema", _NO_SCHEMA):
        return lacking
    if probing.field("tools") != "native":
        return no("it does not call tools at its own choice")
    both = _form(probing, _CALL_PROMPT, tools=[_TOOL], tool_choice="auto", schema=_SCHEMA)
    calling = await probing.ask(both)
    if not calling.calls:
        wins = _json(calling.text).get("zebra") == "striped-17"
        return no("the schema wins: no tool is called" if wins else "no tool is called")
    answering = await probing.ask(replace(both, prompt=_PROSE))
    if answering.calls:
        return unknown("a tool is called where none was asked for")
    if _json(answering.text).get("zebra") == "striped-17":
        return yes("a tool was called, and an answer obeyed the schema", schema_with_tools=True)
    return no("the schema is dropped without a word")


async def _schema_prefill(probing: Probing) -> Outcome:
    """Whether the schema counts the beginning that the reply was given."""
    if lacking := probing.lacks("json_schema", _NO_SCHEMA):
        return lacking
    if lacking := probing.lacks("prefill", "it does not go on with a reply that was begun"):
        return lacking
    begun = '{"zebra": "striped-17", '
    reply = await probing.ask(_form(probing, _PROSE, schema=_SCHEMA, prefill=begun))
    if _is_ours(_json(begun + reply.text)):
        return yes("beginning and reply together obeyed the schema", schema_prefill=True)
    if _json(reply.text):
        return no("the reply obeys the schema by itself, behind the beginning")
    return _not_obeyed(reply)


JSON_SCHEMA = Probe("json_schema", _json_schema)
SCHEMA_PATTERNS = Probe("schema_patterns", _schema_patterns)
JSON_OBJECT = Probe("json_object", _json_object)
GRAMMAR = Probe("grammar", _grammar)
TOOLS = Probe("tools", _tools)
PARALLEL_TOOLS = Probe("parallel_tools", _parallel_tools)
STRICT_TOOLS = Probe("strict_tools", _strict_tools)
SCHEMA_PREFILL = Probe("schema_prefill", _schema_prefill)
SCHEMA_WITH_TOOLS = Probe("schema_with_tools", _schema_with_tools)


def _form(probing: Probing, prompt: str, *, tokens: int = 48, **asked: Any) -> Question:
    return Question(prompt, tokens=tokens, temperature=probing.greedy, **asked)


def _told(call: Call) -> str:
    """What is worth saying of a call's arguments."""
    if not isinstance(call.arguments, str):
        return "a call came; its arguments are an object, not a string, which is taken as well"
    arguments = _arguments(call)
    if arguments is None:
        return "a call came, but its arguments are no JSON"
    if isinstance(arguments, str):
        return "a call came; its arguments are JSON within JSON, which is taken apart"
    obeys = isinstance(arguments, dict) and isinstance(arguments.get("city"), str)
    return f"a call came, its arguments {'as' if obeys else 'other than'} the tool has them"


def _arguments(call: Call) -> Any:
    """The arguments as JSON; None when they are none."""
    if not isinstance(call.arguments, str):
        return call.arguments
    try:
        return json.loads(call.arguments)
    except (ValueError, RecursionError):
        return None


def _written_call(reply: Reply) -> bool:
    """Whether the text is a tool call. One that was cut may be one that no server could read."""
    text = reply.text
    marked = any(
        mark in text for mark in ("<tool_call>", "[TOOL_CALLS]", "<function", "<|python_tag")
    )
    return not reply.cut and (marked or ("look_up_weather" in text and '"name"' in text))


def _json(text: str) -> dict[str, Any]:
    """The object that the text is; empty when it is something else."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _begins_as_json(text: str) -> bool:
    from pydantic_core import from_json

    try:
        return isinstance(from_json(text, allow_partial="trailing-strings"), dict)
    except ValueError:
        return False


def _is_ours(document: Mapping[str, Any]) -> bool:
    """Whether it is what ``_SCHEMA`` describes."""
    lamps = document.get("lamps")
    flags = isinstance(lamps, list) and [type(lamp) for lamp in lamps] == [bool, bool]
    return flags and document == {"zebra": "striped-17", "lamps": lamps}


def _not_obeyed(reply: Reply) -> Outcome:
    if reply.empty:
        return unknown("the reply was empty")
    if reply.cut and _begins_as_json(reply.text):
        return unknown("the reply was cut before its end")
    if reply.text.lstrip().startswith("```"):
        return no("the reply was JSON between code fences")
    return no(f"the reply was {_shown(reply.text)}")


def _shown(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 40 else f"{words[:39]}…")
