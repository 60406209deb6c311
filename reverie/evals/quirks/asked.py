"""What a request asks of the model, whichever wire format it came over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reverie.evals.quirks.prompt import render, text_of, tokens


@dataclass(slots=True)
class Asked:
    """One request. ``messages`` are in the form of Chat Completions."""

    messages: list[dict[str, Any]]
    max_tokens: int | None = None
    temperature: float = 1.0
    seed: int | None = None
    stop: Sequence[str] = ()
    n: int = 1
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    pattern: str | None = None
    choices: Sequence[str] = ()
    """Of these texts, one is the reply."""
    tools: list[Mapping[str, Any]] = field(default_factory=list)
    """Name and parameters of each."""
    tool_choice: str = "auto"
    """``auto``, ``none``, ``required``, or the name of a tool behind ``=``."""
    parallel_tools: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    prompt_logprobs: int | None = None
    token_ids: bool = False
    goes_on: bool = False
    """The reply goes on with the last message."""
    stream: bool = False
    include_usage: bool = False
    prompt: str = ""
    """The rendered messages."""
    prompt_tokens: int = 0

    def __post_init__(self) -> None:
        self.prompt = render(self.messages, self.tools, goes_on=self.goes_on)
        self.prompt_tokens = len(tokens(self.prompt))

    @property
    def question(self) -> str:
        """The last message of the user."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message.get("content"))
        return ""

    @property
    def prefill(self) -> str:
        """What the reply goes on with."""
        return text_of(self.messages[-1].get("content")) if self.goes_on else ""
