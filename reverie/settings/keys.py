"""The names of the settings, as files write them (``budget.tokens``) and as variables do."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from reverie.settings.schema import Settings, section_types
from reverie.settings.section import Section

PREFIX = "REVERIE_"
CONFIG_VARIABLE = "REVERIE_CONFIG"
"""Names the YAML file; a variable, but not a setting."""


@cache
def fields() -> dict[str, FieldInfo]:
    """Every setting by its dotted key, in the order of the schema."""
    sections = section_types()
    found: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        if name in sections:
            inner = sections[name].model_fields
            found.update({f"{name}.{key}": value for key, value in inner.items()})
        else:
            found[name] = field
    return found


def variable(key: str) -> str:
    """The environment variable of a dotted key."""
    return PREFIX + key.upper().replace(".", "_")


@cache
def variables() -> dict[str, str]:
    """Every known environment variable and the dotted key that it sets.

    A section that has a shorthand has a variable of its own (``REVERIE_MODEL``).
    """
    sections = {
        variable(name): f"{name}.{section.shorthand}" if section.shorthand else name
        for name, section in section_types().items()
    }
    return sections | {variable(key): key for key in fields()} | {CONFIG_VARIABLE: ""}


def secret(key: str) -> bool:
    """Whether the value of a key must never be shown."""
    field = fields().get(key)
    return field is not None and _holds_secrets(field.annotation)


def _holds_secrets(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return any(_holds_secrets(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(map(_holds_secrets, get_args(annotation)))


def nearest_key(unknown: str) -> str:
    """The known key that a misspelt one most likely means, or nothing."""
    return _nearest(unknown, [*section_types(), *fields()], ".")


def nearest_variable(unknown: str) -> str:
    """The known environment variable that a misspelt one most likely means, or nothing."""
    return _nearest(unknown, list(variables()), "_")


def _nearest(unknown: str, known: list[str], separator: str) -> str:
    close = get_close_matches(unknown, known, n=1, cutoff=0.75)
    if close:
        return close[0]
    # A key in the wrong section, or in none: compare the last parts alone.
    last = unknown.lower().rpartition(separator)[2]
    ends = {name.lower().rpartition(separator)[2]: name for name in reversed(known)}
    end = get_close_matches(last, list(ends), n=1, cutoff=0.75)
    if end:
        return ends[end[0]]
    return next(iter(get_close_matches(unknown, known, n=1, cutoff=0.6)), "")
