"""What can go wrong between Reverie and a server, as typed errors with a remedy."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai

from reverie.errors import (
    ConfigError,
    ContextOverflow,
    ModelRejected,
    ModelUnavailable,
    ReverieError,
)
from reverie.models.wire.endpoint import Endpoint
from reverie.models.wire.refusal import Refusal, read_refusal
from reverie.models.wire.transport import ResponseTooLarge

_PASSING = frozenset({408, 409, 429})
_KEY_HINT = (
    "set the key in model.api_key, or REVERIE_MODEL_API_KEY; an ambient OPENAI_API_KEY is not used"
)


_LONGEST_SAYING = 400
"""Characters of a server's own words that a message repeats."""


class NoTime(Exception):
    """The deadline was over before anything was sent."""


class NotJson(Exception):
    """A response that should have been JSON; ``text`` is how it begins."""

    def __init__(self, text: str, content_type: str = "") -> None:
        super().__init__(text[:200])
        self.text = text
        self.content_type = content_type


def in_passing(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, openai.APIStatusError):
        if error.status_code < 500:
            return error.status_code in _PASSING
        # Some servers say with a 500 that the prompt is too long: it would be so again.
        body = error.response.text if error.body is None else error.body
        return read_refusal(error.status_code, body, error.response.headers).kind != "overflow"
    if isinstance(error, openai.APIConnectionError):
        causes = list(_chain(error))
        wrong = (
            ssl.SSLCertVerificationError,
            httpx2.UnsupportedProtocol,
            httpx2.LocalProtocolError,
        )
        return not any(isinstance(cause, wrong) for cause in causes)
    return False


def typed(error: BaseException, endpoint: Endpoint, seconds: float) -> ReverieError:
    """The error as one of Reverie's own. ``seconds`` is how long the call had taken."""
    if isinstance(error, ReverieError):
        return error
    for kind, translate in _TRANSLATIONS:
        if isinstance(error, kind):
            return translate(error, endpoint, seconds)
    return ModelUnavailable(
        f"{endpoint.address} failed: {type(error).__name__}: {error}",
        hint="reverie doctor says what the server can do",
    )


def refused(refusal: Refusal, status: int, endpoint: Endpoint) -> ReverieError:
    """A refusal that a server put into words."""
    at, said = endpoint.address, _short(refusal.message) or "without a word"
    code = f" ({status})" if status else ""
    if refusal.kind == "overflow":
        return ContextOverflow(
            f"the prompt does not fit into the context window of the model at {at}: {said}",
            hint="ask a shorter question, or use a model with a larger window",
            status=status or None,
            window=refusal.window,
            tokens=refusal.prompt_tokens,
        )
    # What the body calls itself counts only where no status says otherwise.
    refused_for_good = 400 <= status < 500 and status not in _PASSING
    if refusal.kind == "too_many" and not refused_for_good:
        return ModelUnavailable(
            f"{at} has too many requests{code}: {said}",
            hint="wait, or lower dream.branches; backends names models to ask instead",
            transient=True,
        )
    if status in _PASSING or status >= 500 or (refusal.kind == "server" and not refused_for_good):
        return ModelUnavailable(
            f"{at} failed{code}: {said}", hint="the server's own log says why", transient=True
        )
    what, hint = _REFUSALS.get(refusal.kind, ("refused the request", ""))
    if not hint and status == 404:
        what = "knows no such address"
        hint = "the address of an OpenAI-compatible server mostly ends in /v1"
    return ModelRejected(
        f"{at} {what}{code}: {said}",
        hint=(hint or "reverie doctor {at} finds out what the server takes").format(at=at),
        status=status or None,
        field="wire" if refusal.kind == "wrong_wire" else refusal.parameter,
    )


_REFUSALS = {
    "key": ("does not accept the key", _KEY_HINT),
    "unknown_model": (
        "has no such model",
        "name one it has, as in {at}#MODEL; reverie doctor {at} lists them",
    ),
}
"""Kind of refusal to what the server did, and the remedy."""


def _from_status(error: openai.APIStatusError, endpoint: Endpoint, _: float) -> ReverieError:
    if 300 <= error.status_code < 400:
        target = error.response.headers.get("location", "somewhere else")
        return ModelUnavailable(
            f"{endpoint.address} sends its visitors on to {target}",
            hint="use that address, if it is the model server's",
        )
    body = error.response.text if error.body is None else error.body
    refusal = read_refusal(error.status_code, body, error.response.headers)
    return refused(refusal, error.status_code, endpoint)


def _from_event(error: openai.APIError, endpoint: Endpoint, _: float) -> ReverieError:
    """An error event within a stream."""
    return refused(read_refusal(0, {"error": error.body}, {}), 0, endpoint)


def _unreachable(
    error: openai.APIConnectionError, endpoint: Endpoint, seconds: float
) -> ReverieError:
    for cause in _chain(error):
        if isinstance(cause, httpx2.LocalProtocolError):
            return _unwritable(cause, endpoint, seconds)
        if endpoint.proxy and isinstance(cause, _NOBODY_THERE):
            return ModelUnavailable(
                f"the proxy on the way to {endpoint.address} does not answer: "
                f"{getattr(cause, 'strerror', None) or type(cause).__name__}",
                hint="see whether it runs, and check model.proxy",
                transient=True,
            )
        for kind, said, hint, transient in _CONNECTIONS:
            if isinstance(cause, kind):
                words = {
                    "at": endpoint.address,
                    "why": getattr(cause, "strerror", None) or cause,
                    "verify": getattr(cause, "verify_message", ""),
                    "seconds": seconds,
                    "connect": endpoint.connect_seconds,
                    "connections": endpoint.connections,
                }
                return ModelUnavailable(said.format(**words), hint=hint, transient=transient)
    return ModelUnavailable(
        f"the connection to {endpoint.address} broke: {_innermost(error)}",
        hint="see whether the server is still running; its own log says why",
        transient=True,
    )


_NOBODY_THERE = (socket.gaierror, ConnectionRefusedError, httpx2.ConnectTimeout)
"""What connecting raises, to the proxy where there is one."""

_CONNECTIONS: tuple[tuple[type[BaseException], str, str, bool], ...] = (
    (
        ssl.SSLCertVerificationError,
        "the certificate of {at} is not trusted: {verify}",
        "name its authority's certificate with model.ca_bundle",
        False,
    ),
    (
        ssl.SSLError,
        "{at} does not speak TLS as it should: {why}",
        "a server without TLS has an address that begins with http://",
        False,
    ),
    (socket.gaierror, "the host of {at} is not known: {why}", "check the address", True),
    (
        ConnectionRefusedError,
        "no server answers at {at}: connection refused",
        "start it (reverie up starts vLLM), or correct the address",
        True,
    ),
    (httpx2.ProxyError, "the proxy on the way to {at} refused: {why}", "check model.proxy", True),
    (
        httpx2.ConnectTimeout,
        "{at} cannot be reached: no connection within {connect:g} s",
        "check the address and the network between, or raise server.connect_seconds",
        True,
    ),
    (
        httpx2.PoolTimeout,
        "all {connections} connections to {at} stayed busy",
        "raise server.connections, or ask less at a time",
        True,
    ),
    (
        httpx2.TimeoutException,
        "{at} took the request and then sent nothing for {seconds:.1f} s",
        "see whether the server is stuck; server.idle_seconds and --seconds say how long to wait",
        True,
    ),
)
"""What broke a connection, what to say of it, the remedy, and whether it may pass."""


def _not_asked(_: NoTime, endpoint: Endpoint, __: float) -> ReverieError:
    return ModelUnavailable(
        f"no time was left to ask {endpoint.address}",
        hint="give it more time (--seconds, server.deadline_seconds)",
        transient=True,
    )


def _too_slow(_: TimeoutError, endpoint: Endpoint, seconds: float) -> ReverieError:
    return ModelUnavailable(
        f"{endpoint.address} did not finish within {seconds:.1f} s",
        hint="give it more time (--seconds, server.deadline_seconds), or ask for fewer tokens",
        transient=True,
    )


def _too_large(error: ResponseTooLarge, endpoint: Endpoint, _: float) -> ReverieError:
    return ModelUnavailable(
        f"{endpoint.address} sent more than {error.most >> 20} MiB, and reading was given up",
        hint="check that the address is that of a model server",
    )


def _broken_json(error: json.JSONDecodeError, endpoint: Endpoint, seconds: float) -> ReverieError:
    return _no_json(NotJson(error.doc), endpoint, seconds)


def _unwritable(_: Exception, endpoint: Endpoint, __: float) -> ReverieError:
    # The error itself would show the header, in one spelling or another.
    return ConfigError(
        f"a request to {endpoint.address} cannot be written: a key or header holds characters that "
        "no header may hold",
        hint="keys and headers are plain ASCII; check model.api_key and model.headers",
    )


def _no_json(error: NotJson, endpoint: Endpoint, _: float) -> ReverieError:
    begins = error.text.lstrip()[:200].lower()
    if "html" in error.content_type or begins.startswith(("<!doctype html", "<html", "<head")):
        title = read_refusal(200, error.text, {"content-type": "text/html"}).message
        return ModelUnavailable(
            f"{endpoint.address} answers with a web page, not as a model server"
            + (f": {title}" if title else ""),
            hint="the address of an OpenAI-compatible server mostly ends in /v1",
        )
    excerpt = " ".join(error.text[:80].split()) + ("…" if len(error.text) > 80 else "")
    return ModelUnavailable(
        f"{endpoint.address} sent something that is no JSON: {excerpt!r}",
        hint="check that the address is that of an OpenAI-compatible server",
    )


def _short(said: str) -> str:
    said = said.rstrip(". ")
    return said if len(said) <= _LONGEST_SAYING else said[:_LONGEST_SAYING] + "…"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _innermost(error: BaseException) -> str:
    """The deepest cause that has something to say."""
    said = [f"{cause}" for cause in _chain(error) if f"{cause}"]
    return said[-1] if said else type(error).__name__


_TRANSLATIONS: tuple[
    tuple[type[BaseException], Callable[[Any, Endpoint, float], ReverieError]], ...
]
_TRANSLATIONS = (
    (openai.APIStatusError, _from_status),
    (openai.APIConnectionError, _unreachable),
    (openai.APIError, _from_event),
    (NoTime, _not_asked),
    (TimeoutError, _too_slow),
    (ResponseTooLarge, _too_large),
    (NotJson, _no_json),
    (json.JSONDecodeError, _broken_json),
    (UnicodeEncodeError, _unwritable),
    (httpx2.InvalidURL, _unwritable),
)
"""Type of what was raised to what it means; the first that fits counts."""
