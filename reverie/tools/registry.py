"""How a tool makes itself known: by decorator, also in another package.

A package of one's own names its modules under the entry point group ``reverie.tools``; each is
imported, and what it decorates is registered.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Final, TypeVar

from reverie.errors import ConfigError
from reverie.tools.tool import Example, Tool
from reverie.tools.wrap import tool_of

F = TypeVar("F", bound=Callable[..., Any])

ENTRY_POINTS: Final = "reverie.tools"

_OWN: Final = ("calculator", "facts", "graph", "recall", "search")
"""The modules of this package that hold tools."""

_tools: dict[str, Tool] = {}


def tool(
    name: str = "", *, side_effects: bool, examples: Sequence[Example] = ()
) -> Callable[[F], F]:
    """Register the decorated function as a tool; its name is the function's unless given.

    ``side_effects`` says whether calling it changes anything.
    """

    def register(function: F) -> F:
        made = tool_of(function, name=name, side_effects=side_effects, examples=examples)
        if made.name in _tools:
            raise ValueError(f"two tools are called {made.name!r}")
        _tools[made.name] = made
        return function

    return register


@functools.cache
def known_tools() -> Mapping[str, Tool]:
    """Every registered tool by name. Imports them the first time, which blocks.

    Raises ConfigError for a package whose tools cannot be used.
    """
    for module in _OWN:
        importlib.import_module(f"reverie.tools.{module}")
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            raise ConfigError(
                f"the tools of {entry.value} cannot be loaded: {type(error).__name__}: {error}",
                hint=f"mend or uninstall {entry.dist.name if entry.dist else entry.name}",
            ) from error
    return MappingProxyType(dict(_tools))


def find_tool(name: str, own: Mapping[str, Tool]) -> Tool:
    """The tool called ``name``: one of the application's ``own``, or a registered one.

    Raises ConfigError that names the nearest known one.
    """
    known = {**known_tools(), **own}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    raise ConfigError(
        f"there is no tool called {name!r}",
        hint=(f"did you mean {near[0]}? " if near else "") + f"Known: {', '.join(known)}",
    )
