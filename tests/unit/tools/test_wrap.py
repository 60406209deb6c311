"""Tools made of functions and of LangChain's tools: their schemas, checks and results."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any, Literal

import pytest
from langchain_core.tools import StructuredTool
from pydantic import BaseModel, Field

from reverie.errors import ConfigError, ToolFailed
from reverie.models.structured import prepare_to_check
from reverie.tools import Knowledge, Tool, tool_of
from reverie.tools.tool import MOST_RESULT

NOWHERE: Any = None
"""Knowledge that no tool here asks for."""


class Place(BaseModel):
    city: str
    country: str = "France"


def weather(place: Place, unit: Literal["C", "F"] = "C", json: int = 1) -> dict[str, Any]:
    """Says what the weather is.

    More than a model has to know.
    """
    return {"city": place.city, "country": place.country, "unit": unit, "json": json}


async def test_a_typed_function_is_a_tool() -> None:
    tool = tool_of(weather)

    assert (tool.name, tool.description) == ("weather", "Says what the weather is.")
    assert list(tool.schema["properties"]) == ["place", "unit", "json"]
    assert tool.schema["required"] == ["place"]
    assert tool.schema["additionalProperties"] is False
    assert (
        await tool.call({"place": {"city": "Lyon"}, "unit": "F"}, NOWHERE)
        == '{"city": "Lyon", "country": "France", "unit": "F", "json": 1}'
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "place: Field required"),
        ({"place": {"city": 7}}, "place.city"),
        ({"place": {"city": "Lyon"}, "unit": "K"}, "unit"),
        ({"place": {"city": "Lyon"}, "more": 1}, "more"),
        ({"place": "Lyon"}, "place"),
    ],
)
async def test_wrong_arguments_are_named(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        await tool_of(weather).call(arguments, NOWHERE)


async def test_what_a_tool_raises_is_a_typed_failure() -> None:
    def broken(x: int) -> str:
        """Breaks."""
        raise KeyError(x)

    with pytest.raises(ToolFailed, match="KeyError: 3") as caught:
        await tool_of(broken).call({"x": 3}, NOWHERE)

    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_plain_function_runs_in_a_thread_and_a_coroutine_in_the_loop() -> None:
    def plain() -> bool:
        """Where am I?"""
        return threading.current_thread() is threading.main_thread()

    async def asynchronous() -> bool:
        """Where am I?"""
        await asyncio.sleep(0)
        return threading.current_thread() is threading.main_thread()

    assert await tool_of(plain).call({}, NOWHERE) == "false"
    assert await tool_of(asynchronous).call({}, NOWHERE) == "true"


async def test_the_knowledge_is_handed_over_and_hidden_from_the_model() -> None:
    def knows(query: str, *, store: Knowledge) -> str:
        """Looks it up."""
        return f"{query} in {store}"

    tool = tool_of(knows)

    assert list(tool.schema["properties"]) == ["query"]
    somewhere: Any = "the store"
    assert await tool.call({"query": "x"}, somewhere) == "x in the store"


async def test_a_long_result_is_cut_and_says_so() -> None:
    def long() -> str:
        """Says a lot."""
        return "x" * (MOST_RESULT + 1234)

    result = await tool_of(long).call({}, NOWHERE)

    assert result.startswith("x" * MOST_RESULT + "…")
    assert "1,234 more characters" in result


def test_side_effects_are_taken_for_granted() -> None:
    assert tool_of(weather).side_effects
    assert not tool_of(weather, side_effects=False).side_effects


async def test_langchain_tools_are_wrapped() -> None:
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    made = StructuredTool.from_function(add, metadata={"readOnlyHint": True})

    tool = tool_of(made)

    assert (tool.name, tool.description, tool.side_effects) == ("add", "Adds.", False)
    assert tool.schema["properties"]["a"]["type"] == "integer"
    assert await tool.call({"a": 2, "b": 3}, NOWHERE) == "5"
    with pytest.raises(ToolFailed, match="b: Field required"):
        await tool.call({"a": 2}, NOWHERE)


async def test_a_langchain_tool_with_a_json_schema_is_checked_too() -> None:
    async def run(**arguments: Any) -> str:
        return f"got {arguments}"

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    made = StructuredTool(name="remote", description="Runs.", args_schema=schema, coroutine=run)

    tool = tool_of(made)
    await prepare_to_check()

    assert tool.side_effects
    assert await tool.call({"a": 1}, NOWHERE) == "got {'a': 1}"
    with pytest.raises(ToolFailed, match="arguments are wrong"):
        await tool.call({"a": "one"}, NOWHERE)


def no_docstring(x: int) -> int:
    return x


def no_type(x) -> int:  # type: ignore[no-untyped-def]  # the mistake to be found
    """Has an argument of any type."""
    return int(x)


def any_number(*numbers: int) -> int:
    """Adds numbers."""
    return sum(numbers)


def names_tool(tool: str) -> str:
    """Calls itself."""
    return tool


def unknown_type(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821  # the mistake
    """Has a type that does not exist."""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (no_docstring, "no description"),
        (no_type, "has no type"),
        (any_number, "no name of its own"),
        (names_tool, "argument called 'tool'"),
        (unknown_type, "cannot be read"),
        (7, "is no tool"),
        ("weather", "is no tool"),
    ],
)
def test_what_no_model_could_call_is_refused(function: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        tool_of(function)


@pytest.mark.parametrize("name", ["two words", "1st", "über", "x" * 65, "a.b"])
def test_names_that_servers_refuse_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="can be called"):
        tool_of(weather, name=name)


async def test_arguments_may_have_names_that_pydantic_uses() -> None:
    def odd(
        model_config: Annotated[int, Field(ge=0)], schema: str = "s", _x: int = 1
    ) -> list[object]:
        """Has odd names."""
        return [model_config, schema, _x]

    result = await tool_of(odd).call({"model_config": 3, "_x": 2}, NOWHERE)

    assert result == '[3, "s", 2]'


def test_a_tool_stays_itself() -> None:
    tool = tool_of(weather)

    assert tool_of(tool) is tool
    assert isinstance(tool, Tool)
    described = tool.described()
    assert described["function"]["parameters"] == tool.schema
