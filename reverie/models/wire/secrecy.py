"""Keeps keys out of what is said and logged, even when a server says them."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Sequence

STRUCK = "[hidden]"

_SHORTEST = 4
"""Shorter values are no secrets and would strike out half of every message."""

_LOGGERS = (
    "openai",
    "openai._base_client",
    "openai._response",
    "httpx2",
    "httpcore2",
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.proxy",
    "httpcore2.socks",
)


class Secrets:
    """The values of one endpoint that nobody must see."""

    def __init__(self, values: Sequence[str]) -> None:
        kept = [value for value in values if len(value) >= _SHORTEST]
        # As Python and JSON spell them too, where they hold quotes or line ends.
        spelt = [*kept, *(repr(v)[1:-1] for v in kept), *(json.dumps(v)[1:-1] for v in kept)]
        # The longest first: a key may begin with another one.
        self._values = sorted(dict.fromkeys(spelt), key=len, reverse=True)

    def strike(self, text: str) -> str:
        """``text`` without any of the values."""
        for value in self._values:
            text = text.replace(value, STRUCK)
        return text

    def safe_cause(self, error: BaseException) -> BaseException | None:
        """``error``, to be chained to another; None when its traceback would show a value."""
        if not self._values:
            return error
        shown = "".join(traceback.format_exception(error))
        return None if any(value in shown for value in self._values) else error

    def guard_logs(self) -> LogGuard | None:
        """Strike the values out of the log records of the SDK and what lies below it."""
        return LogGuard(self) if self._values else None


class LogGuard(logging.Filter):
    """A filter on the loggers of the SDK and its HTTP client, until ``lift``."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        struck = self._secrets.strike(said)
        if struck != said:
            record.msg, record.args = struck, ()
        return True

    def lift(self) -> None:
        """Stop watching."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)
