"""What refusals and replies say about a profile."""

from __future__ import annotations

from typing import Any

import pytest

from reverie.errors import ContextOverflow, ModelRejected
from reverie.models.profile import ModelProfile
from reverie.models.wire.corrections import after_refusal, after_reply
from reverie.models.wire.piece import Request

ABLE = ModelProfile(
    name="toy",
    seed=True,
    stop=True,
    n=True,
    logprobs=True,
    top_logprobs=5,
    json_schema=True,
    json_object=True,
    prefill=True,
    parallel_tools=True,
)
REQUEST = Request(messages=[])


def changes(field: str, body: dict[str, Any], profile: ModelProfile = ABLE) -> dict[str, Any]:
    error = ModelRejected("no", field=field)
    return {name: value for name, value, _ in after_refusal(error, profile, body)}


@pytest.mark.parametrize(
    ("field", "switch", "value"),
    [
        ("seed", "seed", False),
        ("stop", "stop", False),
        ("n", "n", False),
        ("logprobs", "logprobs", False),
        ("top_logprobs", "top_logprobs", 0),
        ("temperature", "sampling", False),
        ("top_p", "sampling", False),
        ("parallel_tool_calls", "parallel_tools", False),
        ("continue_final_message", "prefill", False),
        ("stream_options", "usage", "never"),
        ("stream_options.include_usage", "usage", "never"),
    ],
)
def test_a_refused_field_is_left_out_from_then_on(field: str, switch: str, value: Any) -> None:
    name = field.partition(".")[0]
    assert changes(field, {name: 1}) == {"refuses": (name,), switch: value}


@pytest.mark.parametrize("field", ["", "tools", "tool_choice", "messages", "unheard_of"])
def test_what_cannot_be_left_out(field: str) -> None:
    forced = ABLE.model_copy(update={"tools": "forced"})
    assert changes(field, {"tools": [], "tool_choice": "auto"}, forced) == {}


def test_tools_that_are_taken_only_where_a_call_is_required() -> None:
    assert changes("tool_choice", {"tools": [], "tool_choice": "auto"}) == {"tools": "forced"}
    assert changes("tool_choice", {"tool_choice": "auto"}) == {}


def test_a_field_that_was_not_sent_is_not_corrected() -> None:
    assert changes("seed", {}) == {}


def test_a_field_that_is_refused_already_is_not_corrected_again() -> None:
    profile = ABLE.model_copy(update={"refuses": ("seed",)})
    assert changes("seed", {"seed": 1}, profile) == {}


@pytest.mark.parametrize(
    ("kind", "switch"), [("json_schema", "json_schema"), ("json_object", "json_object")]
)
def test_a_refused_form(kind: str, switch: str) -> None:
    body = {"response_format": {"type": kind}}
    assert changes("response_format", body) == {switch: False}
    assert changes("response_format", body, ABLE.model_copy(update={switch: False})) == {}


@pytest.mark.parametrize(
    "body", [{"response_format": 5}, {"text": None}, {"text": {"format": 5}}, {"text": "x"}]
)
def test_a_refused_form_of_the_users_own(body: dict[str, Any]) -> None:
    assert changes("response_format", body) == {}


@pytest.mark.parametrize(("wire", "other"), [("chat", "responses"), ("responses", "chat")])
def test_the_other_wire(wire: str, other: str) -> None:
    profile = ABLE.model_copy(update={"wire": wire})
    assert changes("wire", {}, profile) == {"wire": other}


@pytest.mark.parametrize(
    ("field", "other"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
def test_the_other_name_of_max_tokens(field: str, other: str) -> None:
    assert changes(field, {field: 5}) == {"max_tokens_field": other}
    assert changes(field, {}) == {}


def test_the_window_of_an_overflow() -> None:
    def found(window: int | None, known: int | None) -> list[Any]:
        profile = ABLE.model_copy(update={"window": known})
        return [c[:2] for c in after_refusal(ContextOverflow("no", window=window), profile, {})]

    assert found(100, None) == [("window", 100)]
    assert found(100, 100) == []
    assert found(None, 100) == []


def reply(request: Request = REQUEST, profile: ModelProfile = ABLE, **seen: Any) -> dict[str, Any]:
    told = {"usage": True, "scored": 0, "wrote": True, "shown": {}, **seen}
    return {name: value for name, value, _ in after_reply(request, profile, **told)}


def test_a_reply_as_expected_changes_nothing() -> None:
    assert reply() == {}
    assert reply(Request(messages=[], logprobs=True), scored=3) == {}


def test_what_did_not_come() -> None:
    assert reply(usage=False) == {"usage": "never"}
    assert reply(usage=False, profile=ABLE.model_copy(update={"usage": "never"})) == {}
    wanted = Request(messages=[], logprobs=True)
    assert reply(wanted) == {"logprobs": False}
    assert reply(wanted, wrote=False) == {}
    assert reply(wanted, profile=ABLE.model_copy(update={"logprobs": False})) == {}


def test_what_the_filters_saw() -> None:
    assert reply(shown={"stop_ignored": True}) == {"stop": False}
    assert reply(shown={"tools_as_text": True}) == {"tools": "text"}
    unable = ABLE.model_copy(update={"stop": False, "tools": "text"})
    assert reply(profile=unable, shown={"stop_ignored": True, "tools_as_text": True}) == {}
