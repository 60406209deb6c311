"""What the probes of one examination share: the connection, what is known so far, and the costs."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reverie.models.doctor.examination import Patience, Verdict
from reverie.models.doctor.question import PATHS, Question, Reply, read, usage_of
from reverie.models.presets import Preset
from reverie.models.profile import Wire

if TYPE_CHECKING:
    from reverie.errors import ReverieError
    from reverie.models.wire.connection import Connection

_ROOM = 1024
"""Further tokens for a model that reasons before it answers."""
_FEWEST_IN_RESPONSES = 16
"""OpenAI refuses smaller limits there."""
_MOST_SAID = 140


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe found out."""

    verdict: Verdict
    evidence: str
    value: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probe:
    """Looks for one ability. Errors that it lets through are refusals, or leave it unknown."""

    ability: str
    """Mostly the field of the profile that it fills."""
    run: Callable[[Probing], Awaitable[Outcome]]


def yes(evidence: str, value: str = "", **fields: Any) -> Outcome:
    return Outcome("yes", evidence, value, fields)


def no(evidence: str, value: str = "", **fields: Any) -> Outcome:
    return Outcome("no", evidence, value, fields)


def unknown(evidence: str, value: str = "", **fields: Any) -> Outcome:
    return Outcome("unknown", evidence, value, fields)


@dataclass(slots=True)
class Probing:
    """One examination under way."""

    connection: Connection
    patience: Patience
    model: str = ""
    models: tuple[str, ...] = ()
    listed: Mapping[str, Any] = field(default_factory=dict)
    """What /models says of the model."""
    preset: Preset | None = None
    wire: Wire = "chat"
    limit: str = "max_tokens"
    """What the server calls the limit on the reply."""
    sampling: bool = True
    base: Reply = field(default_factory=lambda: Reply(None))
    """The first reply: to BASE_PROMPT, the likeliest tokens."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    reasoning: str = ""
    """Where reasoning was seen, in any reply."""
    replies: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    until: float = 0.0
    """When, by time.monotonic, no further probe begins."""

    async def ask(
        self, question: Question, *, seconds: float | None = None, room: bool = True
    ) -> Reply:
        """Ask and read the reply. Raises ReverieError. ``room``: a model that reasons gets further
        tokens for that.
        """
        from reverie.models.wire.refusal import error_in

        body = self._body(question, room=room)
        self.requests += 1
        document = await self.connection.post(
            PATHS[self.wire], body, seconds=self.patience.probe if seconds is None else seconds
        )
        failure = error_in(document)
        if failure is not None:  # with status 200
            address = self.connection.endpoint.address
            failure.message = self.connection.secrets.strike(f"{address}: {failure.message}")
            failure.args = (failure.message,)
            raise failure
        reply = read(document, self.wire)
        self._note(reply.usage)
        self.replies += 1
        self.reasoning = self.reasoning or reply.reasoning
        return reply

    async def stream(
        self, question: Question, *, seconds: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Ask and give the events as they come. Raises ReverieError."""
        body = {**self._body(question), "stream": True}
        self.requests += 1
        events = self.connection.stream(
            PATHS[self.wire], body, seconds=self.patience.probe if seconds is None else seconds
        )
        usage = None  # some servers send it with every event, growing
        try:
            async with aclosing(events):
                async for event in events:
                    usage = usage_of(event) or usage
                    yield event
        finally:
            self._note(usage)

    async def get(self, path: str, *, seconds: float = 5.0) -> Any:
        """The JSON at ``path``. Raises ReverieError."""
        self.requests += 1
        return await self.connection.get(path, seconds=seconds)

    async def post(self, path: str, body: dict[str, Any], *, seconds: float = 10.0) -> Any:
        """The JSON that comes back. Raises ReverieError."""
        self.requests += 1
        return await self.connection.post(path, body, seconds=seconds)

    def least(self, tokens: int) -> int:
        """``tokens``, or the smallest limit on a reply that is always taken."""
        return max(tokens, _FEWEST_IN_RESPONSES) if self.wire == "responses" else tokens

    @property
    def greedy(self) -> float | None:
        """The temperature for the likeliest tokens, where the server takes one."""
        return 0.0 if self.sampling else None

    def has(self, ability: str) -> bool:
        """Whether it was found, and not merely assumed."""
        outcome = self.outcomes.get(ability)
        return outcome is not None and outcome.verdict == "yes"

    def lacks(self, ability: str, evidence: str) -> Outcome | None:
        """What follows for an ability that needs this one; None when it is there."""
        if self.has(ability):
            return None
        known = ability in self.outcomes and self.outcomes[ability].verdict == "no"
        return no(evidence) if known else unknown("it needs what is not known to be there")

    def field(self, name: str, default: Any = None) -> Any:
        """A field of the profile, as far as it has been found."""
        for outcome in self.outcomes.values():
            if name in outcome.fields:
                return outcome.fields[name]
        return default

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.until

    def _body(self, question: Question, *, room: bool = True) -> dict[str, Any]:
        tokens = self.least(question.tokens) + (_ROOM if room and self.reasoning else 0)
        return replace(question, tokens=tokens).body(self.model, self.wire, self.limit)

    def _note(self, usage: tuple[int, int] | None) -> None:
        if usage is not None:
            self.prompt_tokens += usage[0]
            self.completion_tokens += usage[1]


def said(error: ReverieError) -> str:
    """What the server said, without what Reverie put around it."""
    words = " ".join((error.message.partition(": ")[2] or error.message).split())
    words = re.sub(r"^https?://\S+ ", "it ", words)
    return words if len(words) <= _MOST_SAID else f"{words[: _MOST_SAID - 1]}…"
