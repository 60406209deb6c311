"""What is found by meaning, and by words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reverie.errors import ConfigError
from reverie.knowledge.graph import GraphStore
from reverie.knowledge.graph.records import Batch, Node
from tests.contract.graph_examples import (
    DIMENSION,
    OneStore,
    axis,
    causes,
    chunk,
    link,
    thing,
)


class Searching(OneStore):
    async def test_similar_triplets(self, store: GraphStore) -> None:
        cosines = (0.9, 0.6, 0.3)
        edges = [
            *(causes(f"thing {n}", "acts", f"result {n}") for n in range(3)),
            causes("a guess", "acts", "result", status="hypothesis"),
            link("ball", "sun"),
        ]
        vectors = {n: axis(0, towards=n + 1, cosine=c) for n, c in enumerate(cosines)}
        ids = await store.write(
            Batch(edges=edges, edge_vectors={**vectors, 3: axis(0), 4: axis(0)})
        )
        found = await store.similar(axis(0))
        assert [(m.id, m.triplet.what) for m in found] == [(ids[0], "thing 0"), (ids[1], "thing 1")]
        assert [m.similarity for m in found] == pytest.approx([0.9, 0.6], abs=1e-4)
        assert [m.id for m in await store.similar(axis(0), minimum=0.0)] == ids[:3]
        assert [m.id for m in await store.similar(axis(0), limit=1)] == ids[:1]
        assert await store.similar(axis(0), limit=0) == []
        assert await store.similar(axis(0), statuses=[]) == []
        guesses = await store.similar(axis(0), statuses=["hypothesis"])
        assert [(m.id, m.triplet.status) for m in guesses] == [(ids[3], "hypothesis")]
        assert guesses[0].similarity == pytest.approx(1.0, abs=1e-4)
        both = await store.similar(axis(0), statuses=["fact", "hypothesis"])
        assert [m.id for m in both] == [ids[3], ids[0], ids[1]]
        # Longer vectors mean the same direction.
        assert [m.id for m in await store.similar(7 * axis(0))] == ids[:2]

    async def test_no_statement_twice(self, store: GraphStore) -> None:
        edges = [
            causes("ball", "is dropped", "it falls", run=f"run-{n}", start_label=label)
            for n, label in enumerate(("a ball", "The ball", "ball", "ball"))
        ]
        more = [causes("ice", "is warm", "it melts")]
        vectors = {**{n: axis(0) for n in range(4)}, 4: axis(0, towards=1, cosine=0.7)}
        await store.write(Batch(edges=[*edges, *more], edge_vectors=vectors))
        found = await store.similar(axis(0), limit=2)
        assert [m.triplet.result for m in found] == ["it falls", "it melts"]

    async def test_many_that_do_not_count(self, store: GraphStore) -> None:
        """What is sought lies behind much that is nearer, but of another status or ended."""
        near = [causes("x", f"does {n}", "y", status="hypothesis") for n in range(60)]
        ended = [causes("x", f"did {n}", "y", valid_from=1.0, valid_to=2.0) for n in range(60)]
        far = [causes("far", "does", "it")]
        vectors = {
            n: axis(0, towards=1 + n % 5, cosine=0.95 - n / 1000) for n in range(len(near + ended))
        }
        vectors[120] = axis(0, towards=9, cosine=0.55)
        ids = await store.write(Batch(edges=[*near, *ended, *far], edge_vectors=vectors))
        assert [m.id for m in await store.similar(axis(0), limit=3)] == ids[-1:]

    async def test_similar_nodes(self, store: GraphStore) -> None:
        nodes = [chunk(1), chunk(2), thing("ball"), thing("sun")]
        vectors = {
            "chunk:1": axis(0, towards=1, cosine=0.5),
            "chunk:2": axis(0, towards=1, cosine=-0.5),
            "ball": axis(0, towards=1, cosine=0.8),
        }
        await store.write(Batch(nodes, node_vectors=vectors))
        found = await store.similar_nodes(axis(0))
        assert [f.node for f in found] == [thing("ball"), chunk(1)]
        assert [f.score for f in found] == pytest.approx([0.8, 0.5], abs=1e-4)
        chunks = await store.similar_nodes(axis(0), kinds=["chunk"], minimum=-1)
        assert [f.node.id for f in chunks] == ["chunk:1", "chunk:2"]
        assert [f.node.id for f in await store.similar_nodes(axis(0), limit=1)] == ["ball"]
        assert await store.similar_nodes(axis(0), limit=0) == []
        await store.write(Batch([thing("ball")], node_vectors={"ball": axis(3)}))
        assert [f.node.id for f in await store.similar_nodes(axis(3), minimum=0.9)] == ["ball"]

    async def test_vectors_agree_with_numpy(self, store: GraphStore) -> None:
        random = np.random.default_rng(5)
        vectors = random.normal(size=(300, DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        nodes = [Node(f"chunk:{n}", "chunk", f"{n}") for n in range(300)]
        await store.write(
            Batch(nodes, node_vectors=dict(zip((n.id for n in nodes), vectors, strict=True)))
        )
        for query in random.normal(size=(5, DIMENSION)).astype(np.float32):
            cosines = vectors @ (query / np.linalg.norm(query))
            best = np.argsort(-cosines)[:10]
            found = await store.similar_nodes(query, minimum=-1)
            assert [f.node.id for f in found] == [f"chunk:{n}" for n in best]
            assert [f.score for f in found] == pytest.approx(cosines[best].tolist(), abs=1e-4)

    async def test_vectors_that_do_not_fit(self, store: GraphStore) -> None:
        wrong: list[Any] = [
            np.ones(DIMENSION + 1),
            np.ones((1, DIMENSION)),
            np.full(DIMENSION, np.nan),
        ]
        for vector in wrong:
            with pytest.raises(ConfigError):
                await store.similar(vector)
            with pytest.raises(ConfigError):
                await store.similar_nodes(vector)

    async def test_find(self, store: GraphStore) -> None:
        await store.write(
            Batch(
                [
                    chunk(1, "The ball falls when it is dropped."),
                    chunk(2, "Ice lies in the sun and turns to water; so much for snow"),
                    thing("snow ball", kind="outcome"),
                    thing("Zürich"),
                ]
            )
        )
        found = await store.find("ball")
        assert {f.node.id for f in found} == {"chunk:1", "snow ball"}
        assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
        best, *others = await store.find("SNOW, ball!")
        assert best.node == thing("snow ball", kind="outcome")
        assert {f.node.id for f in others} == {"chunk:1", "chunk:2"}
        assert [f.node.id for f in await store.find("ball", kinds=["chunk"])] == ["chunk:1"]
        assert len(await store.find("ball snow", limit=2)) == 2
        assert await store.find("ball", limit=0) == []
        assert [f.node.id for f in await store.find("zurich")] == ["Zürich"]
        assert await store.find("nothing like that") == []
        for nothing in ("", "  ", "!?", "*", '"'):
            assert await store.find(nothing) == []

    async def test_words_of_code(self, store: GraphStore) -> None:
        await store.write(Batch([chunk(1, "calls os.path_join(x1)"), chunk(2, "something else")]))
        for words in ("join", "os", "x1", "os.path_join", "path-join"):
            assert [f.node.id for f in await store.find(words)] == ["chunk:1"], words

    async def test_new_words_replace_old_ones(self, store: GraphStore) -> None:
        await store.write(Batch([chunk(1, "a red house")]))
        await store.write(Batch([chunk(1, "a blue boat")]))
        assert await store.find("house") == []
        assert [f.node.id for f in await store.find("boat")] == ["chunk:1"]
