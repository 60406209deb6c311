"""Every error Reverie raises on purpose.

Each message says what failed and where; ``hint`` says what to do about it. Error text is never an
answer: callers catch these types, and the command line prints ``message`` and ``hint`` on one line
each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ReverieError(Exception):
    """Base of all of Reverie's errors.

    ``exit_code`` is what the command line ends with: 2 for wrong use, 1 for failure.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        stop = "" if self.message.endswith(("?", "!", ".")) else "."
        return f"{self.message}{stop} {self.hint}" if self.hint else self.message

    def document(self) -> dict[str, str]:
        """The error as the JSON document that ``--json`` prints."""
        return {"type": type(self).__name__, "message": self.message, "hint": self.hint}


class ConfigError(ReverieError):
    """A setting, argument or option is wrong."""

    exit_code = 2


class ModelUnavailable(ReverieError):
    """A model cannot be reached, fetched or loaded. ``transient`` says that a retry may help."""

    def __init__(self, message: str, *, hint: str = "", transient: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class ModelRejected(ReverieError):
    """The model refused the request as it was asked: repeating it cannot help.

    ``status`` is the HTTP status, when a server refused; ``field`` the part of the request that it
    does not take, when it said so.
    """

    def __init__(
        self, message: str, *, hint: str = "", status: int | None = None, field: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.field = field


class ContextOverflow(ModelRejected):
    """The prompt does not fit into the model's context window.

    ``window`` and ``tokens`` (of the prompt) are what the model said of them, if anything.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        window: int | None = None,
        tokens: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, status=status)
        self.window = window
        self.tokens = tokens


class BudgetExceeded(ReverieError):
    """The budget is too small for a single call; the message names the smallest that would do."""


class KnowledgeUnavailable(ReverieError):
    """A store of knowledge or of runs cannot be opened, read or written."""


class DocumentUnreadable(ReverieError):
    """A document cannot be read: it is no text, too large, damaged or gone. Others still can."""


class OutputInvalid(ReverieError):
    """A model's output does not have the form it was asked for, even after repair."""


class RunUnavailable(ReverieError):
    """A run cannot be continued: another process works on it, its steps were not kept, or another
    version of Reverie wrote them.
    """


class RunWaiting(ReverieError):
    """A run waits for a person. ``form`` says what is asked, and what a reply may hold."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        run_id: str = "",
        form: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.run_id = run_id
        self.form = dict(form or {})

    @classmethod
    def of(cls, run_id: str, form: Mapping[str, Any]) -> RunWaiting:
        """The error for a run that waits for a reply to ``form``."""
        return cls(
            f"the run {run_id} waits for a reply: {form.get('question', '')}",
            hint=f"reverie resume {run_id} --reply JSON, or Reasoner.reply",
            run_id=run_id,
            form=form,
        )


class ToolFailed(ReverieError):
    """A tool could not do what it was asked for. The model is told, and may ask otherwise."""
