"""The forms that a person fills in while a run waits, and what is asked in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from reverie.graphs.records import Attempt, Form

MOST_ASKED: Final = 3
"""How often a person is asked the same before a reply that is none counts as a refusal."""


class ApproveTool(BaseModel):
    """A person's word on a tool call."""

    model_config = ConfigDict(extra="forbid")

    approve: StrictBool = Field(description="Whether the tool may be called")
    arguments: dict[str, Any] | None = Field(
        None, description="Call it with these arguments instead; null: as they are"
    )
    reason: str = Field("", max_length=2000, description="Why not; the model is told")


class Abstained(BaseModel):
    """A person's word on a question that no attempt could answer."""

    model_config = ConfigDict(extra="forbid")

    answer: str | None = Field(
        None, max_length=100_000, description="The answer; null: there is none"
    )


Reply = TypeVar("Reply", bound=BaseModel)

FORMS: Final[Mapping[Literal["approve_tool", "abstained"], type[BaseModel]]] = {
    "approve_tool": ApproveTool,
    "abstained": Abstained,
}
"""What a reply to the form of each name is."""


def approval_form(
    tool: str, description: str, arguments: Mapping[str, Any], problem: str = ""
) -> Form:
    """Asks whether a tool may be called. ``problem``: what was wrong with the last reply."""
    return _form(
        "approve_tool",
        f"May the tool {tool} be called with these arguments?",
        {"tool": tool, "description": description, "arguments": dict(arguments)},
        problem,
    )


def abstention_form(question: str, attempts: Sequence[Attempt], problem: str = "") -> Form:
    """Asks for the answer that no attempt was sure enough of."""
    tried = [
        {
            "strategy": attempt["strategy"],
            "answer": attempt["answer"],
            "confidence": attempt["confidence"],
            "why": attempt["error"],
            "candidates": [
                one["answer"] for one in (*attempt["dreams"], *attempt["samples"]) if one["answer"]
            ],
        }
        for attempt in attempts
    ]
    about = {"question": question, "attempts": tried}
    return _form("abstained", "No attempt was good enough. What is the answer?", about, problem)


def read_reply(form: type[Reply], reply: Any) -> Reply:
    """What a person replied. Raises ValueError that says what is wrong with it."""
    try:
        return form.model_validate(reply)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the reply"
        raise ValueError(f"{where}: {first['msg']}") from error


def _form(
    name: Literal["approve_tool", "abstained"], question: str, about: dict[str, Any], problem: str
) -> Form:
    return {
        "name": name,
        "question": f"The last reply was no good ({problem}). {question}" if problem else question,
        "about": about,
        "reply_schema": FORMS[name].model_json_schema(),
    }
