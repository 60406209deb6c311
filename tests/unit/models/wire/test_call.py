"""The options of a call."""

from __future__ import annotations

from typing import Any

import pytest

from reverie.errors import ConfigError
from reverie.models.wire.call import Call

SCHEMA = {"type": "object"}
FORM = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}


def read(stop: Any = None, /, *, defaults: dict[str, Any] | None = None, **given: Any) -> Call:
    return Call.read(defaults or {}, stop, given)


def test_what_is_given_goes_before_the_defaults() -> None:
    call = read(defaults={"temperature": 0.5, "seed": 1, "top_p": None}, temperature=0.1)
    assert call.options == {"temperature": 0.1, "seed": 1}


def test_none_takes_a_default_away() -> None:
    assert "temperature" not in read(defaults={"temperature": 0.5}, temperature=None).options


@pytest.mark.parametrize(
    ("given", "stop"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ()), (None, ("z",))]
)
def test_stop(given: Any, stop: tuple[str, ...]) -> None:
    assert read(given, defaults={"stop": ("z",)}).options["stop"] == stop


def test_stop_sequences_are_stop() -> None:
    assert read(stop_sequences=["a"]).options["stop"] == ("a",)
    assert read(["b"], stop_sequences=["a"]).options["stop"] == ("b",)


def test_what_is_not_known_goes_into_the_body() -> None:
    call = read(defaults={"extra_body": {"a": 1, "b": 1}}, b=2, extra_body={"c": 3}, ls_x=5)
    assert call.extra_body == {"a": 1, "b": 2, "c": 3}


def test_the_defaults_are_left_alone() -> None:
    defaults = {"extra_body": {"a": 1}, "temperature": 0.5}
    read(defaults=defaults, b=2, temperature=1)
    assert defaults == {"extra_body": {"a": 1}, "temperature": 0.5}


def test_what_is_about_the_call_itself() -> None:
    call = read(model="other", timeout=5, checked=False)
    assert (call.model, call.timeout, call.checked) == ("other", 5, False)
    assert not call.extra_body


def test_a_prefill_is_dropped_under_a_form_alone() -> None:
    assert read(prefill="Well").options["prefill"] == "Well"
    assert read(prefill="Well", response_format=FORM).options["prefill"] == ""
    assert read(prefill="Well", response_format={"type": "text"}).options["prefill"] == "Well"


def test_the_schema() -> None:
    assert read().schema is None
    assert read(response_format={"type": "text"}).schema is None
    assert read(response_format={"type": "json_object"}).schema == {"type": "object"}
    assert read(response_format=FORM).schema == SCHEMA


@pytest.mark.parametrize(
    "form",
    [
        "json",
        5,
        [],
        {},
        {"type": "xml"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": 5},
        {"type": "json_schema", "json_schema": {"schema": 5}},
        {"type": "json_schema", "schema": SCHEMA},
    ],
)
def test_forms_that_are_none(form: Any) -> None:
    with pytest.raises(ConfigError, match="response_format"):
        read(response_format=form)


@pytest.mark.parametrize(
    "given",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": 1.5},
        {"max_tokens": "5"},
        {"max_tokens": True},
        {"n": 0},
        {"n": "2"},
        {"seed": 1.5},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": []},
        {"top_logprobs": -1},
        {"logprobs": 1},
        {"parallel_tool_calls": "yes"},
        {"prefill": 5},
        {"timeout": "5"},
        {"timeout": float("nan")},
        {"tools": 5},
        {"tools": "weather"},
        {"tools": [5]},
        {"extra_body": 5},
        {"stop_sequences": [5]},
    ],
    ids=str,
)
def test_values_of_the_wrong_kind(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ConfigError, match="stop" if name == "stop_sequences" else name) as caught:
        read(**given)
    assert caught.value.hint


@pytest.mark.parametrize("timeout", [0, -5, 0.5, None])
def test_a_deadline_that_is_over_is_not_wrong_use(timeout: float | None) -> None:
    assert read(timeout=timeout).timeout == timeout


def test_the_request() -> None:
    call = read(temperature=0.5, tools=[{"type": "function"}], user="me")
    request = call.request([{"role": "user", "content": "x"}])
    assert request.temperature == 0.5
    assert request.tools == ({"type": "function"},)
    assert request.extra_body == {"user": "me"}


@pytest.mark.parametrize("value", [{"a": object()}, {("x",): 1}, {"a": {1, 2}}])
def test_an_extra_body_that_is_no_json_is_wrong_use(value: dict[Any, Any]) -> None:
    with pytest.raises(ConfigError, match=r"extra_body .* a mapping of JSON values"):
        Call.read({}, None, {"extra_body": value})
