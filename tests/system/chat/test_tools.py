"""Tool calls, however a server writes them."""

from __future__ import annotations

import pytest
from langchain_core.tools import tool

from reverie.errors import ConfigError, ModelRejected
from reverie.evals.quirks import Quirks

CALL = "call the weather tool"
BOTH_CALLS = "call both tools"


@tool
def weather(city: str, days: int) -> str:
    """The weather in a city."""
    return f"{city} {days}"


@tool
def population(city: str) -> str:
    """How many people live in a city."""
    return city


async def whole(model, prompt, **options):
    merged = None
    async for chunk in model.astream(prompt, **options):
        merged = chunk if merged is None else merged + chunk
    return merged


async def once(model, prompt, **options):
    return await model.ainvoke(prompt, **options)


BOTH = pytest.mark.parametrize("ask", [once, whole])


def valid(message) -> None:
    assert not message.invalid_tool_calls
    (call,) = message.tool_calls
    assert call["name"] == "weather"
    assert isinstance(call["args"]["city"], str)
    assert isinstance(call["args"]["days"], int)
    assert call["id"]


@BOTH
@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(),
        Quirks(tool_chunks=1),
        Quirks(tool_chunks=40),
        Quirks(tool_arguments="double"),
        Quirks(tool_arguments="double", tool_chunks=30),
        Quirks(tool_arguments="object"),
        Quirks(tool_ids=False),
        Quirks(tool_index=False),
        Quirks(tool_name_repeated=True),
        Quirks(tools="text", tool_text="hermes"),
        Quirks(tools="text", tool_text="mistral"),
        Quirks(tools="text", tool_text="json"),
        Quirks(tools="text", tool_text="fenced"),
        Quirks(reasoning="reasoning"),
        Quirks(reasoning="think"),
    ],
    ids=str,
)
async def test_one_call(served, ask, quirks) -> None:
    reply = await ask(served(quirks).bind_tools([weather]), CALL)
    valid(reply)
    assert "tool_call" not in reply.text
    assert reply.response_metadata["finish_reason"] == "tool_calls"


@BOTH
@pytest.mark.parametrize(
    "quirks", [Quirks(), Quirks(tool_ids=False), Quirks(tools="text"), Quirks(tool_chunks=9)]
)
async def test_several_calls_in_one_reply(served, ask, quirks) -> None:
    reply = await ask(served(quirks).bind_tools([weather, population]), BOTH_CALLS)
    assert [call["name"] for call in reply.tool_calls] == ["weather", "population"]
    assert len({call["id"] for call in reply.tool_calls}) == 2


async def test_arguments_that_are_no_json_are_an_invalid_call(served) -> None:
    # In streams LangChain itself completes the arguments as far as it can.
    reply = await once(served(Quirks(tool_arguments="broken")).bind_tools([weather]), CALL)
    assert not reply.tool_calls
    assert reply.invalid_tool_calls[0]["name"] == "weather"


@BOTH
@pytest.mark.parametrize("choice", ["any", "required", True, "weather"])
async def test_a_call_that_is_required(served, server, ask, choice) -> None:
    reply = await ask(served().bind_tools([weather], tool_choice=choice), "Good morning")
    valid(reply)


async def test_no_call_when_none_is_wanted(served) -> None:
    reply = await once(served().bind_tools([weather], tool_choice="none"), CALL)
    assert not reply.tool_calls
    assert reply.text


async def test_a_choice_among_no_tools(served) -> None:
    with pytest.raises(ConfigError, match=r"'wether'.*not among"):
        served().bind_tools([weather], tool_choice="wether")
    with pytest.raises(ConfigError, match="there are 2"):
        served().bind_tools([weather, population], tool_choice=True)


@BOTH
async def test_text_is_still_text_when_tools_are_offered(served, ask) -> None:
    quirks = Quirks(tools="text", reply='{"name": "nobody", "arguments": {}} is no call.')
    reply = await ask(served(quirks).bind_tools([weather]), "Good morning")
    assert reply.text == '{"name": "nobody", "arguments": {}} is no call.'
    assert not reply.tool_calls


async def test_tool_calls_in_text_correct_the_profile(served, server, book) -> None:
    reply = await once(served(Quirks(tools="text")).bind_tools([weather]), CALL)
    assert book.find(server.address, "toy").profile.tools == "text"
    assert any("tool calls" in notice for notice in reply.response_metadata["notices"])


@BOTH
async def test_a_model_that_takes_no_tools(served, able, ask) -> None:
    model = served(Quirks(tools="refused"), profile={**able, "tools": "none"})
    with pytest.raises(ModelRejected, match="takes no tools"):
        await ask(model.bind_tools([weather]), CALL)


@BOTH
async def test_tools_that_the_server_refuses(served, server, ask) -> None:
    with pytest.raises(ModelRejected) as caught:
        await ask(served(Quirks(tools="refused")).bind_tools([weather]), CALL)
    assert server.address in caught.value.message


@BOTH
async def test_a_server_that_only_takes_required_calls(served, able, server, ask) -> None:
    model = served(Quirks(tools="forced"), profile={**able, "tools": "forced"})
    reply = await ask(model.bind_tools([weather]), "Good morning")
    assert reply.text
    assert any("left out" in notice for notice in reply.response_metadata["notices"])
    valid(await ask(model.bind_tools([weather], tool_choice="any"), "Good morning"))


async def test_results_go_back(served, server) -> None:
    model = served().bind_tools([weather])
    first = await once(model, CALL)
    result = weather.invoke(first.tool_calls[0])
    reply = await once(model, [("human", CALL), first, result, ("human", "Thanks")])
    assert reply.text
    sent = server.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]
