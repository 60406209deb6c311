"""The result: one document, the same for Python and for ``reverie ask --json``."""

from __future__ import annotations

import json

import jsonschema
import pytest
from pydantic import ValidationError

from reverie.agents.result import ErrorDocument, Result
from reverie.errors import BudgetExceeded
from tests.unit.agents.conftest import Asked


async def test_a_result_round_trips_through_json(asked: Asked) -> None:
    for strategy in ("direct", "chain_of_thought", "dream"):
        result = await asked.reasoner.aask("What happens when you drop a ball?", strategy=strategy)

        document = result.model_dump_json()
        assert Result.model_validate_json(document) == result
        jsonschema.validate(
            json.loads(document), Result.model_json_schema(), jsonschema.Draft202012Validator
        )


async def test_a_result_is_frozen_and_takes_nothing_else(asked: Asked) -> None:
    result = await asked.reasoner.aask("Why?", strategy="direct")

    with pytest.raises(ValidationError):
        result.answer = "another"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Result.model_validate({**result.model_dump(), "more": 1})


def test_an_error_is_a_document_too() -> None:
    error = BudgetExceeded("too few", hint="give more")

    document = ErrorDocument.model_validate({"error": error.document()})

    assert document.error.type == "BudgetExceeded"
