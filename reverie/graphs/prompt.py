"""Prompts are files under ``prompts/``: chat turns in Markdown, filled in with ``$name``.

A folder of one's own may replace any of them, file by file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final, Literal

from reverie.errors import ConfigError

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

    @property
    def values(self) -> frozenset[str]:
        """The names that it asks for."""
        return frozenset(n for _, text in self.turns for n in Template(text).get_identifiers())

    def messages(self, **values: str) -> list[BaseMessage]:
        """The chat turns with ``$name`` replaced. Values are put in as they are: a ``$`` in a
        question stays one.
        """
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

        kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
        return [kinds[role](Template(text).substitute(values)) for role, text in self.turns]


class PromptBook:
    """Every prompt, those in ``folder`` in place of the packaged ones of the same name. Reads them
    all at once, which blocks.

    Raises ConfigError for a file that replaces no prompt, has no turns, or asks for other values.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._prompts = {name: load_prompt(name) for name in _packaged()}
        for path in _own(folder):
            packaged = self._prompts.get(path.stem)
            if packaged is None:
                near = get_close_matches(path.stem, self._prompts, n=1)
                raise ConfigError(
                    f"{path} replaces no prompt: there is none called {path.stem!r}",
                    hint=f"Did you mean {near[0]}.md?" if near else _known(self._prompts),
                )
            self._prompts[path.stem] = _replacement(path, packaged)

    def load(self, name: str) -> Prompt:
        """The prompt called ``name``."""
        return self._prompts[name]


@cache
def load_prompt(name: str) -> Prompt:
    """The packaged prompt ``prompts/NAME.md``."""
    text = files("reverie.graphs").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    return _parse(name, text)


@cache
def _packaged() -> tuple[str, ...]:
    found = files("reverie.graphs").joinpath("prompts").iterdir()
    return tuple(sorted(f.name.removesuffix(".md") for f in found if f.name.endswith(".md")))


def _parse(name: str, text: str) -> Prompt:
    turns = tuple((match[1], match[2].strip()) for match in _TURN.finditer(text))
    return Prompt(name, hashlib.sha256(text.encode()).hexdigest()[:12], turns)  # type: ignore[arg-type]  # the pattern admits only roles


def _own(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise ConfigError(
            f"reason.prompts names {folder}, which is no folder",
            hint="Name a folder with NAME.md files, or leave it out",
        )
    return sorted(folder.glob("*.md"))


def _replacement(path: Path, packaged: Prompt) -> Prompt:
    try:
        prompt = _parse(path.stem, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not prompt.turns:
        raise ConfigError(
            f"{path} has no turns", hint="Begin each with a line: ## system, ## user, ## assistant"
        )
    unknown = sorted(prompt.values - packaged.values)
    if unknown:
        raise ConfigError(
            f"{path} asks for ${unknown[0]}, which this prompt is not given",
            hint=f"It may use {', '.join('$' + name for name in sorted(packaged.values))}; "
            "write $$ for a dollar sign",
        )
    return prompt


def _known(prompts: Iterable[str]) -> str:
    return f"There are {', '.join(prompts)}."


PACKAGED: Final = PromptBook()
"""Read here, when the module is imported, since nodes must not wait for files."""
