"""What all sections of the settings share."""

from __future__ import annotations

import json
from typing import Any, ClassVar, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no infinities."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # what is wrong may be a key
    )

    shorthand: ClassVar[str] = ""
    """The field that a bare value for the whole section stands for."""

    @classmethod
    def expand(cls, value: object) -> object:
        """Turn a bare value (``model: smollm2``) into a mapping (``model: {name: smollm2}``)."""
        bare = isinstance(value, str | int | float) and not isinstance(value, bool)
        return {cls.shorthand: value} if cls.shorthand and bare else value

    @model_validator(mode="before")
    @classmethod
    def _expand_shorthand(cls, value: Any) -> Any:
        return cls.expand(value)

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: Any, info: ValidationInfo) -> Any:
        """Read text from variables and options as YAML would; refuse what is never meant."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:  # pydantic would take it for 1
            # ValueError: the type that pydantic turns into a finding.
            raise ValueError("must not be true or false")
        if not isinstance(value, str):
            return value
        if any(ord(character) < 32 for character in value):
            raise ValueError("must not hold control characters")
        if value.lower() in ("none", "null"):
            return None
        if get_origin(field.annotation) is tuple:
            return listed(value)
        if get_origin(field.annotation) is dict and value.lstrip().startswith("{"):
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
