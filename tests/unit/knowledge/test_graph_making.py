"""Records that are made in a fraction of the time are the same records."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from reverie.knowledge.graph.records import Batch, Edge, Node, Span
from reverie.knowledge.graph.sqlite import SqliteGraphCore
from reverie.knowledge.graph.sqlite.making import maker

RECORDS = [
    Span("notes.md", 3, 4, 7),
    Node("ball", "entity", "a ball", "round", "notes.md", {"colour": "red"}),
    Edge("a", "causes", "b", "acts", span=Span("notes.md"), run="r", valid_from=1.5, id="9"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_what_is_made_is_the_record_itself(record: Any) -> None:
    names = [field.name for field in dataclasses.fields(record)]
    make = maker(type(record))

    made = make(*(getattr(record, name) for name in names))

    assert type(made) is type(record)
    assert made == record
    assert repr(made) == repr(record)
    assert copy.deepcopy(made) == record
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, names[0], "another")
    with pytest.raises((AttributeError, TypeError)):
        made.anything = 1
    with pytest.raises(TypeError):
        make("too few")


@pytest.mark.parametrize(
    "said",
    [
        {"run": "r"},
        {"branch": 0},
        {"expert": "e"},
        {"model": "m"},
        {"confidence": 0.0},
        {"valid_to": 4e9},
        {"span": Span("book.pdf", page=2)},
        {"span": Span("notes.md", 3, 4)},
        {"text": "acts", "start_label": "A", "end_label": "B", "source": "s", "weight": 0.25},
        {},
    ],
    ids=str,
)
def test_an_edge_is_the_same_by_every_way_of_reading(tmp_path: Path, said: dict[str, Any]) -> None:
    written = Edge("a", "links_to", "b", valid_from=1.0 + 1e-9, **said)
    core = SqliteGraphCore(tmp_path / "graph.sqlite", embedder="test", dimension=8)
    core.write(Batch(edges=[Edge("b", "links_to", "c", run="other"), written]))

    around = core.neighbourhood(["a"], hops=2).edges
    path = core.shortest_path("a", "b")

    assert path is not None
    assert around == core.edges()
    assert around[1] == path.edges[0]
    assert around[1] == dataclasses.replace(
        written,
        id=around[1].id,
        start_label=written.start_label or "a",
        end_label=written.end_label or "b",
    )
    core.close()
