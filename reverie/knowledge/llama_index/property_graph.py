"""LlamaIndex's ``PropertyGraphStore`` over any graph store of Reverie."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from llama_index.core.graph_stores.types import (
    LabelledNode,
    PropertyGraphStore,
    Relation,
    Triplet,
)
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from reverie.errors import ConfigError
from reverie.knowledge.graph.records import Batch, Edge, EdgeFilter, Node, Status, Subgraph
from reverie.knowledge.graph.store import GraphStore
from reverie.knowledge.llama_index.records import (
    SOURCE_KEY,
    WRITER,
    chosen,
    llama_node,
    llama_relation,
    new_key,
    possible_keys,
    relation_name,
    stored_edge,
    stored_node,
    text_node,
)
from reverie.models.loop_thread import LoopThread

_log = logging.getLogger(__name__)

_AT_ONCE = 2000
_MOST_NODES = 100_000
_MOST_EDGES = 1_000_000


class ReveriePropertyGraphStore(PropertyGraphStore):
    """A ``PropertyGraphIndex`` on Reverie's graph: in SQLite or Neo4j, with what was ingested.

        graph = ReveriePropertyGraphStore(store)
        index = PropertyGraphIndex.from_existing(graph, embed_model=..., llm=...)

    ``store`` has to be opened for the model that embeds. Synchronous methods run in a thread with
    an event loop of its own, asynchronous ones where they are awaited. ``close`` ends the thread,
    and leaves the store open.

    Names of entities are the same in any case ("Ada" and "ada"). Of a relation's properties only
    the chunk that it was read from is kept: the store has no others, and LlamaIndex's own
    extractors put nothing else there but the chunk's metadata, which the chunk has.
    """

    supports_structured_queries: bool = False
    supports_vector_queries: bool = True

    def __init__(self, store: GraphStore, *, statuses: Sequence[Status] = ("fact",)) -> None:
        """``statuses`` are what is read; what is written is a fact."""
        self._store = store
        self._statuses = tuple(statuses)
        self._thread = LoopThread("reverie-llama-index")
        self._warned = False
        self.supports_structured_queries = hasattr(store, "cypher")

    @property
    def client(self) -> GraphStore:
        """The store itself."""
        return self._store

    def close(self) -> None:
        """Ends the thread of the synchronous methods; the store stays open."""
        self._thread.close()

    # -- reading ---------------------------------------------------------------------------------

    def get(
        self, properties: dict[str, Any] | None = None, ids: list[str] | None = None
    ) -> list[LabelledNode]:
        """The nodes with these ids that have one of these properties; without ids, of all nodes,
        which reads the whole store.
        """
        return self._thread.run(self.aget(properties, ids))

    async def aget(
        self, properties: dict[str, Any] | None = None, ids: list[str] | None = None
    ) -> list[LabelledNode]:
        """As ``get``."""
        return [llama_node(node) for node in await self._found(properties, ids)]

    def get_triplets(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> list[Triplet]:
        """Triplets that agree with all that is given; none when nothing is."""
        return self._thread.run(self.aget_triplets(entity_names, relation_names, properties, ids))

    async def aget_triplets(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> list[Triplet]:
        """As ``get_triplets``."""
        if not (entity_names or relation_names or properties or ids):
            return []
        found = await self._edges(entity_names, relation_names, ids)
        every = await self._triplets(found)
        return [triplet for _, triplet in every if not properties or _has(triplet, properties)]

    def get_rel_map(
        self,
        graph_nodes: list[LabelledNode],
        depth: int = 2,
        limit: int = 30,
        ignore_rels: list[str] | None = None,
    ) -> list[Triplet]:
        """The triplets within ``depth`` steps of the nodes, nearest first."""
        return self._thread.run(self.aget_rel_map(graph_nodes, depth, limit, ignore_rels))

    async def aget_rel_map(
        self,
        graph_nodes: list[LabelledNode],
        depth: int = 2,
        limit: int = 30,
        ignore_rels: list[str] | None = None,
    ) -> list[Triplet]:
        """As ``get_rel_map``."""
        keys = [key for node in graph_nodes for key in possible_keys(node.id)]
        near = await self._store.neighbourhood(
            keys,
            hops=depth,
            along=EdgeFilter(statuses=self._statuses),
            limit=len(keys) + max(256, 4 * limit),
        )
        ignored = set(ignore_rels or ())
        triplets = [
            triplet for triplet in _of_subgraph(near, depth) if triplet[1].label not in ignored
        ]
        return triplets[:limit]

    def vector_query(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> tuple[list[LabelledNode], list[float]]:
        """The nodes whose vectors are most similar to the query's, with the cosine."""
        return self._thread.run(self.avector_query(query, **kwargs))

    async def avector_query(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> tuple[list[LabelledNode], list[float]]:
        """As ``vector_query``. Raises ConfigError for filters, and without a vector."""
        if query.query_embedding is None:
            raise ConfigError("A vector query needs query_embedding")
        if query.filters is not None and query.filters.filters:
            raise ConfigError(
                "The graph store filters no vector queries by properties",
                hint="leave the filters out, and filter the nodes that come back",
            )
        scored = await self._store.similar_nodes(
            _unit(query.query_embedding), limit=query.similarity_top_k, minimum=-1.0
        )
        return [llama_node(one.node) for one in scored], [one.score for one in scored]

    def structured_query(self, query: str, param_map: dict[str, Any] | None = None) -> Any:
        """Cypher that reads, where the store is Neo4j; ConfigError elsewhere."""
        return self._thread.run(self.astructured_query(query, param_map))

    async def astructured_query(self, query: str, param_map: dict[str, Any] | None = None) -> Any:
        """As ``structured_query``."""
        cypher = getattr(self._store, "cypher", None)
        if cypher is None:
            raise ConfigError(
                "This graph store has no query language",
                hint="use Neo4j (neo4j.uri), or get_triplets and get_rel_map",
            )
        return await cypher(query, param_map or {})

    def get_schema(self, refresh: bool = False) -> dict[str, Any]:
        """Kinds of nodes and relations, with how many there are."""
        return self._thread.run(self._schema())

    async def aget_schema(self, refresh: bool = False) -> Any:
        """As ``get_schema``."""
        return await self._schema()

    def get_llama_nodes(self, node_ids: list[str]) -> list[BaseNode]:
        """The chunks with these ids as LlamaIndex's text nodes, those that were ingested too."""
        return self._thread.run(self.aget_llama_nodes(node_ids))

    async def aget_llama_nodes(self, node_ids: list[str]) -> list[BaseNode]:
        """As ``get_llama_nodes``."""
        found = map(text_node, await self.aget(ids=node_ids))
        return [node for node in found if node is not None]

    # -- writing ---------------------------------------------------------------------------------

    def upsert_nodes(self, nodes: Sequence[LabelledNode]) -> None:
        """Stores nodes, with their embeddings where they have some."""
        self._thread.run(self.aupsert_nodes(list(nodes)))

    async def aupsert_nodes(self, nodes: list[LabelledNode]) -> None:
        """As ``upsert_nodes``."""
        for start in range(0, len(nodes), _AT_ONCE):
            some = nodes[start : start + _AT_ONCE]
            stored = [stored_node(node) for node in some]
            vectors = {
                made.id: _unit(node.embedding)
                for made, node in zip(stored, some, strict=True)
                if node.embedding is not None
            }
            await self._store.write(Batch(nodes=stored, node_vectors=vectors))

    def upsert_relations(self, relations: list[Relation]) -> None:
        """Stores relations; ends that are no nodes yet become entities."""
        self._thread.run(self.aupsert_relations(relations))

    async def aupsert_relations(self, relations: list[Relation]) -> None:
        """As ``upsert_relations``."""
        self._warn_of(relations)
        for start in range(0, len(relations), _AT_ONCE):
            some = relations[start : start + _AT_ONCE]
            names = list(dict.fromkeys(n for r in some for n in (r.source_id, r.target_id)))
            keys = await self._keys(names)
            absent = [name for name in names if name not in keys]
            keys.update((name, new_key(name)) for name in absent)
            nodes = [Node(keys[name], "entity", name) for name in absent]
            edges = [stored_edge(relation, keys) for relation in some]
            await self._store.write(Batch(nodes=nodes, edges=edges))

    def delete(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> None:
        """Deletes the nodes with these names, ids or properties with their relations, and the
        relations with these names.
        """
        self._thread.run(self.adelete(entity_names, relation_names, properties, ids))

    async def adelete(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> None:
        """As ``delete``. Raises ConfigError, and deletes nothing, when a node or a relation belongs
        to a document that was ingested, or to anything else that LlamaIndex did not write.
        """
        gone: dict[str, Node] = {}
        for found in (
            await self._found(None, [*(entity_names or ()), *(ids or ())]),
            await self._found(properties, None) if properties else [],
        ):
            gone.update((node.id, node) for node in found)
        for node in gone.values():
            if node.source and not node.source.startswith(WRITER):
                raise ConfigError(
                    f"{node.label!r} belongs to {node.source}",
                    hint="delete that source from the library instead",
                )
        edges = await self._edges(None, relation_names, None) if relation_names else []
        for edge in edges:
            if not edge.source.startswith(WRITER):
                raise ConfigError(
                    f"the relation {edge.relation!r} also belongs to {edge.source or 'the graph'}",
                    hint="delete relations of LlamaIndex by the names of their nodes",
                )
        # What has no source yet is given one: the store deletes by source.
        unowned = [node for node in gone.values() if not node.source]
        owned = [Node(n.id, n.kind, n.label, source=f"{WRITER}{n.id}") for n in unowned]
        if owned:
            await self._store.write(Batch(nodes=owned))
        for node in gone.values():
            await self._store.delete_source(node.source or f"{WRITER}{node.id}")
        if edges:
            await self._store.invalidate([edge.id for edge in edges])

    # -- inside ----------------------------------------------------------------------------------

    async def _schema(self) -> dict[str, Any]:
        size = await self._store.size()
        return {"nodes": dict(size.nodes), "relations": dict(size.edges)}

    async def _keys(self, names: Sequence[str]) -> dict[str, str]:
        wanted = list(dict.fromkeys(key for name in names for key in possible_keys(name)))
        return chosen(names, await self._store.nodes(wanted))

    async def _found(
        self, properties: dict[str, Any] | None, ids: Sequence[str] | None
    ) -> list[Node]:
        if ids:
            keys = list(dict.fromkeys((await self._keys(ids)).values()))
            there = await self._store.nodes(keys)
            nodes = [there[key] for key in keys if key in there]
        elif ids is None:
            nodes = [node async for node in self._every()]
        else:
            nodes = []
        return [node for node in nodes if not properties or _any(node.properties, properties)]

    async def _every(self) -> AsyncIterator[Node]:
        async for page in self._store.pages():
            for node in page.nodes:
                yield node

    async def _edges(
        self,
        entity_names: Sequence[str] | None,
        relation_names: Sequence[str] | None,
        ids: Sequence[str] | None,
    ) -> list[Edge]:
        plain = {relation_name(name) for name in relation_names or ()}
        if not (entity_names or ids):
            found: Sequence[Edge] = await self._store.edges(
                relations=tuple(sorted(plain)), statuses=self._statuses, limit=_MOST_EDGES
            )
        else:
            starts = set((await self._keys([*(entity_names or ()), *(ids or ())])).values())
            near = await self._store.neighbourhood(
                sorted(starts),
                hops=1,
                along=EdgeFilter(statuses=self._statuses),
                limit=_MOST_NODES,
            )
            found = [edge for edge in near.edges if edge.start in starts or edge.end in starts]
        # The same relation may be written in several ways: "IS A", "is_a".
        named = set(relation_names or ())
        return [edge for edge in found if not named or edge.text in named or edge.relation in plain]

    async def _triplets(self, edges: Sequence[Edge]) -> list[tuple[Edge, Triplet]]:
        keys = list(dict.fromkeys(key for edge in edges for key in (edge.start, edge.end)))
        there = await self._store.nodes(keys)
        nodes = {key: llama_node(node) for key, node in there.items()}
        return [
            (edge, _triplet(edge, nodes[edge.start], nodes[edge.end]))
            for edge in edges
            if edge.start in nodes and edge.end in nodes
        ]

    def _warn_of(self, relations: Sequence[Relation]) -> None:
        if self._warned or all(set(r.properties) <= {SOURCE_KEY} for r in relations):
            return
        self._warned = True
        _log.warning("properties of relations are not kept, but for the chunk they come from")


def _of_subgraph(near: Subgraph, depth: int) -> list[Triplet]:
    nodes = {key: llama_node(node) for key, node in near.nodes.items()}
    hops = near.hops
    reached = [
        (min(hops.get(edge.start, depth), hops.get(edge.end, depth)), edge)
        for edge in near.edges
        if edge.start in nodes and edge.end in nodes
    ]
    # Edges between two nodes of the last step are a step further.
    ordered = sorted((entry for entry in reached if entry[0] < depth), key=lambda entry: entry[0])
    return [_triplet(edge, nodes[edge.start], nodes[edge.end]) for _, edge in ordered]


def _triplet(edge: Edge, start: LabelledNode, end: LabelledNode) -> Triplet:
    return start, llama_relation(edge, (start, end)), end


def _has(triplet: Triplet, properties: dict[str, Any]) -> bool:
    return any(_any(part.properties, properties) for part in triplet)


def _any(held: Any, wanted: dict[str, Any]) -> bool:
    return any(held.get(name) == value for name, value in wanted.items())


def _unit(vector: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = np.asarray(vector, dtype=np.float32)
    norm = float(np.linalg.norm(values))
    return values / norm if norm > 0 else values
