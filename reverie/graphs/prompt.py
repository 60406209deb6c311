"""Prompts are files under ``prompts/``: chat turns in Markdown, filled in with ``$name``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Role = Literal["system", "user", "assistant"]

_TURN = re.compile(r"^## (system|user|assistant)$\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file. ``version`` is the beginning of its content's SHA-256."""

    name: str
    version: str
    turns: tuple[tuple[Role, str], ...]

    def messages(self, **values: str) -> list[BaseMessage]:
        """The chat turns with ``$name`` replaced. Values are put in as they are: a ``$`` in a
        question stays one.
        """
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

        kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
        return [kinds[role](Template(text).substitute(values)) for role, text in self.turns]


@cache
def load_prompt(name: str) -> Prompt:
    """The packaged prompt ``prompts/NAME.md``."""
    text = files("reverie.graphs").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    turns = tuple((match[1], match[2].strip()) for match in _TURN.finditer(text))
    return Prompt(name, hashlib.sha256(text.encode()).hexdigest()[:12], turns)  # type: ignore[arg-type]  # the pattern admits only roles
