"""The parts of the quirk server that need no network: its toy model and its bytes."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import jsonschema
import pytest

from reverie.evals.quirks import Fail, Quirks
from reverie.evals.quirks.answer import Answer, Ending, deliver
from reverie.evals.quirks.asked import Asked
from reverie.evals.quirks.pattern import matching
from reverie.evals.quirks.prompt import tokens
from reverie.evals.quirks.schema_document import document
from reverie.evals.quirks.toy import VOCABULARY, logprobs, say, word

QUESTION = [{"role": "user", "content": "What falls?"}]

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}},
    {"type": "object", "properties": {}, "required": ["extra"]},
    {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 4},
    {"type": "array", "prefixItems": [{"const": 1}, {"enum": ["x"]}], "items": False},
    {"enum": ["yes", "no", None]},
    {"const": {"fixed": True}},
    {"type": "string", "minLength": 20, "maxLength": 24},
    {"type": "string", "pattern": "^[A-C]{2,4}-\\d+$"},
    {"type": ["null", "boolean"]},
    {"type": "integer", "minimum": 5, "maximum": 9, "multipleOf": 3},
    {"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 7},
    {"type": "integer", "maximum": -3},
    {"type": "number", "minimum": 0.25, "maximum": 0.26},
    {"type": "number", "minimum": 0.001, "maximum": 0.002},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]}], "type": "object"},
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "all": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name", "next"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
]


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # no secret: test data


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_documents_obey_their_schema(schema: dict[str, Any]) -> None:
    for seed in range(20):
        made = document(schema, chance(seed), word)
        jsonschema.Draft202012Validator(schema).validate(made)


@pytest.mark.parametrize(
    "pattern",
    ["^[a-c]{3}$", r"\d{4}-\d{2}", "(yes|no)!?", r"^[^a-z]+\.$", r"(?:ab){2}c*", r"\w+@\w+\.com"],
)
def test_strings_match_their_pattern(pattern: str) -> None:
    for seed in range(30):
        assert re.fullmatch(pattern.strip("^$"), matching(pattern, chance(seed)))


@pytest.mark.parametrize("pattern", ["(?=a)b", "(a", r"\bword", "a)b"])
def test_a_pattern_it_cannot_follow_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"toy model|bracket"):
        matching(pattern, chance(0))


def test_tokens_put_together_are_the_text() -> None:
    for text in ("", " a  b\n", "one", "\n\n", "café au lait "):
        assert "".join(tokens(text)) == text


def test_the_seed_decides_and_temperature_zero_needs_none() -> None:
    def said(number: int = 0, **fields: Any) -> str:
        return say(Asked(QUESTION, **fields), Quirks(), number).text

    assert said(seed=1) == said(seed=1) != said(seed=2)
    assert said(seed=1) != said(seed=1, number=1)
    assert said(temperature=0) == said(temperature=0)
    assert said() != said()


def test_a_limit_cuts_tool_calls_too() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 60}}}
    asked = Asked(
        QUESTION,
        tools=[{"name": "f", "parameters": schema}],
        tool_choice="required",
        max_tokens=3,
    )
    said = say(asked, Quirks())
    assert (said.finish, said.count) == ("length", 3)


def test_the_alternatives_are_a_distribution() -> None:
    for entry in logprobs([" ball", " falls"], 5):
        top = entry["top_logprobs"]
        assert len({one["token"] for one in top}) == len(top)
        assert all(a["logprob"] >= b["logprob"] for a, b in pairwise(top))
        assert sum(2.718281828 ** one["logprob"] for one in top) < 1


def test_a_plain_answer_is_one_write() -> None:
    (step,) = deliver(Answer(b'{"a": 1}'), Quirks())
    assert isinstance(step, bytes)
    assert step.endswith(b'\r\ncontent-length: 8\r\n\r\n{"a": 1}')


def test_a_stream_without_waiting_is_one_write() -> None:
    (step,) = deliver(Answer(parts=iter([b"ab", b"c"])), Quirks())
    assert isinstance(step, bytes)
    assert step.endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


def test_writes_are_cut_within_characters() -> None:
    steps = deliver(Answer("é→".encode()), Quirks(split_characters=True))
    pieces = [step for step in steps if isinstance(step, bytes)]
    assert pieces[0].endswith(b"\r\n\r\n\xc3")
    assert pieces[1:] == [b"\xa9\xe2", b"\x86", b"\x92"]


def test_nothing_follows_an_ending() -> None:
    steps = list(deliver(Answer(b"abcd", ending=Ending.RESET), Quirks()))
    assert isinstance(steps[0], bytes)
    assert steps[0].endswith(b"content-length: 4\r\n\r\nab")
    assert steps[-1] is Ending.RESET


def test_quirks_travel_as_json() -> None:
    quirks = Quirks(
        refuses=("seed",),
        fail=Fail(status=429, retry_after=datetime(2030, 1, 2, tzinfo=UTC), headers=(("a", "b"),)),
    )
    read = Quirks.from_json(quirks.to_json())
    assert read.fail is not None
    assert read.fail.retry_after == "Wed, 02 Jan 2030 00:00:00 GMT"
    assert read.fail.headers == (("a", "b"),)
    assert read.refuses == ("seed",)
    assert Quirks.from_json("{}") == Quirks()


@pytest.mark.parametrize(
    ("field", "value"),
    [("usage", "sometimes"), ("wires", ("chat", "telegraph")), ("ignores", "stop")],
)
def test_a_misspelt_quirk_is_an_error(field: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=field):
        Quirks(**{field: value})


def test_only_one_thing_can_fail() -> None:
    with pytest.raises(ValueError, match="only one"):
        Fail(reset=True, hang=True)


def test_the_vocabulary_is_not_all_ascii() -> None:
    assert not "".join(VOCABULARY).isascii()
