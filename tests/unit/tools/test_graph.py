"""The graph tool, over a real store."""

from __future__ import annotations

import pytest

from reverie.errors import ToolFailed
from reverie.knowledge.graph.records import Batch, Edge
from reverie.tools import known_tools
from tests.unit.conftest import ScriptedResources

GRAPH = known_tools()["graph"]  # here: its first use reads files


async def test_it_says_what_is_known_around_a_thing(resources: ScriptedResources) -> None:
    store = await resources.facts()
    await store.write(Batch(edges=[Edge("it bounces on the floor", "links_to", "a noise")]))

    told = (await GRAPH.call({"entity": "The ball"}, resources)).splitlines()

    assert told[-1] == "it bounces on the floor -> links to -> a noise"
    assert "a ball -> you drop a ball -> it falls when dropped" in told[:-1]
    assert not any("stone" in line for line in told)


async def test_words_of_the_name_will_do(resources: ScriptedResources) -> None:
    assert "it sinks" in await GRAPH.call({"entity": "water sinks"}, resources)


async def test_what_is_not_known_is_a_failure_and_no_answer(resources: ScriptedResources) -> None:
    with pytest.raises(ToolFailed, match="nothing is known of zebra"):
        await GRAPH.call({"entity": "zebra"}, resources)
    with pytest.raises(ToolFailed, match="the entity is empty"):
        await GRAPH.call({"entity": " "}, resources)
