"""A standard operating procedure (SOP): when it applies, and the steps that it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from string import Template
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from reverie.knowledge.sops.check import Check, as_checks
from reverie.knowledge.sops.text import Line

MOST_STEPS: Final = 32
MOST_TRIGGERS: Final = 64
MOST_TRIGGER: Final = 80
"""Characters of one trigger."""


def _trigger(text: str) -> str:
    """Raises ValueError for one that would match nothing, or everything."""
    word = text.removesuffix("*")
    if "*" in word:
        raise ValueError("a * may only stand at the end of a trigger")
    if sum(character.isalnum() for character in word) < (2 if word != text else 1):
        raise ValueError(f"the trigger {text!r} has too few letters")
    return text


Trigger = Annotated[Line, Field(min_length=1, max_length=MOST_TRIGGER), AfterValidator(_trigger)]
Checks = Annotated[tuple[Check, ...], Field(max_length=8), BeforeValidator(as_checks)]
Words = Annotated[Line, Field(min_length=1)]


class SopStep(BaseModel):
    """One step: what is done, when, and what must hold of the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Words
    """What to do, in words; of a step with a tool, what to use it for."""
    condition: Checks = ()
    """When to do it: all of these hold. Otherwise the step is skipped."""
    check: Checks = ()
    """What must hold of the result. When it does not, the step is done once more, then it fails."""
    tool: Annotated[Line, Field(max_length=64)] = ""
    """The tool to call; empty: the model does the step."""
    inputs: Mapping[str, JsonValue] = Field(default={}, max_length=32)
    """Arguments of the tool; the model writes those that are missing. In texts, ``$task`` is the
    task, ``$last`` the last result and ``$step2`` that of the second step.
    """

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"action": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _inputs_of_a_tool(self) -> SopStep:
        if self.inputs and not self.tool:
            raise ValueError("inputs are those of a tool, and this step names none")
        if not self.tool and any(check.tool is not None for check in self.check):
            raise ValueError("a check of the tool needs a step with a tool")
        return self


class Sop(BaseModel):
    """A procedure. Equal ones have equal ``version``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    description: Words
    trigger: Annotated[tuple[Trigger, ...], Field(max_length=MOST_TRIGGERS)] = ()
    """Words and phrases that call for it. One with a ``*`` at its end is the beginning of a word.
    """
    category: Annotated[Line, Field(min_length=1, max_length=64)] = "general"
    priority: Annotated[int, Field(ge=0, le=10)] = 5
    preconditions: Checks = ()
    """What must hold of the task; otherwise the procedure abstains."""
    steps: Annotated[tuple[SopStep, ...], Field(min_length=1, max_length=MOST_STEPS)]
    """The last one's result is the answer."""

    @field_validator("trigger", mode="before")
    @classmethod
    def _from_commas(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = [part.strip() for part in given.split(",") if part.strip()]
        if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
            return tuple(dict.fromkeys(given))
        return given

    @model_validator(mode="after")
    def _refers_backwards(self) -> Sop:
        if any(check.tool for check in self.preconditions):
            raise ValueError("preconditions: no tool has been called by then")
        if any(check.tool for check in self.steps[0].condition):
            raise ValueError("steps[0].condition: no tool has been called by then")
        for number, step in enumerate(self.steps):
            for text in _texts(step.inputs):
                _require_known(text, number)
        return self

    @property
    def version(self) -> str:
        """The beginning of the SHA-256 of what it says."""
        text = json.dumps(self.document(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def key(self) -> str:
        """What outcomes are recorded under: other content is measured anew."""
        return f"{self.name}@{self.version}"

    @property
    def text(self) -> str:
        """What its meaning is taken from: description and triggers."""
        triggers = ", ".join(trigger.removesuffix("*") for trigger in self.trigger)
        return f"{self.description} ({triggers})" if triggers else self.description

    def document(self) -> dict[str, Any]:
        """As JSON, without what is left at its default; ``Sop.model_validate`` reads it."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _require_known(text: str, number: int) -> None:
    """Raises ValueError for a ``$name`` that has no value by the step ``number`` (from 0)."""
    where = f"steps[{number}].inputs"
    template = Template(text)
    if not template.is_valid():
        raise ValueError(f"{where}: a $ stands alone in {text[:40]!r}; write $$ for a dollar sign")
    known = ("task", "last", *(f"step{n}" for n in range(1, number + 1)))
    for name in template.get_identifiers():
        if name not in known:
            raise ValueError(
                f"{where}: ${name} is not known by then; there are "
                f"{', '.join('$' + one for one in known)}"
            )
