"""The options of one call to a served model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reverie.errors import ConfigError
from reverie.models.wire.piece import Request

_OWN = ("model", "timeout", "checked", "stop_sequences")
_REQUEST = (
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "logprobs",
    "top_logprobs",
    "n",
    "prefill",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
)


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "max_tokens": ((int,), "a whole number"),
    "n": ((int,), "a whole number"),
    "seed": ((int,), "a whole number"),
    "top_logprobs": ((int,), "a whole number"),
    "temperature": ((int, float), "a number"),
    "top_p": ((int, float), "a number"),
    "timeout": ((int, float), "a number of seconds"),
    "logprobs": ((bool,), "true or false"),
    "parallel_tool_calls": ((bool,), "true or false"),
    "prefill": ((str,), "a text"),
}
"""The types of options, and how they are said."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a call asks for beside its messages."""

    options: Mapping[str, Any]
    """Fields of ``Request``."""
    model: str = ""
    timeout: float | None = None
    """Seconds for the whole call."""
    checked: bool = True
    """Whether a reply that should have a form is checked and repaired."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(
        cls, defaults: Mapping[str, Any], stop: Sequence[str] | None, given: Mapping[str, Any]
    ) -> Call:
        """The options ``given`` with a call, on top of the model's ``defaults``.

        What is not known here goes into the body as it is: servers have options of their own.
        Raises ConfigError for values that no server could take.
        """
        options = dict(defaults)
        extra = dict(options.pop("extra_body", {}))
        own: dict[str, Any] = {}
        for name, value in given.items():
            if name in _REQUEST:
                options[name] = value
            elif name in _OWN:
                own[name] = value
            elif name == "tools":
                _require(value is None or isinstance(value, list | tuple), name, value, "a list")
                options["tools"] = tuple(value or ())
            elif name == "extra_body":
                _require(value is None or isinstance(value, Mapping), name, value, "a mapping")
                extra.update(value or {})
                _require(_is_json(extra), name, value, "a mapping of JSON values")
            elif not name.startswith("ls_"):  # LangSmith's own
                extra[name] = value
        stops = own.get("stop_sequences") if stop is None else stop
        if stops is not None:
            options["stop"] = (stops,) if isinstance(stops, str) else tuple(stops)
        _check(options | {"timeout": own.get("timeout")})
        if options.get("prefill") and _has_form(options):
            # The reply has to obey the schema from its first character on.
            options["prefill"] = ""
        return cls(
            options={name: value for name, value in options.items() if value is not None},
            model=own.get("model") or "",
            timeout=own.get("timeout"),
            checked=own.get("checked", True),
            extra_body=extra,
        )

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema that the reply has to obey; empty for any JSON object."""
        if not _has_form(self.options):
            return None
        form = self.options["response_format"]
        if form["type"] == "json_object":
            return {"type": "object"}
        schema: Mapping[str, Any] = form["json_schema"]["schema"]
        return schema

    def request(self, messages: list[dict[str, Any]]) -> Request:
        """The request with these messages, in the form of Chat Completions."""
        return Request(messages=messages, extra_body=self.extra_body, **self.options)


def _is_json(value: Mapping[str, Any]) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _check(options: Mapping[str, Any]) -> None:
    for name, (kinds, said) in _KINDS.items():
        value = options.get(name)
        if value is not None:
            _require(type(value) in kinds, name, value, said)  # True is an int, too
            if isinstance(value, float):
                _require(math.isfinite(value), name, value, said)
    for name, least in (("max_tokens", 1), ("n", 1), ("top_logprobs", 0)):
        value = options.get(name)
        _require(value is None or value >= least, name, value, f"at least {least}")
    for text in options.get("stop") or ():
        _require(isinstance(text, str), "stop", text, "made of strings")
    for tool in options.get("tools") or ():
        _require(isinstance(tool, Mapping), "tools", tool, "made of OpenAI's descriptions of tools")
    form = options.get("response_format")
    if form is None:
        return
    known = isinstance(form, Mapping) and form.get("type") in ("text", "json_object")
    named = isinstance(form, Mapping) and form.get("type") == "json_schema"
    inner = form.get("json_schema") if named else None
    if not known and not (isinstance(inner, Mapping) and isinstance(inner.get("schema"), Mapping)):
        raise ConfigError(
            f"response_format {form!r} is not of OpenAI's form",
            hint='give {"type": "json_schema", "json_schema": {"schema": {...}}}',
        )


def _has_form(options: Mapping[str, Any]) -> bool:
    form = options.get("response_format") or {"type": "text"}
    return bool(form["type"] != "text")


def _require(fits: bool, name: str, value: Any, said: str) -> None:
    if not fits:
        shown = repr(value)[:80]
        raise ConfigError(
            f"{name} is {shown}, and is to be {said}", hint="correct it, or leave it out"
        )
