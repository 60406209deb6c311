"""Which tools there are: Reverie's, those of other packages, and the application's own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from reverie.errors import ConfigError
from reverie.tools import find_tool, known_tools, registry, tool, tool_of

CALCULATOR = known_tools()["calculator"]  # here: its first use reads files
NOWHERE: Any = None
"""Knowledge that no tool here asks for."""


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten behind it."""
    known_tools()
    monkeypatch.setattr(registry, "_tools", dict(registry._tools))
    known_tools.cache_clear()
    yield
    known_tools.cache_clear()


def entry_points(value: str) -> EntryPoints:
    return EntryPoints([EntryPoint("mine", value, registry.ENTRY_POINTS)])


def test_the_calculator_and_the_facts_are_there() -> None:
    known = known_tools()

    assert {"calculator", "facts"} <= known.keys()
    assert not any(t.side_effects for t in known.values())
    assert all(len(t.examples) == 2 for t in known.values())
    for one in known.values():
        for example in one.examples:
            one.check(example.arguments)


async def test_the_calculators_examples_are_right() -> None:
    for example in CALCULATOR.examples:
        assert await CALCULATOR.call(example.arguments, NOWHERE) == example.result


def test_a_package_of_ones_own_adds_tools(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = entry_points("tests.unit.tools.own_tools")
    monkeypatch.setattr(registry, "entry_points", lambda group: found.select(group=group))

    assert find_tool("shout", {}).description == "Says it loudly."


def test_a_package_that_cannot_be_imported_is_named(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = entry_points("tests.unit.tools.not_there")
    monkeypatch.setattr(registry, "entry_points", lambda group: found.select(group=group))

    with pytest.raises(ConfigError, match=r"tests\.unit\.tools\.not_there cannot be loaded"):
        known_tools()


def test_an_unknown_tool_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="calculater") as caught:
        find_tool("calculater", {})

    assert caught.value.hint.startswith("did you mean calculator?")


def test_two_of_one_name_are_refused(fresh: None) -> None:
    def calculator() -> None:
        """Another one."""

    with pytest.raises(ValueError, match="two tools"):
        tool(side_effects=False)(calculator)


def test_an_application_may_replace_a_tool_for_itself() -> None:
    def calculator(expression: str) -> str:
        """Guesses."""
        return expression

    own = tool_of(calculator)

    assert find_tool("calculator", {"calculator": own}) is own
    assert find_tool("calculator", {}) is known_tools()["calculator"]
