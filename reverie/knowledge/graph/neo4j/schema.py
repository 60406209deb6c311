"""Reverie's node, constraints and indexes in a Neo4j database, and how they are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reverie.errors import KnowledgeUnavailable
from reverie.knowledge.graph.neo4j.connection import Connection, Transaction
from reverie.knowledge.graph.neo4j.types import TYPES, type_of
from reverie.knowledge.graph.neo4j.words import WORDS_ANALYSER
from reverie.knowledge.graph.records import CAUSES

VERSION: Final = 1

NODE_WORDS: Final = "reverie_node_words"
NODE_VECTORS: Final = "reverie_node_vectors"
CAUSES_VECTORS: Final = "reverie_causes_vectors"

_STATEMENTS: Final = {
    "reverie_store": "CREATE CONSTRAINT reverie_store IF NOT EXISTS "
    "FOR (n:ReverieStore) REQUIRE n.name IS UNIQUE",
    "reverie_node": "CREATE CONSTRAINT reverie_node IF NOT EXISTS "
    "FOR (n:ReverieNode) REQUIRE n.id IS UNIQUE",
    "reverie_source": "CREATE CONSTRAINT reverie_source IF NOT EXISTS "
    "FOR (n:ReverieSource) REQUIRE n.name IS UNIQUE",
    "reverie_alias": "CREATE CONSTRAINT reverie_alias IF NOT EXISTS "
    "FOR (n:ReverieAlias) REQUIRE n.name IS UNIQUE",
    "reverie_alias_node": "CREATE INDEX reverie_alias_node IF NOT EXISTS "
    "FOR (n:ReverieAlias) ON (n.node)",
    "reverie_node_source": "CREATE INDEX reverie_node_source IF NOT EXISTS "
    "FOR (n:ReverieNode) ON (n.source)",
    NODE_WORDS: f"CREATE FULLTEXT INDEX {NODE_WORDS} IF NOT EXISTS "
    "FOR (n:ReverieNode) ON EACH [n.words] "
    f"OPTIONS {{indexConfig: {{`fulltext.analyzer`: '{WORDS_ANALYSER}'}}}}",
}

_KEYS: Final = ("number", "identity", "source", "run")
"""What edges are looked up by."""


async def prepare(connection: Connection, embedder: str, dimension: int) -> set[str]:
    """Makes what is missing: the store's own node, constraints and indexes, but for those of types,
    and returns the types that have theirs. Several processes may do it at once.

    Raises ``KnowledgeUnavailable`` for a newer schema, or vectors of another embedder.
    """

    async def look(tx: Transaction) -> tuple[set[str], list[list[object]]]:
        # SHOW cannot be combined with other queries.
        names = await tx.rows("SHOW INDEXES YIELD name RETURN collect(name)")
        store = await tx.rows(
            "MATCH (s:ReverieStore {name: 'reverie'}) RETURN s.schema, s.embedder, s.dimension"
        )
        return set(names[0][0]), store

    there, store = await connection.read(look)
    if store:
        schema, *kept = store[0]
        if not isinstance(schema, int) or schema > VERSION:
            raise KnowledgeUnavailable(
                f"The graph in Neo4j was written by a newer Reverie (its schema is version "
                f"{schema}, this one knows {VERSION})",
                hint="Use the Reverie that wrote it (upgrade this one), or another neo4j.database",
            )
        check_embedder(kept, embedder, dimension)
    missing = [query for name, query in _STATEMENTS.items() if name not in there]

    async def make(tx: Transaction) -> None:
        for query in missing:
            await tx.rows(query)

    async def begin(tx: Transaction) -> None:
        await tx.rows(
            "MERGE (s:ReverieStore {name: 'reverie'}) "
            "ON CREATE SET s.schema = $schema, s.edges = 0",
            schema=VERSION,
        )

    if missing:
        await connection.write(make)
    if not store:
        await connection.write(begin)
    await index_vectors(connection, dimension)
    return {name for name in TYPES if {_index(name, key) for key in _KEYS} <= there}


async def index_types(connection: Connection, types: Iterable[str]) -> None:
    """Makes the indexes of types. Each takes some tenths of a second, so a type gets them before
    its first edge is written. That cannot be in the transaction that writes the edge.
    """

    async def make(tx: Transaction) -> None:
        for name in types:
            for key in _KEYS:
                await tx.rows(
                    f"CREATE INDEX {_index(name, key)} IF NOT EXISTS "
                    f"FOR ()-[e:{name}]-() ON (e.{key})"
                )

    await connection.write(make)


def _index(name: str, key: str) -> str:
    return f"reverie_{name.lower()}_{key}"


async def index_vectors(connection: Connection, dimension: int) -> None:
    """Makes the vector indexes for ``dimension`` numbers, anew when they are for another number
    (which they are before the first vector was written; check the embedder first).
    """

    async def look(tx: Transaction) -> dict[str, int | None]:
        rows = await tx.rows(
            "SHOW VECTOR INDEXES YIELD name, options WHERE name STARTS WITH 'reverie_' "
            "RETURN name, options"
        )
        return {name: o["indexConfig"].get("vector.dimensions") for name, o in rows}

    there = await connection.read(look)
    wanted = {NODE_VECTORS: "(v:ReverieNode)", CAUSES_VECTORS: f"()-[v:{type_of(CAUSES)}]-()"}
    wrong = [name for name in wanted if there.get(name) != dimension]

    async def make(tx: Transaction) -> None:
        for name in wrong:
            await tx.rows(f"DROP INDEX {name} IF EXISTS")
        for name in wrong:
            await tx.rows(
                f"CREATE VECTOR INDEX {name} IF NOT EXISTS FOR {wanted[name]} ON (v.embedding) "
                f"OPTIONS {{indexConfig: {{`vector.dimensions`: {dimension:d}, "
                # Quantised vectors would be smaller, and cosines wrong by some hundredths.
                "`vector.similarity_function`: 'cosine', `vector.quantization.enabled`: false}}"
            )

    async def wait(tx: Transaction) -> None:
        await tx.rows("CALL db.awaitIndexes(300)")

    if wrong:
        await connection.write(make)
        await connection.read(wait)


def check_embedder(kept: list[object], embedder: str, dimension: int) -> None:
    """``kept``: name and dimension that the store has, None for none. Raises
    ``KnowledgeUnavailable``.
    """
    if kept[0] is not None and kept != [embedder, dimension]:
        raise KnowledgeUnavailable(
            f"The graph in Neo4j holds vectors of the embedder {kept[0]} ({kept[1]} numbers), not "
            f"of {embedder} ({dimension})",
            hint="Vectors of two embedders cannot be compared: use the first one again "
            "(embedder.name), or another neo4j.database",
        )
