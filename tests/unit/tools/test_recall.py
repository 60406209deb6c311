"""The recall tool, over a real memory."""

from __future__ import annotations

import pytest

from reverie.errors import ToolFailed
from reverie.tools import known_tools
from tests.unit.conftest import ScriptedResources

RECALL = known_tools()["recall"]  # here: its first use reads files


async def test_it_says_what_was_learnt_and_when(resources: ScriptedResources) -> None:
    episodes = await resources.episodes()
    await episodes.remember("Ada likes\ngreen tea", at=1_700_000_000.0)

    told = await RECALL.call({"query": "green tea"}, resources)

    assert told == "2023-11-14: Ada likes green tea"
    assert (await episodes.latest())[0].uses == 1


async def test_nothing_remembered_is_a_failure_and_no_answer(resources: ScriptedResources) -> None:
    with pytest.raises(ToolFailed, match="nothing about that is remembered"):
        await RECALL.call({"query": "zebra"}, resources)


@pytest.mark.parametrize("query", ["", "  ", "x" * 1001])
async def test_a_query_is_some_words(query: str, resources: ScriptedResources) -> None:
    with pytest.raises(ToolFailed, match="query"):
        await RECALL.call({"query": query}, resources)
