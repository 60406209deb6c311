"""Whatever a server sends, what comes out is a reply or one of Reverie's own errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reverie.errors import ReverieError
from reverie.models.chat import ServedChatModel

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
MODELS = {"object": "list", "data": [{"id": "toy"}]}
EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def asked(raw) -> Iterator[Any]:
    """Asks in every way; returns nothing, or fails where something else comes out."""
    models: list[ServedChatModel] = []

    def ask(wire: str = "chat", *, listed: bytes | None = None, named: bool = True) -> None:
        raw.listed = raw.reply(MODELS) if listed is None else listed
        model = ServedChatModel(
            address=raw.address, model="toy" if named else "", max_retries=0, timeout=10.0
        )
        models.append(model)
        ways = (
            lambda: model.invoke("x"),
            lambda: list(model.stream("x", tools=[TOOL], stop=["never"])),
            lambda: model.invoke("x", tools=[TOOL], logprobs=True, response_format=FORM),
            lambda: list(model.stream("x", response_format=FORM, checked=False, logprobs=True)),
        )
        for way in ways:
            _speak(model, wire)
            failure = None
            try:
                way()
            except ReverieError as error:
                failure = error
            if failure is not None:
                assert raw.address in failure.message
                assert failure.hint
        model.close()
        models.clear()

    yield ask
    for model in models:
        model.close()


def _speak(model: ServedChatModel, wire: str) -> None:
    client = model._client()
    if client.known is not None:
        abilities = {"wire": wire, "logprobs": True, "json_schema": True, "n": True}
        profile = client.known.profile.model_copy(update=abilities)
        client._known._stored = client.known.model_copy(update={"profile": profile})


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.sampled_from(["<think>", "</think>", "\ud800", "[TOOL_CALLS]", "never", "error", "stop"]),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "text", "id", "content", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)

COMPLETION = {
    "id": "c1",
    "model": "toy",
    "choices": [
        {
            "index": 0,
            "message": {
                "content": '{"name": "Ada"}',
                "reasoning_content": "hm",
                "refusal": None,
                "tool_calls": [
                    {"id": "t1", "index": 0, "function": {"name": "weather", "arguments": "{}"}}
                ],
            },
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a", "logprob": -1}]}
                ]
            },
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0},
    },
}
CHUNK = {
    **COMPLETION,
    "choices": [
        {**COMPLETION["choices"][0], "delta": COMPLETION["choices"][0]["message"], "message": None}
    ],
}
RESPONSE = {
    "id": "r1",
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "t1", "name": "weather", "arguments": "{}"},
        {"type": "message", "content": [{"type": "output_text", "text": "yes", "logprobs": []}]},
    ],
    "incomplete_details": {"reason": "max_output_tokens"},
    "error": None,
    "usage": {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {}},
}
EVENTS = [
    {"type": "response.created", "response": {"id": "r1"}},
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "a"},
    {"type": "response.output_item.added", "output_index": 1, "item": RESPONSE["output"][1]},
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{"},
    {"type": "response.output_text.done", "output_index": 0, "text": "ab"},
    {"type": "error", "message": "no", "code": "server_error"},
    {"type": "response.failed", "response": {"error": {"message": "no"}}},
    {"type": "response.incomplete", "response": RESPONSE},
    {"type": "response.completed", "response": RESPONSE},
]


def places(document: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [so_far]
    if isinstance(document, dict):
        for name, value in document.items():
            found += places(value, (*so_far, name))
    elif isinstance(document, list):
        for place, value in enumerate(document):
            found += places(value, (*so_far, place))
    return found


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """The document with up to three of its parts replaced by anything."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(places(document)))
        value = draw(anything)
        if not place:
            return value
        parent = document
        for part in place[:-1]:
            parent = parent[part]
        parent[place[-1]] = value
    return document


@EXAMPLES
@given(document=anything | changed(COMPLETION), status=st.sampled_from([200, 200, 400, 500]))
def test_any_document(raw, asked, document, status) -> None:
    raw.answer = raw.reply(document, status=status)
    asked()


@EXAMPLES
@given(document=changed(RESPONSE))
def test_any_response(raw, asked, document) -> None:
    raw.answer = raw.reply(document)
    asked("responses")


@EXAMPLES
@given(documents=st.lists(anything | changed(CHUNK) | changed(COMPLETION), max_size=4))
def test_any_events(raw, asked, documents) -> None:
    raw.answer = raw.events(documents)
    asked()


@EXAMPLES
@given(
    documents=st.lists(
        anything | st.sampled_from(EVENTS).flatmap(changed) | changed(CHUNK), max_size=5
    )
)
def test_any_events_of_responses(raw, asked, documents) -> None:
    raw.answer = raw.events(documents)
    asked("responses")


@EXAMPLES
@given(
    body=st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [b"data:", b"\n", b"\r", b"{", b'"choices"', b": ", b"event: error", b"[DONE]"]
        ),
        max_size=12,
    ).map(b"".join),
    kind=st.sampled_from(
        ["text/event-stream", "application/json", "text/html", "", "x; charset=utf-7"]
    ),
)
def test_any_bytes(raw, asked, body, kind) -> None:
    raw.answer = raw.http(body, kind)
    asked()


@EXAMPLES
@given(
    answer=st.binary(max_size=80) | st.binary(max_size=40).map(lambda b: b"HTTP/1.1 200 OK\r\n" + b)
)
def test_what_is_no_http(raw, asked, answer) -> None:
    raw.answer = answer
    asked()


@EXAMPLES
@given(document=anything | changed(MODELS), named=st.booleans())
def test_any_list_of_models(raw, asked, document, named) -> None:
    raw.answer = raw.reply(COMPLETION)
    asked(listed=raw.reply(document), named=named)


@pytest.mark.parametrize("depth", [900, 5_000, 100_000])
@pytest.mark.parametrize("stream", [False, True])
def test_endless_nesting(raw, asked, depth, stream) -> None:
    nested = "[" * depth + "]" * depth
    text = json.dumps(COMPLETION).replace('"{}"', json.dumps(nested)).replace('"hm"', nested)
    if stream:
        raw.answer = raw.http(f"data: {text}\n\n".encode(), "text/event-stream")
    else:
        raw.answer = raw.http(text.encode())
    asked()
    raw.answer = raw.http(nested.encode(), status=400)
    asked()
