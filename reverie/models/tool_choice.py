"""LangChain's ways to say which tool a model has to call, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reverie.errors import ConfigError


def tool_choice_of(
    choice: str | dict[str, Any] | bool | None, offered: Sequence[dict[str, Any]]
) -> str | dict[str, Any] | None:
    """OpenAI's form of a choice in LangChain's. Raises ConfigError for a tool nobody offered."""
    names = [tool["function"]["name"] for tool in offered]
    if choice is None or choice is False or choice in ("auto", "none", "required"):
        return choice or None
    if choice == "any":
        return "required"
    if choice is True:
        if len(names) != 1:
            raise ConfigError(
                f"tool_choice=True means the only tool, and there are {len(names)}",
                hint="give the tool's name, or 'any'",
            )
        return {"type": "function", "function": {"name": names[0]}}
    if isinstance(choice, dict):
        return choice
    if choice not in names:
        raise ConfigError(
            f"tool_choice names {choice!r}, which is not among the tools",
            hint=f"there are: {', '.join(names)}",
        )
    return {"type": "function", "function": {"name": choice}}
