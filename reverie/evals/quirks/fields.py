"""Fields that Chat Completions and Responses share: tools, and what a reply must look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.refused import refused

_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


def offered_tools(
    functions: list[Mapping[str, Any]], body: Mapping[str, Any], quirks: Quirks
) -> tuple[list[Mapping[str, Any]], str]:
    """The tools that the model gets to see, and the choice in the form of ``Asked``."""
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, Mapping):
        choice = f"={choice.get('function', choice)['name']}"
    if not functions or quirks.tools == "ignored":
        return [], "none"
    if quirks.tools == "refused":
        raise refused(f"{body.get('model')} does not support tools", param="tools")
    if quirks.tools == "forced" and choice == "auto":
        raise refused(
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be '
            "set",
            kind="BadRequestError",
            code=400,
        )
    if quirks.schema_with_tools == "schema" and _format_kind(body):
        return [], "none"
    return functions, choice


def constraint(
    body: Mapping[str, Any],
    wanted: Mapping[str, Any] | None,
    tools: list[Mapping[str, Any]],
    quirks: Quirks,
) -> dict[str, Any]:
    """The fields of ``Asked`` that say what a reply must look like. ``wanted`` is the
    response_format, or the format of Responses, which has the schema one level higher.
    """
    kind = (wanted or {}).get("type")
    if kind and kind != "text" and tools:
        if quirks.schema_with_tools == "refused":
            raise refused("Cannot use custom grammar constraints with tools.")
        if quirks.schema_with_tools == "tools":
            return {}
    if wanted is not None and kind == "json_schema":
        return {"schema": wanted.get("json_schema", wanted)["schema"]}
    if kind == "json_object":
        return {"json_object": True}
    return _grammar(body, quirks)


def _format_kind(body: Mapping[str, Any]) -> str:
    """The type of format asked for, if it is one that constrains."""
    wanted = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    kind = wanted.get("type", "text")
    return "" if kind == "text" else kind


def _grammar(body: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    """The constraint in the field that this server obeys."""
    rules: Mapping[str, Any] = {}
    match quirks.grammar:
        case "structured_outputs":
            rules = body.get("structured_outputs") or {}
        case "gbnf":
            rules = {"grammar": body.get("grammar")}
        case "ebnf":
            rules = {"grammar": body.get("ebnf"), "regex": body.get("regex")}
    if rules.get("json"):
        return {"schema": rules["json"]}
    if rules.get("regex"):
        return {"pattern": rules["regex"]}
    choices = rules.get("choice") or (rules.get("grammar") and _literals(rules["grammar"]))
    return {"choices": choices} if choices else {}


def _literals(grammar: str) -> list[str]:
    """The texts that a grammar allows whose root is a choice between literals; the toy model
    knows no other.
    """
    found = re.search(r"^\s*root\s*::=(.*(?:\n\s*\|.*)*)", grammar, re.MULTILINE)
    rule = found[1] if found else ""
    if not re.fullmatch(rf"\s*{_LITERAL.pattern}(\s*\|\s*{_LITERAL.pattern})*\s*", rule):
        raise refused("the toy model knows only grammars whose root is a choice of literals")
    return [match[1].replace('\\"', '"') for match in _LITERAL.finditer(rule)]
