"""Arguments that are a few words."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from reverie.errors import ToolFailed

_PATTERN: Final = r'^([^ "\\\t\n\r]+ ){0,15}[^ "\\\t\n\r]+$'
"""Some words. A limit on characters would take grammars seconds to compile."""
_MOST_CHARACTERS: Final = 1000


def Words(description: str) -> Any:  # noqa: N802  # stands where pydantic's Field would
    """A field that takes up to 16 words."""
    return Field(json_schema_extra={"pattern": _PATTERN}, description=description)


def checked_words(text: str, *, name: str = "query") -> str:
    """``text``, which must not be empty or very long. Raises ToolFailed."""
    if not text.strip():
        raise ToolFailed(f"the {name} is empty")
    if len(text) > _MOST_CHARACTERS:
        raise ToolFailed(f"the {name} is longer than {_MOST_CHARACTERS} characters")
    return text
