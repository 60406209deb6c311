"""Output of a given form: held by the server, or checked and repaired here."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, Field

from reverie.errors import ConfigError, OutputInvalid
from reverie.evals.quirks import Quirks


class Person(BaseModel):
    """A person."""

    name: str
    age: int = Field(ge=0)


SCHEMA = Person.model_json_schema()
FORM = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}


def calls(server) -> list:
    return [r for r in server.requests if r.path.endswith("completions")]


async def whole(model, prompt="Who?", **options):
    merged = None
    async for chunk in model.astream(prompt, **options):
        merged = chunk if merged is None else merged + chunk
    return merged


async def once(model, prompt="Who?", **options):
    return await model.ainvoke(prompt, **options)


BOTH = pytest.mark.parametrize("ask", [once, whole])


def unable(able):
    return {**able, "json_schema": False, "json_object": False}


@BOTH
async def test_a_server_that_holds_to_the_schema(served, server, ask) -> None:
    reply = await ask(served(), response_format=FORM)
    Person.model_validate_json(reply.text)
    assert len(calls(server)) == 1
    assert calls(server)[0].body["response_format"]["json_schema"]["schema"] == SCHEMA


@BOTH
async def test_a_server_that_cannot_is_told_in_the_prompt(served, able, server, ask) -> None:
    quirks = Quirks(reply='```json\n{"name": "Ada", "age": 36}\n```')
    reply = await ask(served(quirks, profile=unable(able)), response_format=FORM)
    assert json.loads(reply.text) == {"name": "Ada", "age": 36}
    body = calls(server)[0].body
    assert "response_format" not in body
    assert '"age"' in body["messages"][-1]["content"]
    assert len(body["messages"]) == 1


@BOTH
async def test_a_reply_is_repaired_once(served, able, server, ask) -> None:
    model = served(Quirks(reply="Ada is 36"), profile=unable(able))
    with pytest.raises(OutputInvalid, match="no JSON") as caught:
        await ask(model, response_format=FORM)
    assert len(calls(server)) == 2
    assert "Ada is 36" in caught.value.message
    repair = calls(server)[1].body["messages"]
    assert [message["role"] for message in repair][-2:] == ["assistant", "user"]
    assert "no JSON" in repair[-1]["content"]


@pytest.mark.parametrize("form", ["cut", "prose", "other"])
async def test_invalid_json_under_a_schema_once(served, server, book, form) -> None:
    model = served(Quirks(invalid_json=1, invalid_form=form))
    reply = await once(model, response_format=FORM)
    Person.model_validate_json(reply.text)
    assert len(calls(server)) == 2
    assert book.find(server.address, "toy").profile.json_schema is False
    assert any("json_schema" in notice for notice in reply.response_metadata["notices"])
    assert reply.usage_metadata["output_tokens"] > 0


async def test_invalid_json_in_a_stream_is_an_error_and_checked_next_time(served, server) -> None:
    model = served(Quirks(invalid_json=1))
    with pytest.raises(OutputInvalid):
        await whole(model, response_format=FORM)
    server.quirks = Quirks(reply='{"name": "Ada", "age": 36}')
    reply = await whole(model, response_format=FORM)
    assert json.loads(reply.text) == {"name": "Ada", "age": 36}


@BOTH
async def test_always_invalid_json_under_a_schema(served, server, ask) -> None:
    with pytest.raises(OutputInvalid):
        await ask(served(Quirks(invalid_json=-1)), response_format=FORM)
    assert len(calls(server)) <= 2


async def test_a_document_that_was_cut_off_is_not_asked_for_again(served, able, server) -> None:
    model = served(Quirks(reply='{"name": "Ada Lovelace of London"'), profile=unable(able))
    with pytest.raises(OutputInvalid, match="cut off by max_tokens") as caught:
        await once(model, response_format=FORM, max_tokens=2)
    assert "max_tokens" in caught.value.hint
    assert len(calls(server)) == 1


@BOTH
async def test_a_refused_response_format(served, server, book, ask) -> None:
    quirks = Quirks(refuses=("response_format",), reply='{"name": "Ada", "age": 36}')
    reply = await ask(served(quirks), response_format=FORM)
    assert json.loads(reply.text)["name"] == "Ada"
    assert book.find(server.address, "toy").profile.json_schema is False


async def test_json_object(served, server) -> None:
    reply = await once(served(), response_format={"type": "json_object"})
    assert isinstance(json.loads(reply.text), dict)


async def test_a_response_format_of_no_known_form(served) -> None:
    with pytest.raises(ConfigError, match="OpenAI's form"):
        await once(served(), response_format={"type": "json_schema", "schema": SCHEMA})


# -- with_structured_output ------------------------------------------------------------------------


@pytest.mark.parametrize("method", [None, "json_schema", "function_calling"])
@pytest.mark.parametrize("schema", [Person, SCHEMA], ids=["class", "schema"])
async def test_structured_output(served, schema, method) -> None:
    given = await served().with_structured_output(schema, method=method).ainvoke("Who?")
    Person.model_validate(given if isinstance(given, dict) else given.model_dump())


def test_structured_output_without_an_event_loop(served) -> None:
    runnable = served().with_structured_output(Person)
    assert isinstance(runnable.invoke("Who?"), Person)
    assert [type(item) for item in runnable.stream("Who?")] == [Person]


async def test_the_best_method_is_chosen(served, able, server) -> None:
    model = served(profile={**unable(able), "tools": "native"})
    assert isinstance(await model.with_structured_output(Person).ainvoke("Who?"), Person)
    assert calls(server)[-1].body["tools"]


async def test_what_only_pydantic_knows_is_repaired_too(served, server) -> None:
    model = served(Quirks(reply='{"name": "Ada", "age": -1}', ignores=("response_format",)))
    with pytest.raises(OutputInvalid, match="age"):
        await model.with_structured_output(Person).ainvoke("Who?")
    assert len(calls(server)) == 2
    assert "age" in calls(server)[1].body["messages"][-1]["content"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_raw_replies(served, server, method) -> None:
    runnable = served().with_structured_output(Person, method=method, include_raw=True)
    given = await runnable.ainvoke("Who?")
    assert isinstance(given["parsed"], Person)
    assert given["parsing_error"] is None
    server.quirks = Quirks(reply="nothing", ignores=("response_format", "tools", "tool_choice"))
    given = await runnable.ainvoke("Who?")
    assert given["parsed"] is None
    assert isinstance(given["parsing_error"], OutputInvalid)
    assert given["raw"].text == "nothing"


def test_an_unknown_method(served) -> None:
    with pytest.raises(ConfigError, match="no method"):
        served().with_structured_output(Person, method="magic")
