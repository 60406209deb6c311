"""The forms in which models write tool calls into their text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from reverie.models.wire.piece import ToolDelta

_FENCES: Final = ("```json\n", "```\n", "```tool_call\n", "```tool_calls\n")
_KEYS: Final = ("name", "arguments", "parameters", "function", "type", "id")
"""What the first key of a call may be."""
_SYNTAX: Final = re.compile(r'["\\{}\[\]]')
_FIRST_KEY: Final = re.compile(r'\[?\s*\{\s*"([^"\\]*)("?)')
_FIRST_NAME: Final = re.compile(r'\[?\s*\{\s*"name"\s*:\s*"([^"\\]*)("?)')
_NO_KEY_YET: Final = re.compile(r"(?:\[\s*)?(?:\{\s*)?")


@dataclass(frozen=True, slots=True)
class Opener:
    """What a call begins with, before its JSON."""

    text: str
    closer: str = ""
    name: str = ""
    """The tool, where the opener names it; the JSON then is the arguments alone."""


class Openers:
    """How calls of these tools may begin: as Hermes and Qwen, Mistral and Llama models write them,
    fenced as JSON, or as JSON alone. The last two count at the beginning of a line only.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(name for name in names if name)
        marks = [Opener("<tool_call>", "</tool_call>"), Opener("<|python_tag|>")]
        marks += [Opener("[TOOL_CALLS]")]
        for name in self.names:
            marks += [
                Opener(f"<function={name}>", "</function>", name),
                Opener(f"[TOOL_CALLS]{name}", "", name),
                Opener(f"[TOOL_CALLS]{name}[ARGS]", "", name),
            ]
        fences = [Opener(fence, "```") for fence in _FENCES]
        self._within = marks
        self._at_line_start = [*marks, *fences, Opener("")]

    def begin(self, text: str, *, line_start: bool) -> Opener | bool:
        """What opens a call at the beginning of ``text``: False if nothing does, True if more of it
        must be seen.
        """
        openers = self._at_line_start if line_start else self._within
        if any(len(text) < len(opener.text) and opener.text.startswith(text) for opener in openers):
            return True
        for opener in openers:
            if text.startswith(opener.text):
                body = text[len(opener.text) :].lstrip()
                if body and body[0] in ("{" if opener.name else "{["):
                    return opener
                if not body:
                    return True
        return False


class WrittenCall:
    """Text that an opener begins, read until it is a call, or several, or something else."""

    def __init__(self, opener: Opener, names: Collection[str], begin: int) -> None:
        """``begin`` is where the opener is in the texts that ``read`` will be given."""
        self._opener = opener
        self._names = names
        self._begin = begin + len(opener.text)
        self._extent = _Extent(self._begin)
        self._begins_well = bool(opener.name)
        self._end: int | None = None
        self.calls: list[ToolDelta] = []
        """What was called; empty when it was something else. Complete when ``read`` says so."""

    def read(self, text: str, *, final: bool) -> int | None:
        """Where it ends in ``text``, once that is known; unless ``final``, ``text`` will grow."""
        if self._end is None:
            if not self._promising(text):
                return self._begin + 1
            self._end = self._extent.end(text)
            if self._end is None:
                return self._begin + 1 if final else None
            self.calls = self._read_calls(text[self._begin : self._end])
        if not self.calls:
            return self._end
        return self._closed(text, self._end, final=final)

    def _promising(self, text: str) -> bool:
        """Whether the JSON may still turn out to be a call, by how it begins."""
        if not self._begins_well:
            body = text[self._begin :].lstrip()
            key = _FIRST_KEY.match(body)
            if key is None:
                return _NO_KEY_YET.fullmatch(body) is not None
            if not _may_be(key, _KEYS):
                return False
            name = _FIRST_NAME.match(body)
            if name is not None and not _may_be(name, self._names):
                return False
            # Looked at once only: the rest may be long, and come in many parts.
            self._begins_well = bool(name[2] if name else key[2] and key[1] != "name")
        return True

    def _read_calls(self, body: str) -> list[ToolDelta]:
        try:
            # Not strict: models write line breaks into strings.
            value = json.loads(body, strict=False)
        except (ValueError, RecursionError):
            return []
        if self._opener.name:
            return [ToolDelta(0, name=self._opener.name, arguments=json.dumps(value))]
        entries = value if isinstance(value, list) else [value]
        calls = []
        for entry in entries:
            call = _call(entry, self._names, bare=not self._opener.text)
            if call is None:
                return []
            calls.append(call)
        return calls

    def _closed(self, text: str, end: int, *, final: bool) -> int | None:
        """Where the closing tag ends. Alone, JSON has to be alone on its line."""
        opener = self._opener
        if not opener.closer and opener.text:
            return end
        if not opener.closer:
            behind = text[end:].lstrip(" \t")
            if not behind:
                return end if final else None
            if behind[0] not in "\r\n;,<{[":
                self.calls = []
            return end
        behind = text[end:].lstrip()
        if behind.startswith(opener.closer):
            return len(text) - len(behind) + len(opener.closer)
        if opener.closer.startswith(behind) and not final:
            return None
        return end  # models forget it


class _Extent:
    """Finds the end of a JSON object or list, without reading anything twice."""

    def __init__(self, begin: int) -> None:
        self._at = begin
        self._depth = 0
        self._quoted = False

    def end(self, text: str) -> int | None:
        while found := _SYNTAX.search(text, self._at):
            self._at = found.end()
            sign = found[0]
            if self._quoted:
                if sign == "\\":
                    self._at += 1  # the next character means nothing, and may not be there yet
                elif sign == '"':
                    self._quoted = False
            elif sign == '"':
                self._quoted = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    return self._at
        self._at = max(self._at, len(text))
        return None


def _may_be(found: re.Match[str], words: Collection[str]) -> bool:
    said, whole = found.groups()
    return said in words if whole else any(word.startswith(said) for word in words)


def _call(entry: Any, names: Collection[str], *, bare: bool) -> ToolDelta | None:
    """One call, if ``entry`` is one of a known tool."""
    if not isinstance(entry, dict):
        return None
    told = entry.get("function", entry)
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        return None
    if told["name"] not in names or (bare and not {"arguments", "parameters"} & told.keys()):
        return None
    arguments = told.get("arguments", told.get("parameters"))
    if isinstance(arguments, str):  # encoded twice: whoever reads arguments sees to it
        text = arguments
    elif arguments is None:
        text = ""
    elif isinstance(arguments, dict):
        text = json.dumps(arguments)
    else:
        return None
    own = entry.get("id")
    return ToolDelta(0, own if isinstance(own, str) else "", told["name"], text)
