"""LlamaIndex's store over Reverie's SQLite graph, beside LlamaIndex's own in memory."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from reverie.evals.bench import Cell, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.llama_index import ReveriePropertyGraphStore

_NODES: Final = 2000
_RELATIONS: Final = 10_000
_ASKED: Final = 20


def run(repeats: int, progress: Progress) -> Report:
    """2,000 nodes and 10,000 relations into both, and what is near 20 of the nodes."""
    rows = []
    for name, measure in (("SimplePropertyGraphStore", _simple), ("Reverie, SQLite", _reverie)):
        progress(f"{name}, {repeats} times")
        taken = [measure(seed) for seed in range(repeats)]
        rows.append((name, *(statistics.median(column) for column in zip(*taken, strict=True))))
    table = Table(
        f"{_NODES} nodes, {_RELATIONS} relations",
        (
            "store",
            "nodes, s",
            "relations, s",
            "get_rel_map depth 2, ms",
            "get_triplets, ms",
            "kept on disk, MB",
        ),
        tuple(rows),
    )
    facts: dict[str, Cell] = {
        "repeats": repeats,
        "processor": processor(),
        "load": load_average(),
    }
    return Report((table,), (), facts)


def _simple(seed: int) -> tuple[float, ...]:
    from llama_index.core.graph_stores import SimplePropertyGraphStore

    return (*_measured(SimplePropertyGraphStore(), seed), 0.0)


def _reverie(seed: int) -> tuple[float, ...]:
    with TemporaryDirectory(prefix="reverie-bench-") as folder:
        path = Path(folder) / "graph.sqlite"
        store = asyncio.run(SqliteGraph.open(path, embedder="none", dimension=8))
        graph = ReveriePropertyGraphStore(store)
        taken = _measured(graph, seed)
        graph.close()
        asyncio.run(store.close())
        return (*taken, path.stat().st_size / 1e6)


def _measured(store: Any, seed: int) -> tuple[float, ...]:
    from llama_index.core.graph_stores.types import EntityNode, Relation

    draw = random.Random(seed)  # noqa: S311  # a graph to measure with, no secret
    names = [f"Thing {number}" for number in range(_NODES)]
    nodes = [EntityNode(name=name, properties={"n": n}) for n, name in enumerate(names)]
    relations = [
        Relation(
            label=f"REL_{draw.randrange(5)}",
            source_id=draw.choice(names),
            target_id=draw.choice(names),
        )
        for _ in range(_RELATIONS)
    ]
    first = _seconds(lambda: store.upsert_nodes(nodes))
    second = _seconds(lambda: store.upsert_relations(relations))
    asked = [store.get(ids=[name]) for name in draw.sample(names, _ASKED)]
    near = [_seconds(partial(store.get_rel_map, some, depth=2)) for some in asked]
    around = [
        _seconds(partial(store.get_triplets, ids=[node.id for node in some])) for some in asked
    ]
    return first, second, 1000 * _middle(near), 1000 * _middle(around)


def _middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
