"""Filling in a form at the terminal: one question per field of its reply."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import typer

from reverie.cli.wording import clean


def can_ask() -> bool:
    """Whether a person sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def fill_in(form: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for every field of the reply; an empty line leaves one out that may be left out.

    Raises typer.Abort on Ctrl-C and at the end of the input.
    """
    _say(form.get("question", ""))
    for name, value in form.get("about", {}).items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        _say(f"  {name}: {shown}")
    schema = form.get("reply_schema", {})
    required = schema.get("required", ())
    reply: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        value = _ask(name, field, needed=name in required)
        if value is not None:
            reply[name] = value
    return reply


def _ask(name: str, field: Mapping[str, Any], *, needed: bool) -> Any:
    """One field's value; None: left out."""
    kinds = _kinds(field)
    text = f"{field.get('description', name)} ({name})"
    if kinds == {"boolean"}:
        return typer.confirm(text, default=None if needed else False, err=True)
    while True:
        given = typer.prompt(text, default=None if needed else "", show_default=False, err=True)
        if not given.strip():
            return None
        if "string" in kinds:
            return given
        try:
            return json.loads(given)
        except json.JSONDecodeError as error:
            _say(f"that is no JSON: {error}")


def _kinds(field: Mapping[str, Any]) -> set[str]:
    """The JSON types that a field may have, without null."""
    options = field.get("anyOf", [field])
    return {str(one["type"]) for one in options if one.get("type", "null") != "null"}


def _say(text: str) -> None:
    print(clean(text, keep_lines=True), file=sys.stderr)
