"""What a file of code says: what it defines, imports and calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or method; ``name`` is qualified within the file: ``Class.method``."""

    name: str
    line: int
    holder: str = ""
    """The class that it is a method of."""


@dataclass(frozen=True, slots=True)
class Import:
    """What is imported, by qualified name, and what that is called in the file."""

    targets: Sequence[str]
    line: int
    bound: Mapping[str, str] = field(default_factory=dict)
    """By the name in the file the qualified name."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, as it is written with dots between its parts, and from where."""

    callee: str
    line: int
    caller: str = ""
    """The function or method, qualified within the file; empty: the module itself."""
    holder: str = ""
    """The class around it."""


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """All of a file. ``module`` is its own qualified name; empty where names are global."""

    module: str
    definitions: Sequence[Definition] = ()
    imports: Sequence[Import] = ()
    calls: Sequence[Call] = ()
