"""What a server's error means, read from its body."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

from reverie.errors import ContextOverflow, ModelRejected, ModelUnavailable, ReverieError
from reverie.models.wire.error_body import ErrorBody, read_body
from reverie.models.wire.overflow import read_overflow
from reverie.models.wire.unsupported import canonical, refused_field

Kind = Literal[
    "overflow",
    "key",
    "unknown_model",
    "unsupported_field",
    "wrong_wire",
    "content_filter",
    "too_many",
    "server",
    "other",
]

_REFUSED_CODES: Final = frozenset(
    {"unsupported_parameter", "unsupported_value", "unknown_parameter", "unrecognized_parameter"}
)

_KEY: Final = re.compile(
    r"(?:incorrect|invalid|missing|no) api key|api key (?:is )?(?:required|invalid|missing)"
    r"|invalid_api_key|authentication_error",
    re.IGNORECASE,
)
_UNKNOWN_MODEL: Final = re.compile(
    r"model_not_found|no models? (?:is |are )?(?:currently )?loaded|not a valid model id"
    r"|\bmodel\b.{0,200}?(?:does not exist|not found|is not (?:loaded|served))"
    r"|(?:unknown|no such) model",
    re.IGNORECASE,
)
# OpenAI: "This model is only supported in v1/responses and not in v1/chat/completions". The second
# wording is used for such models too: https://github.com/micz/ThunderAI/issues/570
_WRONG_WIRE: Final = re.compile(
    r"only (?:supported|available|works) (?:in|with|through|via) (?:the )?/?"
    r"(?:v1/responses|v1/chat/completions|responses api|chat completions api)"
    r"|not supported in the v1/chat/completions endpoint"
    r"|(?:chat/completions|chat completions) is not supported.{0,40}responses",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(
    r"content_filter|content_policy|content management policy|responsibleaipolicy|invalid_prompt"
    r"|data_inspection_failed|bio_policy|policy_violation"
    r"|(?:rejected|blocked|flagged) by (?:our |the )?(?:safety|content|moderation)",
    re.IGNORECASE,
)
_TOO_MANY: Final = re.compile(
    r"rate_limit|rate limit|too many requests|toomanyrequests|insufficient_quota"
    r"|server is (?:busy|overloaded)",
    re.IGNORECASE,
)
_SERVER: Final = re.compile(
    r"server_error|internalservererror|internal server error|service_?unavailable|overloaded"
    r"|engine.{0,20}(?:dead|died)",
    re.IGNORECASE,
)
_BLAMES_REQUEST: Final = re.compile(
    r"invalid_|invalidrequest|bad_?request|validation|unsupported_|image_|_too_large|_mismatch",
    re.IGNORECASE,
)

_KINDS: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    ("content_filter", _FILTERED),
    ("wrong_wire", _WRONG_WIRE),
    ("unknown_model", _UNKNOWN_MODEL),
    ("key", _KEY),
    ("too_many", _TOO_MANY),
    ("server", _SERVER),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said when it did not answer.

    The message is the server's own and may hold anything, keys too.
    """

    kind: Kind
    message: str = ""
    """In one line of at most 500 characters; empty when it said nothing."""
    code: str = ""
    window: int | None = None
    prompt_tokens: int | None = None
    """With ``overflow``: tokens, where it said them. A prompt smaller than the window means that
    prompt and reply together are too long."""
    parameter: str = ""
    """With ``unsupported_field``, and never else: its name in Chat Completions."""


def read_refusal(status: int, document: Any, headers: Mapping[str, str]) -> Refusal:  # noqa: ARG001  # nothing in headers tells more than status and body do so far
    """Read an error's body: JSON, text or bytes, of any shape. Never raises.

    ``status`` is 0 when there was none, as for an error within a stream.
    """
    body = read_body(document)
    said = f"{body.code}\n{body.type}\n{body.text}"
    status = status or body.status
    if status not in (401, 403, 429):
        overflow = read_overflow(said)
        if overflow is not None or body.type == "exceed_context_size_error":
            window, prompt = overflow or (None, None)
            return Refusal(
                "overflow",
                body.message,
                body.code,
                body.window or window,
                body.prompt_tokens or prompt,
            )
    parameter = "" if status in (401, 403, 429) else _refused_field(body)
    kind: Kind = "unsupported_field" if parameter else _kind(status, said)
    return Refusal(kind, body.message, body.code, parameter=parameter)


def error_in(document: Any) -> ReverieError | None:
    """The error that an event of a stream stands for; None when it is another event."""
    if not isinstance(document, dict):
        return None
    if not document.get("error") and "error" not in (document.get("object"), document.get("type")):
        return None
    refusal = read_refusal(0, document, {})
    message = f"the server broke off: {refusal.message or 'without a word'}"
    if refusal.kind == "overflow":
        return ContextOverflow(message, window=refusal.window, tokens=refusal.prompt_tokens)
    if refusal.kind in ("server", "too_many"):
        return ModelUnavailable(message, hint="the server's own log says why", transient=True)
    field = "wire" if refusal.kind == "wrong_wire" else refusal.parameter
    return ModelRejected(message, field=field)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds to wait that ``headers`` ask for, at ``now`` (seconds since 1970).

    Reads ``retry-after-ms`` and ``retry-after``, with fractions or as an HTTP date; None when there
    is neither, or nonsense.
    """
    given = {name.lower(): value for name, value in headers.items()}
    milliseconds = _seconds(given.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = given.get("retry-after")
    seconds = _seconds(said)
    if seconds is not None or not said:
        return seconds
    try:
        moment = parsedate_to_datetime(said[:100])
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(aware.timestamp() - now, 0.0)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _seconds(text: str | None) -> float | None:
    try:
        number = float((text or "")[:40])
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _refused_field(body: ErrorBody) -> str:
    for name in body.extra_fields:
        if field := canonical(name):
            return field
    if body.parameter and body.code in _REFUSED_CODES:
        return canonical(body.parameter)
    return refused_field(body.text)


def _kind(status: int, said: str) -> Kind:
    """The kind of what is neither an overflow nor about a field."""
    if status in (401, 403, 429) and not _FILTERED.search(said):
        return "too_many" if status == 429 else "key"
    for kind, pattern in _KINDS:
        if pattern.search(said) and not (kind == "unknown_model" and status >= 500):
            return kind
    # What breaks off a stream without a reason that blames the request is the server's trouble.
    broken = status >= 500 or (status == 0 and not _BLAMES_REQUEST.search(said))
    return "server" if broken else "other"
