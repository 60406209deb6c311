"""JSON Lines, and arrays of objects in JSON: one document per record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reverie.errors import DocumentUnreadable
from reverie.knowledge.read.document import SourceDocument

_TEXTS: Final = ("text", "content", "contents", "body", "passage", "page_content", "markdown")
"""The first of these that a record has is its text."""
_PAIRS: Final = (
    ("question", ("answer", "answers")),
    ("instruction", ("output", "response")),
    ("prompt", ("completion", "response", "output")),
    ("query", ("answer", "response")),
)
_TITLES: Final = ("title", "name", "heading", "headline", "subject")
_IDS: Final = ("id", "_id", "uid", "uuid", "key", "docid", "doc_id")
_NOTICES: Final = 5
"""Broken lines that are named one by one."""
_SPACE: Final = " \t\n\r"


def read_lines(text: str, path: str, notices: list[str]) -> list[SourceDocument]:
    """The records of JSON Lines. A broken line is a notice on the first document.

    Raises DocumentUnreadable when every line is broken.
    """
    found: list[tuple[int, Any]] = []
    broken: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            found.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "it nests too deep"
            broken.append(f"line {number} is no JSON and was left out: {reason}")
    if broken and not found:
        raise DocumentUnreadable(
            f"{path} is no JSON Lines: {broken[0]}",
            hint="Every line must hold one JSON value; give other files another suffix",
        )
    if len(broken) > _NOTICES:
        more = f"{len(broken) - _NOTICES} more lines are no JSON and were left out"
        broken = [*broken[:_NOTICES], more]
    return _documents(found, path, [*notices, *broken])


def read_json(text: str, path: str, notices: list[str]) -> list[SourceDocument]:
    """The records of an array of objects; any other file as one document of code."""
    try:
        found = list(_elements(text))
    except (ValueError, RecursionError):
        found = []
    if not found or not all(isinstance(record, dict) for _, record in found):
        return [SourceDocument(path, "code", text, "json", notices=notices)]
    return _documents(found, path, notices)


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of the array that ``text`` is, each with its first line. Raises ValueError."""
    decoder = json.JSONDecoder()
    position = _past_space(text, 0)
    if text[position : position + 1] != "[":
        raise ValueError("no array")
    line, counted = 1, 0
    position = _past_space(text, position + 1)
    while text[position : position + 1] != "]":
        record, end = decoder.raw_decode(text, position)
        line += text.count("\n", counted, position)
        counted = position
        yield line, record
        position = _past_space(text, end)
        if text[position : position + 1] == ",":
            position = _past_space(text, position + 1)
        elif text[position : position + 1] != "]":
            raise ValueError("no comma")
    if _past_space(text, position + 1) < len(text):
        raise ValueError("more than an array")


def _past_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _documents(found: list[tuple[int, Any]], path: str, notices: list[str]) -> list[SourceDocument]:
    ids = Counter(_first(record, _IDS) for _, record in found)
    seen: Counter[tuple[str, str]] = Counter()
    documents: list[SourceDocument] = []
    empty = 0
    for line, record in found:
        title, text = _first(record, _TITLES), _text(record)
        if not text.strip():
            empty += 1
            continue
        own = _first(record, _IDS)
        if not own or ids[own] > 1:
            seen[title, text] += 1
            times = seen[title, text]
            own = "" if times == 1 else str(times)
        lines = (line,) * (text.count("\n") + 1)
        documents.append(SourceDocument(path, "text", text, title=title, lines=lines, record=own))
    if empty:
        notices = [*notices, f"{empty} records have no text and were left out"]
    if documents and notices:
        first = documents[0]
        documents[0] = SourceDocument(
            path, "text", first.text, "", first.title, first.lines, None, notices, first.record
        )
    return documents


def _text(record: Any) -> str:
    """What a record says: its text, its question and answer, its turns, or all of its strings."""
    if not isinstance(record, Mapping):
        return "\n".join(_strings(record))
    by_name = {str(name).lower(): value for name, value in record.items()}
    for name in _TEXTS:
        if text := "\n".join(_strings(by_name.get(name))):
            asked = by_name.get("question")
            return f"{asked}\n{text}" if isinstance(asked, str) and asked else text
    for name, answers in _PAIRS:
        asked = "\n".join(_strings(by_name.get(name)))
        said = next((t for a in answers if (t := "\n".join(_strings(by_name.get(a))))), "")
        if asked and said:
            return f"{asked}\n{said}"
    return "\n".join(
        f"{name}: {said}"
        for name, value in record.items()
        if (said := "\n".join(_strings(value))) and str(name).lower() not in (*_IDS, *_TITLES)
    ) or _first(record, _TITLES)


def _strings(value: Any) -> Iterator[str]:
    """The strings in ``value``, outermost first; the turns of a conversation with who spoke."""
    todo = [value]  # a stack of its own: JSON may nest deeper than Python can call
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            if one.strip():
                yield _clean(one)
        elif isinstance(one, dict):
            role, content = one.get("role"), one.get("content")
            if isinstance(role, str) and isinstance(content, str):
                yield _clean(f"{role}: {content}")
            else:
                todo += reversed(one.values())
        elif isinstance(one, list):
            todo += reversed(one)


def _first(record: Any, names: tuple[str, ...]) -> str:
    """The first of the fields that is there, in one line."""
    if isinstance(record, Mapping):
        for name in names:
            value = record.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
                return " ".join(_clean(str(value)).split())[:500]
    return ""


def _clean(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
