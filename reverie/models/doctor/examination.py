"""What an examination finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reverie.models.profile import ModelProfile
from reverie.models.profiles import Speed, StoredProfile

Verdict = Literal["yes", "no", "unknown"]


class Finding(BaseModel):
    """One ability: whether the server has it, how that is known, and what Reverie does about it."""

    model_config = ConfigDict(frozen=True)

    ability: str
    title: str
    verdict: Verdict
    value: str = ""
    """More than yes or no, as in ``4,096 tokens``."""
    evidence: str
    """What was seen."""
    remedy: str = ""
    """What Reverie does without it; empty where nothing is missing."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """What it means for the profile."""


class Costs(BaseModel):
    """What the examination cost the server."""

    model_config = ConfigDict(frozen=True)

    requests: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Examination(BaseModel):
    """Everything that was found out about one model on one server."""

    model_config = ConfigDict(frozen=True)

    address: str
    model: str
    models: tuple[str, ...]
    server: str
    """The program that serves, where it was recognised."""
    version: str
    when: datetime
    findings: tuple[Finding, ...]
    speeds: tuple[Speed, ...]
    profile: ModelProfile
    costs: Costs
    notices: tuple[str, ...] = ()

    def stored(self) -> StoredProfile:
        """The profile as it is kept."""
        return StoredProfile(
            address=self.address,
            model=self.model,
            profile=self.profile,
            server=self.server,
            version=self.version,
            probed=self.when,
            source="doctor",
            speeds=self.speeds,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """How far an examination is: what is being looked at, and how much of it all is done."""

    titles: tuple[str, ...]
    done: int
    total: int


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the doctor waits, in seconds."""

    contact: float = 15.0
    """For the list of models."""
    first_reply: float = 300.0
    """Some servers load the model at the first request."""
    probe: float = 30.0
    """For any later request."""
    probes: float = 120.0
    """For all of them. What is left then stays unknown."""
    speed: float = 20.0
    """For measuring speed."""
