"""One thing that a model may call."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from reverie.errors import ConfigError, ToolFailed

if TYPE_CHECKING:
    from reverie.knowledge.episodes import EpisodicMemory
    from reverie.knowledge.graph.store import GraphStore
    from reverie.knowledge.library import Library
    from reverie.models.embedder import Embedder
    from reverie.settings import Settings

KEY: Final = "tool"
"""Where a call written as JSON names its tool; no argument may have this name."""

MOST_RESULT: Final = 4000
"""Characters of a result that a model is shown; the rest is cut off, which the result says."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")
"""What every server takes for the name of a function."""


class Knowledge(Protocol):
    """What tools may look things up in. A function that wants it has a parameter of this type,
    which the model does not see.
    """

    settings: Settings

    async def embedder(self) -> Embedder:
        """The sentence embedder, loaded."""
        ...

    async def facts(self) -> GraphStore:
        """The graph store."""
        ...

    async def library(self) -> Library:
        """The documents that were ingested."""
        ...

    async def episodes(self) -> EpisodicMemory:
        """What was learnt, and when."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """A question for which the tool is right, shown to models that have no tool calls of their
    own.
    """

    question: str
    arguments: Mapping[str, Any]
    result: str
    answer: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A named function with typed arguments. ``tool_of`` makes one from a function."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON schema of the arguments: an object, its properties in the order they are written."""
    side_effects: bool
    """Whether calling it changes something; then a person can be asked first."""
    check: Callable[[Mapping[str, Any]], dict[str, Any]]
    """The arguments as ``run`` takes them; raises ToolFailed saying what is wrong with them."""
    run: Callable[[dict[str, Any], Knowledge], Awaitable[Any]]
    examples: tuple[Example, ...] = field(default=())

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ConfigError(
                f"no tool can be called {self.name!r}",
                hint="take at most 64 letters, digits, underscores and hyphens",
            )
        if not self.description.strip():
            raise ConfigError(
                f"the tool {self.name} has no description",
                hint="give it a docstring that says what it does: a model chooses by that",
            )
        if KEY in self.schema.get("properties", {}):
            raise ConfigError(
                f"the tool {self.name} has an argument called {KEY!r}, which names the tool itself",
                hint="rename the argument",
            )

    async def call(self, arguments: Mapping[str, Any], knowledge: Knowledge) -> str:
        """What the tool says, at most ``MOST_RESULT`` characters of it. Raises ToolFailed."""
        checked = self.check(arguments)
        try:
            result = as_text(await self.run(checked, knowledge))
        except ToolFailed:
            raise
        except Exception as error:
            # Whatever it is: it happened in the tool, and the run goes on without its result.
            said = str(error)[:MOST_RESULT]
            raise ToolFailed(f"{type(error).__name__}: {said}" if said else repr(error)) from error
        if len(result) > MOST_RESULT:
            rest = len(result) - MOST_RESULT
            return f"{result[:MOST_RESULT]}… ({rest:,} more characters were cut off)"
        return result

    def described(self) -> dict[str, Any]:
        """The tool as OpenAI's requests describe one."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}


def as_text(result: Any) -> str:
    """A result as a model reads it: text as it is, anything else as JSON."""
    if isinstance(result, str):
        return result
    dump = getattr(result, "model_dump", None)
    if callable(dump):
        result = dump(mode="json")
    return json.dumps(result, ensure_ascii=False, default=str)
