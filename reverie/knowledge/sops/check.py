"""What must hold of a text: in words, which a model judges, or in one of a few exact forms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import SchemaError

from reverie.knowledge.sops.text import Line

MOST_PATTERN: Final = 200
"""Characters of a pattern."""
MOST_LOOKED_AT: Final = 20_000
"""Characters of a text that a check looks at."""

_NUMBER = re.compile(r"(?<![\w.,])[-+]?\d{1,30}(?:,\d{3})*(?:\.\d{1,30})?")


class Between(BaseModel):
    """A number within bounds, which belong to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is larger than max")
        return self


class Check(BaseModel):
    """One thing that must hold. Text alone is ``words``; otherwise exactly one form is given.

    Nothing in it is code. Patterns are those of the ``regex`` crate of Rust, which take time
    linear in the text whatever they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: Line = ""
    """A statement that a model calls true (yes) or not (no)."""
    contains: tuple[Annotated[Line, Field(min_length=1)], ...] = ()
    """One of these stands in the text, whatever the case."""
    one_of: tuple[Annotated[Line, Field(min_length=1)], ...] = ()
    """The text is one of these, whatever the case. A model that obeys schemas is held to them."""
    matches: Annotated[str, Field(max_length=MOST_PATTERN)] = ""
    """A pattern is found in the text."""
    number: Between | None = None
    """The text has a number; the last one lies within bounds."""
    not_empty: StrictBool = False
    """The text has a letter or a digit."""
    tool: Literal["succeeded", "failed"] | None = None
    """How the step's tool call went."""
    of: Literal["result", "task"] = "result"
    """The text: a step's result (of a condition that before it), or the task."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"words": given}
        if isinstance(given, Mapping):
            changed = dict(given)
            for name in ("contains", "one_of"):
                if isinstance(changed.get(name), str):
                    changed[name] = (changed[name],)
            if changed.get("number") is True:
                changed["number"] = {}
            return changed
        return given

    @model_validator(mode="after")
    def _one_form(self) -> Check:
        given = [name for name in FORMS if getattr(self, name) not in ("", (), None, False)]
        if len(given) != 1:
            said = " and ".join(given) if given else "nothing"
            raise ValueError(f"a check has one of {', '.join(FORMS)}; this one has {said}")
        if self.matches:
            _pattern(self.matches)
        return self

    @property
    def judged(self) -> bool:
        """Whether a model has to be asked."""
        return bool(self.words)

    @property
    def said(self) -> str:
        """The check in words."""
        if self.words:
            return self.words
        about = "the task" if self.of == "task" else "the result"
        for verb, options in (("contains", self.contains), ("is", self.one_of)):
            if options:
                return f"{about} {verb} {' or '.join(map(repr, options))}"
        if self.matches:
            return f"{about} matches {self.matches!r}"
        if self.number is not None:
            bounds = [f"at least {self.number.min:g}"] if self.number.min is not None else []
            bounds += [f"at most {self.number.max:g}"] if self.number.max is not None else []
            return f"{about} has a number" + (f", {' and '.join(bounds)}" if bounds else "")
        if self.tool is not None:
            return f"the tool {self.tool}"
        return f"{about} is not empty"

    @property
    def wanted(self) -> str:
        """What a result needs that does not have it, in words for a model."""
        if self.contains:
            return f"it has to contain {' or '.join(map(repr, self.contains))}"
        if self.one_of:
            return f"it has to be {' or '.join(map(repr, self.one_of))}"
        if self.words:
            return f"this has to be true: {self.words}"
        return f"not true: {self.said}"

    def holds(self, text: str, *, tool_failed: bool | None = None) -> bool:
        """Whether it holds of ``text``, and of a tool call that failed or did not (None: there was
        none). Raises ValueError for one that a model has to judge.
        """
        text = text[:MOST_LOOKED_AT]
        if self.contains:
            folded = text.casefold()
            return any(part.casefold() in folded for part in self.contains)
        if self.one_of:
            return _bare(text) in {_bare(one) for one in self.one_of}
        if self.matches:
            return _found(_pattern(self.matches), text)
        if self.number is not None:
            return _within(self.number, text)
        if self.tool is not None:
            return tool_failed is not None and tool_failed == (self.tool == "failed")
        if self.not_empty:
            return any(character.isalnum() for character in text)
        raise ValueError("a model has to judge this check")


FORMS: Final = ("words", "contains", "one_of", "matches", "number", "not_empty", "tool")
"""The fields of which a check has exactly one."""


def as_checks(given: Any) -> Any:
    """One check, or a list of them, as a list."""
    return given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> TypeAdapter[str]:
    # pydantic's engine, not ``re``: that one may take exponential time and cannot be stopped.
    try:
        return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
    except SchemaError as error:
        why = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{pattern!r} is no pattern: {why}") from None


def _found(pattern: TypeAdapter[str], text: str) -> bool:
    try:
        pattern.validate_python(text)
    except ValidationError:
        return False
    return True


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!\"'")


def _within(bounds: Between, text: str) -> bool:
    numbers = _NUMBER.findall(text)
    if not numbers:
        return False
    last = float(numbers[-1].replace(",", ""))
    above = bounds.min is None or last >= bounds.min
    return above and (bounds.max is None or last <= bounds.max)
