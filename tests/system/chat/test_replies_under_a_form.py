"""What else may come under a schema: tool calls, refusals, reasoning, several replies."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from langchain_core.messages import HumanMessage

from reverie.errors import ConfigError, ModelUnavailable, OutputInvalid
from reverie.evals.quirks import Fail, Quirks

SCHEMA = {
    "title": "Person",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
FORM = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = "call the weather tool"


def calls(server) -> list:
    return [r for r in server.requests if r.path.endswith(("completions", "responses"))]


async def whole(model, prompt="Who?", **options):
    merged = None
    async for chunk in model.astream(prompt, **options):
        merged = chunk if merged is None else merged + chunk
    return merged


async def once(model, prompt="Who?", **options):
    return await model.ainvoke(prompt, **options)


BOTH = pytest.mark.parametrize("ask", [once, whole])
WIRES = pytest.mark.parametrize("wire", ["chat", "responses"])


@BOTH
@WIRES
@pytest.mark.parametrize("together", [True, False])
async def test_a_tool_call_is_an_answer_too(
    served, able, book, *, server, ask, wire, together
) -> None:
    profile = {**able, "schema_with_tools": together, "wire": wire}
    model = served(Quirks(wires=(wire,)), profile=profile)
    reply = await ask(model, CALL, tools=[TOOL], response_format=FORM)
    assert [call["name"] for call in reply.tool_calls] == ["weather"]
    assert len(calls(server)) == 1
    assert book.find(server.address, "toy").profile.json_schema is True
    if not together and wire == "chat":
        assert "Unless you call a tool" in server.requests[-1].body["messages"][-1]["content"]


@BOTH
@WIRES
async def test_tools_that_are_not_called(served, able, ask, wire) -> None:
    model = served(Quirks(wires=(wire,)), profile={**able, "wire": wire})
    reply = await ask(model, "Who?", tools=[TOOL], response_format=FORM)
    assert set(json.loads(reply.text)) == {"name", "age"}


@BOTH
@WIRES
async def test_a_refusal_is_no_reason_to_mistrust_the_server(
    served, able, book, *, server, ask, wire
) -> None:
    model = served(Quirks(refusal="I will not", wires=(wire,)), profile={**able, "wire": wire})
    if ask is once:
        with pytest.raises(OutputInvalid, match="the model refused: 'I will not'") as caught:
            await ask(model, response_format=FORM)
        assert server.address in caught.value.message
    else:
        reply = await ask(model, response_format=FORM)
        assert reply.additional_kwargs["refusal"] == "I will not"
    assert len(calls(server)) == 1
    assert book.find(server.address, "toy").profile.json_schema is True


@BOTH
@pytest.mark.parametrize(
    ("quirks", "options"),
    [
        (Quirks(finish="content_filter", reply='{"na'), {}),
        (Quirks(finish="length", reply='{"na'), {}),
        (Quirks(reply='{"name": "Ada", "age": 36}'), {"stop": ["Ada"]}),
    ],
    ids=["filter", "length", "stop"],
)
async def test_what_ends_a_reply_early_is_not_the_schemas_fault(
    served, server, book, *, ask, quirks, options
) -> None:
    model = served(quirks)
    if ask is once:
        with pytest.raises(OutputInvalid, match=re.escape(server.address)):
            await ask(model, response_format=FORM, **options)
    else:
        await ask(model, response_format=FORM, **options)
    assert book.find(server.address, "toy").profile.json_schema is True


@BOTH
@WIRES
@pytest.mark.parametrize("reasoning", ["reasoning", "reasoning_content", "think"])
async def test_a_model_that_thinks(served, able, server, *, ask, wire, reasoning) -> None:
    quirks = Quirks(reasoning=reasoning, wires=(wire,))
    reply = await ask(served(quirks, profile={**able, "wire": wire}), response_format=FORM)
    assert set(json.loads(reply.text)) == {"name", "age"}
    assert reply.additional_kwargs["reasoning_content"]
    assert len(calls(server)) == 1


async def test_reasoning_that_no_tag_opens_in_a_stream(served, server, book) -> None:
    """It cannot be known before its end, and must not be taken for a broken schema."""
    model = served(Quirks(reasoning="think_end"))
    with pytest.raises(OutputInvalid):
        await whole(model, response_format=FORM)
    profile = book.find(server.address, "toy").profile
    assert (profile.json_schema, profile.reasoning) == (True, "think_end")
    assert set(json.loads((await whole(model, response_format=FORM)).text)) == {"name", "age"}


@pytest.mark.parametrize("held", [True, False])
async def test_several_replies(served, able, server, held) -> None:
    quirks = Quirks() if held else Quirks(reply='{"name": "Ada", "age": 36}')
    model = served(quirks, profile={**able, "json_schema": held, "json_object": False})
    result = await model.agenerate([[HumanMessage("Who?")]], n=3, seed=5, response_format=FORM)
    assert len(result.generations[0]) == 3
    for generation in result.generations[0]:
        assert set(json.loads(generation.text)) == {"name", "age"}
        assert generation.message.usage_metadata["total_tokens"] > 0
    assert len({request.body["seed"] for request in calls(server)}) == 3


async def test_when_one_of_several_fails_none_goes_on(served, able, server) -> None:
    model = served(Quirks(token_seconds=0.1, words=60), profile={**able, "n": False}, max_retries=0)
    server.script(None, Fail(status=400))
    first = asyncio.get_running_loop().time()
    with pytest.raises(Exception, match="refused the request"):
        await model.agenerate([[HumanMessage("x")]], n=3, max_tokens=20)
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) == 1
    assert asyncio.get_running_loop().time() - first < 5


async def test_a_reply_without_a_prefix_begins_with_the_prefill_under_type_text(served) -> None:
    reply = await once(served(), prefill="Well", response_format={"type": "text"})
    assert reply.text.startswith("Well")


@BOTH
@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"properties": {"name": {"type": "nonsense"}}},
        {"properties": {"age": {"minimum": "x"}}},
    ],
)
async def test_a_schema_that_cannot_be_used(served, able, ask, schema) -> None:
    quirks = Quirks(reply='{"name": "Ada", "age": 36}')
    model = served(quirks, profile={**able, "json_schema": False, "json_object": False})
    with pytest.raises(ConfigError, match="schema cannot be used"):
        await ask(model, response_format={"type": "json_schema", "json_schema": {"schema": schema}})


@BOTH
async def test_documents_without_end_and_constants_that_are_none(served, able, ask) -> None:
    profile = {**able, "json_schema": False, "json_object": False}
    for reply in ("[" * 5000, '{"name": "Ada", "age": NaN}'):
        with pytest.raises(OutputInvalid, match="no JSON"):
            await ask(
                served(Quirks(reply=reply, window=99999), profile=profile), response_format=FORM
            )


@BOTH
@pytest.mark.parametrize(
    ("wire", "event"), [("chat", "error"), ("responses", "error"), ("responses", "failed")]
)
async def test_errors_within_a_stream_name_the_address(
    served, able, server, *, ask, wire, event
) -> None:
    model = served(Quirks(words=20, wires=(wire,)), profile={**able, "wire": wire}, max_retries=0)
    server.script(Fail(event=event, after=2, message="the engine died"))
    with pytest.raises(ModelUnavailable, match="the engine died") as caught:
        await ask(model)
    assert server.address in caught.value.message
    assert caught.value.hint


OPTIONS = [
    {"max_tokens": "5"},
    {"max_tokens": 0},
    {"max_tokens": True},
    {"n": "2"},
    {"n": 0},
    {"timeout": "5"},
    {"tools": 5},
    {"tools": ["x"]},
    {"stop": [5]},
    {"temperature": "hot"},
    {"temperature": float("nan")},
    {"seed": "x"},
    {"logprobs": "yes"},
    {"top_logprobs": -1},
    {"prefill": 5},
    {"extra_body": 5},
    {"response_format": "json"},
]


@BOTH
@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_options_of_the_wrong_kind(served, server, ask, options) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))) as caught:
        await ask(served(), **options)
    assert caught.value.hint
    assert not server.requests


@BOTH
async def test_a_very_large_max_tokens(served, able, server, ask) -> None:
    for profile in (able, {**able, "counter": ""}, {**able, "counter": "", "window": None}):
        reply = await ask(served(Quirks(window=200), profile=profile), max_tokens=10**9)
        assert reply.text
    assert server.requests[-1].body["max_tokens"] <= 200


@BOTH
@pytest.mark.parametrize("stop", ["ab|cd", "b|", "d e", "fg."])
async def test_stop_strings_across_pieces(served, able, raw, ask, stop) -> None:
    text = "ab|cd ef fg."
    documents = [{"choices": [{"index": 0, "delta": {"content": one}}]} for one in text]
    raw.answer = raw.events([*documents, {"choices": [{"delta": {}, "finish_reason": "stop"}]}])
    model = served(address=raw.address, profile={**able, "stop": False})
    if ask is once:
        raw.answer = raw.reply({"choices": [{"message": {"content": text}}]})
    reply = await ask(model, stop=[stop])
    assert reply.text == text.partition(stop)[0]
