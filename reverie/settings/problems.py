"""What is wrong with settings: the key, its value, where it was written, and the bound."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from reverie.errors import ConfigError
from reverie.settings import keys
from reverie.settings.schema import section_types

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_LONGEST_VALUE = 60

# pydantic's kinds of error whose own words speak of parsing; the others' fit as they are.
_RULES = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "must be a whole number"
    ),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    **dict.fromkeys(("too_short", "string_too_short"), "must not be empty"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("dict_type", "model_type"), "must be a mapping of names to values"),
    "string_type": "must be text (in YAML, put it in quotes)",
    "extra_forbidden": "is no key of a backend",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do about it."""

    message: str
    hint: str


def unknown_key(key: str, origin: str) -> Problem:
    """A key that no setting has."""
    section = key.partition(".")[0]
    known = section_types()[section].model_fields if section in section_types() else _top()
    meant = keys.nearest_key(key)
    return Problem(f"unknown key {shown(key)} ({origin})" + _did_you_mean(meant), _known(known))


def unknown_variable(name: str) -> Problem:
    """A ``REVERIE_...`` variable that no setting has."""
    meant = _did_you_mean(keys.nearest_variable(name))
    hint = "Unset it, or correct its name: REVERIE_, section, _, key, as in REVERIE_BUDGET_TOKENS."
    return Problem(f"unknown environment variable {shown(name)}{meant}", hint)


def invalid_values(error: ValidationError, origins: dict[str, str]) -> list[Problem]:
    """Put pydantic's findings into Reverie's words: one per key, for the others follow from it."""
    first: dict[str, Problem] = {}
    for detail in error.errors():
        key = _key(detail)
        first.setdefault(key, _invalid(detail, key, origins.get(key, "default")))
    return list(first.values())


def combined(problems: Iterable[Problem]) -> ConfigError:
    """One error for all problems, so that a user can mend them in one go."""
    found = list(dict.fromkeys(problems))
    hints = " ".join(dict.fromkeys(problem.hint for problem in found))
    if len(found) == 1:
        return ConfigError(found[0].message, hint=hints)
    messages = "; ".join(problem.message for problem in found)
    return ConfigError(f"{len(found)} settings are wrong: {messages}", hint=hints)


def shown(value: object) -> str:
    """A value as a message shows it: on one line, short, without passwords in addresses."""
    text = value if isinstance(value, str) else repr(value)
    if not text or not text.isprintable() or text != text.strip():
        text = repr(text)
    text = re.sub(r"[^/\s]+@", "…@", text)
    text = re.sub(r"\?[^\s#]+", "?…", text)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _did_you_mean(meant: str) -> str:
    return f": did you mean {meant}?" if meant else ""


def _known(names: Iterable[str]) -> str:
    return f"Known here: {', '.join(names)}."


def _top() -> list[str]:
    return list(dict.fromkeys(key.partition(".")[0] for key in keys.fields()))


def _key(detail: ErrorDetails) -> str:
    parts = [str(part) for part in detail["loc"]]
    key = ".".join(parts[:2])  # what follows are positions in a list
    return key if key in keys.fields() else parts[0]


def _invalid(detail: ErrorDetails, key: str, origin: str) -> Problem:
    value = shown(detail["input"])
    place = _place(detail, key)
    if not _harmless(detail, key):
        value = "…"
    elif key in section_types():  # only its kind: a key for a server may be inside
        value = f"a {type(detail['input']).__name__}"
    field = keys.fields().get(key)
    hint = f"{key}: {field.description}{_default(field)}." if field else ""
    return Problem(f"{place} = {value} ({origin}) {_rule(detail, key)}", hint)


def _place(detail: ErrorDetails, key: str) -> str:
    """Where it is: the key, or ``backends[1].name`` in a list of sections."""
    inner = detail["loc"][1:] if "." not in key else ()
    return key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)


def _harmless(detail: ErrorDetails, key: str) -> bool:
    """Whether the value may be shown: it is no secret, and none can be inside."""
    if not keys.secret(key):
        return not (key.endswith(".proxy") and "@" in str(detail["input"]))
    inner = str(detail["loc"][-1])
    return key == "backends" and inner in ("name", "window", "ca_bundle")


def _default(field: FieldInfo) -> str:
    default = field.get_default()
    if default is None or field.default_factory:  # the description says what null stands for
        return ""
    text = ", ".join(default) if isinstance(default, tuple) else str(default)
    if default in ((), {}):
        text = "none"
    return f" (default: {text})"


def _rule(detail: ErrorDetails, key: str) -> str:
    if key in section_types():
        return f"must be a mapping with the keys {', '.join(section_types()[key].model_fields)}"
    message = detail["msg"].removeprefix("Value error, ")
    return _RULES.get(detail["type"]) or re.sub(
        r"^(Input|String|Value|Tuple) should", "must", message
    )
