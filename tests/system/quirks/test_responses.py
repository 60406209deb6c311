"""The Responses API."""

from __future__ import annotations

import json
from typing import Any

import openai

from reverie.evals.quirks import Quirks, QuirkServer

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}


def test_wires(client: Any, server: QuirkServer) -> None:
    asked = {"model": "toy", "input": "Hi"}
    server.quirks = Quirks(wires=("responses",))
    assert "only supported in v1/responses" in client.error(404)["error"]["message"]
    assert client.post("responses", json=asked).json()["object"] == "response"
    server.quirks = Quirks(wires=("chat",))
    refused = client.post("responses", json=asked)
    assert refused.status_code == 400
    assert "cannot be used with the Responses API" in refused.json()["error"]["message"]
    server.quirks = Quirks(absent=("/v1/responses",), least_output_tokens=16)
    assert client.post("responses", json=asked).json() == {"detail": "Not Found"}
    server.quirks = Quirks(least_output_tokens=16, overflow="openai", window=20)
    for fields, code in (
        ({"seed": 1}, "unknown_parameter"),
        ({"max_output_tokens": 15}, "integer_below_min_value"),
        ({"input": "word " * 30}, "context_length_exceeded"),
    ):
        refused = client.post("responses", json={**asked, **fields})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)


async def test_the_sdk_reads_responses(server: QuirkServer, sdk: openai.AsyncOpenAI) -> None:
    server.quirks = Quirks(reasoning="reasoning", thought="I think so.", reply="Yes, it falls.")
    reply = await sdk.responses.create(model="toy", input="Hi", instructions="Be short.")
    assert reply.output_text == "Yes, it falls."
    assert [item.type for item in reply.output] == ["reasoning", "message"]
    assert reply.usage is not None
    assert reply.usage.output_tokens_details.reasoning_tokens == 3
    events = [e async for e in await sdk.responses.create(model="toy", input="Hi", stream=True)]
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.reasoning_summary_text.delta") == 3
    assert kinds.count("response.output_text.delta") == 3
    assert [e.sequence_number for e in events] == list(range(len(events)))  # type: ignore[union-attr]  # all have one
    for kind in ("output_item.added", "content_part.added", "output_item.done"):
        assert f"response.{kind}" in kinds
    cut = await sdk.responses.create(model="toy", input="Hi", max_output_tokens=4)
    assert (cut.status, cut.output_text) == ("incomplete", "Yes,")
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


async def test_the_sdk_reads_function_calls_of_responses(sdk: openai.AsyncOpenAI) -> None:
    tools: list[Any] = [{"type": "function", "name": n, "parameters": SCHEMA} for n in ("f", "g")]
    fields: dict[str, Any] = {"model": "toy", "tools": tools, "input": "call both"}
    reply = await sdk.responses.create(**fields)
    assert [item.name for item in reply.output if item.type == "function_call"] == ["f", "g"]
    events = [e async for e in await sdk.responses.create(**fields, stream=True)]
    given: dict[str, str] = {}
    for event in events:
        if event.type == "response.function_call_arguments.delta":
            given[event.item_id] = given.get(event.item_id, "") + event.delta
    assert [set(json.loads(text)) for text in given.values()] == [{"a", "b"}] * 2
    call = reply.output[0]
    assert call.type == "function_call"
    told: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "call it"}]},
        {**call.model_dump(exclude_none=True)},
        {"type": "function_call_output", "call_id": call.call_id, "output": "42"},
    ]
    fields["input"] = told
    assert (await sdk.responses.create(**fields)).output_text == "The result is 42."
    schema: Any = {"format": {"type": "json_schema", "name": "ab", "schema": SCHEMA}}
    reply = await sdk.responses.create(model="toy", input="Hi", text=schema)
    assert set(json.loads(reply.output_text)) == {"a", "b"}
    logprobs: Any = ["message.output_text.logprobs"]
    reply = await sdk.responses.create(model="toy", input="Hi", include=logprobs, top_logprobs=2)
    message = reply.output[0]
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    assert len(message.content[0].logprobs or []) == 12


def test_a_refusal_over_responses(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(refusal="I will not.")
    events = client.response_events()
    assert [e["delta"] for e in events if e["type"] == "response.refusal.delta"]
    assert events[-1]["response"]["output"][0]["content"][0]["refusal"] == "I will not."
