"""The facts tool, over a real store."""

from __future__ import annotations

import pytest

from reverie.errors import ToolFailed
from reverie.tools import known_tools
from tests.unit.conftest import ScriptedResources

FACTS_TOOL = known_tools()["facts"]  # here: its first use reads files


async def test_it_finds_facts_by_meaning(resources: ScriptedResources) -> None:
    found = await FACTS_TOOL.call({"query": "you drop a ball"}, resources)

    assert "a ball -> you drop a ball -> it falls when dropped" in found.splitlines()


async def test_nothing_found_is_a_failure_and_no_answer(resources: ScriptedResources) -> None:
    with pytest.raises(ToolFailed, match="nothing is known about that"):
        await FACTS_TOOL.call({"query": "zebra"}, resources)


@pytest.mark.parametrize("query", ["", "  ", "x" * 1001])
async def test_a_query_is_some_words(query: str, resources: ScriptedResources) -> None:
    with pytest.raises(ToolFailed, match="query"):
        await FACTS_TOOL.call({"query": query}, resources)
