"""The options of one call to a served model."""

from __future__ import annotations

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
                options["tools"] = tuple(value or ())
            elif name == "extra_body":
                extra.update(value or {})
            elif not name.startswith("ls_"):  # LangSmith's own
                extra[name] = value
        stops = own.get("stop_sequences") if stop is None else stop
        if stops is not None:
            options["stop"] = (stops,) if isinstance(stops, str) else tuple(stops)
        if options.get("prefill") and options.get("response_format"):
            # The reply has to obey the schema from its first character on.
            options["prefill"] = ""
        _check(options)
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
        form = self.options.get("response_format")
        if not form or form.get("type") == "text":
            return None
        if form["type"] == "json_object":
            return {"type": "object"}
        schema: Mapping[str, Any] = form["json_schema"]["schema"]
        return schema

    def request(self, messages: list[dict[str, Any]]) -> Request:
        """The request with these messages, in the form of Chat Completions."""
        return Request(messages=messages, extra_body=self.extra_body, **self.options)


def _check(options: Mapping[str, Any]) -> None:
    most = options.get("max_tokens")
    if most is not None and most < 1:
        raise ConfigError(f"max_tokens is {most}, and a reply has at least 1", hint="leave it out")
    n = options.get("n")
    if n is not None and n < 1:
        raise ConfigError(f"n is {n}, and there is at least 1 reply", hint="leave it out")
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
