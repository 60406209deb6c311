"""One place that settings come from, as dotted keys, values and where each was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from reverie.settings.keys import CONFIG_VARIABLE, PREFIX, fields, variable, variables
from reverie.settings.schema import Settings, section_types


@dataclass(frozen=True)
class Option:
    """A value and what the user typed to set it, such as ``--budget``.

    None means that the option was not given; to set null, say ``"none"``.
    """

    value: object
    origin: str


@dataclass
class Layer:
    """Dotted keys with their values and origins; ``unknown`` variables have no key."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(self, key: str, value: object, origin: str) -> None:
        """Set a key, or all keys of a section given as a mapping or by its shorthand."""
        section = section_types().get(key)
        if section is not None:
            value = section.expand(value)
            if value is None:  # a section without content, as in "model:" alone on a line
                return
        if isinstance(value, Mapping) and "." not in key and key not in fields():
            for name, inner in value.items():
                self.values[f"{key}.{name}"] = inner
                self.origins[f"{key}.{name}"] = origin
        else:
            self.values[key] = value
            self.origins[key] = origin


class _Environment(EnvSettingsSource):
    """pydantic-settings' environment source over a given mapping, with shorthands and lists."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = {name.lower(): value for name, value in given.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read JSON lists and objects; leave other text to the section's own reading."""
        try:
            decoded = json.loads(value) if value.lstrip().startswith(("[", "{")) else value
        except ValueError:
            decoded = value
        section = section_types().get(field_name)
        # A section must be a mapping here, or the section's other variables would be dropped.
        return section.expand(decoded) if section is not None else decoded


def from_environment(environment: Mapping[str, str]) -> Layer:
    """The ``REVERIE_...`` variables. Empty ones count as not set."""
    given = {
        name.upper(): value
        for name, value in environment.items()
        if name.upper().startswith(PREFIX) and value.strip()
    }
    layer = Layer(unknown=sorted(given.keys() - variables().keys()))
    known = {name: value for name, value in given.items() if name in variables()}
    known.pop(CONFIG_VARIABLE, None)
    for name, value in _Environment(known)().items():
        layer.add(name, value, variable(name))
    for key in layer.values:
        if variable(key) in known:
            layer.origins[key] = variable(key)
    return layer


def from_overrides(overrides: Mapping[str, object]) -> Layer:
    """Values given on the command line or in a call; see :class:`Option` for their origin."""
    layer = Layer()
    for key, given in overrides.items():
        option = given if isinstance(given, Option) else Option(given, "argument")
        if isinstance(given, Option) and given.value is None:
            continue
        layer.add(key, option.value, option.origin)
    return layer
