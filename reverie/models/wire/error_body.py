"""The bodies of error responses: the same few facts in many shapes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_MOST_SHOWN = 500
_MOST_READ = 4000
_MOST_PARSED = 100_000
"""Characters: of a message to a person, of what is searched, of text that is tried as JSON."""

_MOST_NESTED = 5

_TITLE = re.compile(r"<title[^<>]{0,200}>([^<]{1,500})", re.IGNORECASE)
_TAG = re.compile(r"<(?:!doctype|html|head|body|title)\b", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s\ud800-\udfff]+")


@dataclass(slots=True)
class ErrorBody:
    """What an error response says. Everything is empty where it says nothing."""

    message: str = ""
    """In one line of at most 500 characters."""
    text: str = ""
    """All that was said, for searching: at most 4000 characters."""
    code: str = ""
    type: str = ""
    parameter: str = ""
    """The part of the request that is blamed, as the server names it."""
    status: int = 0
    """The HTTP status, where the body repeats it."""
    window: int | None = None
    prompt_tokens: int | None = None
    extra_fields: tuple[str, ...] = ()
    """Fields that a server of FastAPI's kind forbids, as it knows them not."""


def read_body(document: Any) -> ErrorBody:
    """Read ``document``: parsed JSON, text or bytes. Never raises."""
    body = ErrorBody()
    said: list[str] = []
    _read(document, body, said, 0)
    body.text = "\n".join(said)[:_MOST_READ]
    body.message = one_line(said[0] if said else "", _MOST_SHOWN)
    return body


def one_line(text: str, most: int) -> str:
    """``text`` without line breaks, control characters and lone surrogates, at most ``most``."""
    line = _UNPRINTABLE.sub(" ", text[: most * 4]).strip()
    return line if len(line) <= most else line[: most - 1] + "…"


def excerpt(document: Any) -> str:
    """How ``document`` begins, in at most 200 characters."""
    if isinstance(document, bytes):
        document = document[:1000].decode("utf-8", "replace")
    if isinstance(document, str):
        return one_line(document, 200)
    text = ""
    # Part by part: a document of megabytes is not written out, and one nested a thousand deep is
    # left before the stack ends.
    for part in json.JSONEncoder(ensure_ascii=False, default=repr).iterencode(document):
        text += part[:400]
        if len(text) > 400:
            break
    return one_line(text, 200)


def _read(value: Any, body: ErrorBody, said: list[str], depth: int) -> None:
    if depth > _MOST_NESTED:
        return
    if isinstance(value, bytes):
        value = value[:_MOST_PARSED].decode("utf-8", "replace")
    if isinstance(value, str):
        _read_text(value, body, said, depth)
    elif isinstance(value, dict):
        _read_mapping(value, body, said, depth)
    elif isinstance(value, list):
        for one in value[:10]:
            _read(one, body, said, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        said.append(str(value)[:20])


def _read_text(value: str, body: ErrorBody, said: list[str], depth: int) -> None:
    text = value.strip()
    # Proxies put the other server's answer into their message, and so does Ollama.
    if text[:1] in ("{", "[") and len(text) <= _MOST_PARSED:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            _read(inner, body, said, depth + 1)
            return
    if _TAG.search(text[:2000]):
        title = _TITLE.search(text[:20_000])
        text = title[1].strip() if title else "a page of HTML"
    if text:
        said.append(text[:_MOST_READ])


def _read_mapping(value: dict[Any, Any], body: ErrorBody, said: list[str], depth: int) -> None:
    error = value.get("error")
    if error:
        _read(error, body, said, depth + 1)
    if "loc" in value and "msg" in value:  # FastAPI's, one of a list
        _read_fastapi(value, body, said)
        return
    for name in ("message", "detail", "msg", "error_description", "errors"):
        _read(value.get(name), body, said, depth + 1)
    metadata = value.get("metadata")
    if isinstance(metadata, dict):  # OpenRouter puts the other server's words there
        _read(metadata.get("raw"), body, said, depth + 1)
    code = value.get("code")
    body.code = body.code or _word(code)
    body.type = body.type or _word(value.get("type")) or _word(value.get("error_type"))
    body.parameter = body.parameter or _word(value.get("param"))
    body.status = body.status or _status(code) or _status(value.get("status"))
    # llama.cpp's, https://github.com/ggml-org/llama.cpp/pull/15780
    body.window = body.window or _count(value.get("n_ctx"))
    body.prompt_tokens = body.prompt_tokens or _count(value.get("n_prompt_tokens"))


def _read_fastapi(value: dict[Any, Any], body: ErrorBody, said: list[str]) -> None:
    place = value["loc"]
    names = [str(part)[:60] for part in place if part != "body"] if isinstance(place, list) else []
    blamed = ".".join(names[:5])
    message = str(value["msg"])[:_MOST_READ]
    said.append(f"{blamed}: {message}" if blamed else message)
    body.parameter = body.parameter or blamed
    if value.get("type") == "extra_forbidden" and names:
        body.extra_fields = (*body.extra_fields, names[0])


def _word(value: Any) -> str:
    return value[:100] if isinstance(value, str) else ""


def _status(value: Any) -> int:
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 400 <= value < 600 else 0


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1_000_000_000 else None
