"""Reasoning templates: short instructions per kind of task, which are added to a strategy's prompts
when the model was not sure of its answer. Which one helps is measured, and chosen by that.

They are files under ``templates/``, and under ``templates/`` in a prompt folder of one's own, which
may replace them or add others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from reverie.errors import ConfigError
from reverie.graphs.task_type import TASK_TYPES

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.knowledge.strategies import TemplateRecord

ANY = "other"
"""The task type whose templates fit when no other does."""

_FILE = re.compile(r"\A---\ntypes:[ \t]*(?P<types>[^\n]*)\n---\n(?P<text>.*)\Z", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Template:
    """One template file. ``version`` is the beginning of its content's SHA-256."""

    name: str
    version: str
    types: tuple[str, ...]
    """The task types that it is for."""
    text: str

    @property
    def key(self) -> str:
        """What it is recorded as: another text under the same name is measured anew."""
        return f"{self.name}@{self.version}"

    def add_to(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """The messages with the instruction: at the end of the system message, or, without one,
        before the text of the last user message.
        """
        from langchain_core.messages import HumanMessage, SystemMessage

        added = list(messages)
        for at, message in enumerate(added):
            if isinstance(message, SystemMessage):
                added[at] = SystemMessage(f"{message.text}\n{self.text}")
                return added
        for at in range(len(added) - 1, -1, -1):
            if isinstance(added[at], HumanMessage):
                added[at] = HumanMessage(f"{self.text}\n\n{added[at].text}")
                return added
        return added


class TemplateBook:
    """Every template, those in ``folder`` in place of or beside the packaged ones. Reads them all
    at once, which blocks.

    Raises ConfigError for a file that is no template.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._templates = dict(_packaged())
        if folder is not None and folder.is_dir():
            for path in sorted(folder.glob("*.md")):
                self._templates[path.stem] = _own(path)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._templates))

    def load(self, name: str) -> Template:
        """The template called ``name``, or recorded as it, in its present version. Raises
        ConfigError.
        """
        name = name.partition("@")[0]
        try:
            return self._templates[name]
        except KeyError:
            near = get_close_matches(name, self._templates, n=1)
            raise ConfigError(
                f"there is no reasoning template called {name!r}",
                hint=f"did you mean {near[0]}?" if near else f"known: {', '.join(self.names)}",
            ) from None

    def fitting(self, task_type: str) -> list[Template]:
        """The templates for a task type, in the order of their names; those for any task when it
        has none of its own.
        """
        for wanted in (task_type, ANY):
            if found := [t for _, t in sorted(self._templates.items()) if wanted in t.types]:
                return found
        return []


def choose_template(
    fitting: Sequence[Template], measured: Mapping[str, TemplateRecord], seed: str
) -> tuple[Template, str] | None:
    """The template whose sampled success is highest, and why, in words; None when none fits.

    Thompson sampling on Beta(alpha, beta), which count 1 and 1 until something was ``measured``
    under a template's key (Thompson 1933; Chapelle and Li 2011).
    """
    import numpy as np

    if not fitting:
        return None
    digest = hashlib.sha256(f"template:{seed}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    counts = [_counts(measured.get(t.key)) for t in fitting]
    draws = [random.beta(alpha, beta) for alpha, beta, _ in counts]
    best = int(np.argmax(draws))
    alpha, beta, uses = counts[best]
    if not uses:
        return fitting[best], "not tried before"
    return fitting[best], f"right {alpha / (alpha + beta):.0%} of {uses} scored times"


def _counts(record: TemplateRecord | None) -> tuple[float, float, int]:
    return (1.0, 1.0, 0) if record is None else (record["alpha"], record["beta"], record["uses"])


@cache
def _packaged() -> Mapping[str, Template]:
    found = files("reverie.graphs").joinpath("templates").iterdir()
    return {
        name: _parse(name, file.read_text(encoding="utf-8"), str(file))
        for file in found
        if (name := file.name.removesuffix(".md")) != file.name
    }


def _own(path: Path) -> Template:
    if not _NAME.fullmatch(path.stem):
        raise ConfigError(
            f"no reasoning template can be called {path.stem!r}: {path}",
            hint="take a name of small letters, digits and underscores",
        )
    try:
        return _parse(path.stem, path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _parse(name: str, text: str, path: str) -> Template:
    match = _FILE.match(text.replace("\r\n", "\n"))
    if match is None:
        raise ConfigError(
            f"{path} is no reasoning template",
            hint="begin it with three lines: ---, types: arithmetic, counting, and ---; the "
            "instruction follows",
        )
    types = tuple(t.strip() for t in match["types"].split(",") if t.strip())
    _require_types(types, TASK_TYPES, path)
    if not match["text"].strip():
        raise ConfigError(f"{path} has no instruction", hint="write it below the second ---")
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Template(name, version, types, match["text"].strip())


def _require_types(types: Sequence[str], known: Collection[str], path: str) -> None:
    if not types:
        raise ConfigError(f"{path} names no task type", hint=f"known: {', '.join(known)}")
    for one in types:
        if one not in known:
            near = get_close_matches(one, known, n=1)
            raise ConfigError(
                f"{path} is for tasks of the type {one!r}, which does not exist",
                hint=f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}",
            )
