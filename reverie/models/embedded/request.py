"""What a caller asks the engine for, and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

from reverie.errors import ConfigError

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    ``temperature`` 0 is greedy. ``seed`` fixes the request's own random stream, so that what else
    is in the batch does not shift it (rounding in bfloat16 may still differ between batch sizes).
    Raises ConfigError for values without a meaning.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    """How many alternatives to report per token, beside the one drawn."""

    def __post_init__(self) -> None:
        rules = (
            ("max_tokens", "at least 1", self.max_tokens >= 1),
            ("temperature", "0 or more", isfinite(self.temperature) and self.temperature >= 0),
            ("top_p", "above 0 and at most 1", 0 < self.top_p <= 1),
            ("seed", "a 64-bit number", self.seed is None or -(2**63) <= self.seed < 2**64),
            ("top_logprobs", "0 to 20", 0 <= self.top_logprobs <= 20),
        )
        for name, rule, obeyed in rules:
            if not obeyed:
                raise ConfigError(f"{name} must be {rule}, and is {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt as token ids and how to continue it.

    With ``json_schema`` the text from ``prefill`` on is one JSON document that obeys the schema;
    ``prefill`` is the beginning of the reply and already part of ``prompt_ids``.
    """

    prompt_ids: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: Mapping[str, Any] | None = None
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class TokenOut:
    """One token as it was generated.

    ``text`` may be empty while a character is incomplete or a stop string may be beginning.
    ``logprob`` is the natural logarithm of the model's own probability, before temperature,
    nucleus and grammar.
    """

    id: int
    text: str
    logprob: float
    token: str
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a request: why, and what it cost."""

    reason: FinishReason
    text: str
    """What was held back until the end; empty after a stop string."""
    prompt_tokens: int
    cached_tokens: int
    """How many prompt tokens came from the prefix cache."""
    completion_tokens: int
