"""The result of a run: a Python object, and the document that ``reverie ask --json`` prints."""

from __future__ import annotations

from typing import Any, Generic, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeVar

from reverie.graphs.analytics import Analytics
from reverie.graphs.records import Answer, Attempt, BackendUse, Choice, Cost

T = TypeVar("T", default=Any)


class Result(BaseModel, Generic[T]):
    """One finished run. Its JSON schema is published as ``docs/schema/result.schema.json``.

    ``T`` is what the answer was asked for as.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(description="The version of Reverie that made this document")
    run_id: str = Field(description="Names the run; what feedback refers to")
    status: Literal["answered", "abstained"] = Field(
        description="abstained: no candidate was good enough to stand for"
    )
    question: str
    answer: str = Field(description="The answer; empty when the run abstained")
    output: T | None = Field(
        None, description="The answer in the form that was asked for; None when none was"
    )
    strategy: str = Field(description="The strategy whose attempt the answer is")
    confidence: float | None = Field(
        description="0 to 1, the model's own; None when it gave no log-probabilities"
    )
    calibrated: bool = Field(
        description="Whether confidence was fitted to outcomes; until then it is no probability"
    )
    stopped: str = Field(description="Why the run ended early; empty when it did not")
    choice: Choice = Field(description="Why the last strategy was selected")
    attempts: list[Attempt] = Field(description="Every strategy tried, in order, with its dreams")
    cost: Cost = Field(description="What the run spent and what is left of its limits")
    analytics: Analytics = Field(description="Where the cost came from, and the memory it took")
    model: str = Field(description="The model that was asked for")
    backends: list[BackendUse] = Field(
        description="Who answered how many calls, and who was passed over and why"
    )
    seed: int = Field(description="Repeats the run's random choices with --seed")
    notices: list[str] = Field(description="What a person should know beside the result")

    @classmethod
    def of(
        cls,
        answer: Answer,
        *,
        version: str,
        run_id: str,
        question: str,
        choice: Choice,
        attempts: list[Attempt],
        cost: Cost,
        analytics: Analytics,
        model: str,
        seed: int,
        notices: list[str],
    ) -> Result[Any]:
        """The result of a run that ended in ``answer``."""
        return cls(
            version=version,
            run_id=run_id,
            status=answer["status"],
            question=question,
            answer=answer["text"],
            output=answer["output"],
            strategy=answer["strategy"],
            confidence=answer["confidence"],
            calibrated=answer["calibrated"],
            stopped=answer["stopped"],
            choice=choice,
            attempts=attempts,
            cost=cost,
            analytics=analytics,
            model=model,
            backends=cost["spent"]["backends"],
            seed=seed,
            notices=notices,
        )


class ErrorBody(BaseModel):
    """What went wrong, and what to do about it."""

    model_config = ConfigDict(extra="forbid")

    type: str
    message: str
    hint: str


class ErrorDocument(BaseModel):
    """What ``--json`` prints instead of a result when there is none."""

    model_config = ConfigDict(extra="forbid")

    error: ErrorBody
