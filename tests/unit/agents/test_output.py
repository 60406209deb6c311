"""Answers as Python objects: from any type that pydantic knows, or a JSON schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, field_validator
from typing_extensions import TypedDict

from reverie.agents.output import form_of
from reverie.agents.result import Result
from reverie.errors import ConfigError, OutputInvalid
from tests.unit.cli.conftest import abstained, result


class Place(BaseModel):
    name: str
    level: int = 0

    @field_validator("level")
    @classmethod
    def _even(cls, level: int) -> int:
        if level % 2:
            raise ValueError("an odd level")
        return level


@dataclass
class Point:
    x: int


class Pair(TypedDict):
    one: str


def answered(output: Any) -> Result:
    return result(output=output)


@pytest.mark.parametrize(
    ("output", "document", "filled"),
    [
        (Place, {"name": "floor"}, Place(name="floor")),
        (Point, {"x": 3}, Point(3)),
        (Pair, {"one": "a"}, {"one": "a"}),
        (list[int], [1, 2], [1, 2]),
        (TypeAdapter(date), "2024-02-29", date(2024, 2, 29)),
        (int, 4, 4),
        ({"type": "object"}, {"any": 1}, {"any": 1}),
    ],
)
def test_a_document_becomes_what_was_asked_for(output: Any, document: Any, filled: Any) -> None:
    form = form_of(output)

    assert form is not None
    done = form.fill(answered(document))
    assert done.output == filled
    assert json.loads(done.model_dump_json())["run_id"] == done.run_id


def test_the_objects_document_is_in_the_results() -> None:
    form = form_of(Place)
    assert form is not None

    done = form.fill(answered({"name": "floor"}))

    assert json.loads(done.model_dump_json())["output"] == {"name": "floor", "level": 0}


def test_what_only_the_type_refuses_is_invalid_output() -> None:
    form = form_of(Place)
    assert form is not None

    with pytest.raises(OutputInvalid, match="level: Value error, an odd level") as caught:
        form.fill(answered({"name": "floor", "level": 3}))
    assert "3f9c02ab17de" in caught.value.hint


def test_an_abstention_stays_without_output() -> None:
    form = form_of(Place)
    assert form is not None

    assert form.fill(abstained()).output is None


def test_nothing_asked_for_is_no_form() -> None:
    assert form_of(None) is None


@pytest.mark.parametrize(
    "output", [object(), "text", {"type": "objekt"}, {"$ref": "http://127.0.0.1/a"}]
)
def test_what_is_no_form_is_wrong_use(output: Any) -> None:
    with pytest.raises(ConfigError):
        form_of(output)
