"""The sections of the settings that say where knowledge is kept and how it is found."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from reverie.settings.section import Section
from reverie.settings.values import (
    MOST_SECONDS,
    Headers,
    Key,
    Neo4jAddress,
    ServerAddress,
    distinct,
)


class Neo4jSettings(Section):
    """The Neo4j that holds the graph, instead of a file under home."""

    shorthand: ClassVar[str] = "uri"

    uri: Neo4jAddress | None = Field(
        default=None,
        description="Address, as in neo4j://HOST:7687 or bolt://HOST:7687; null: a file under home",
    )
    user: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        default="neo4j", description="User, when there is a password"
    )
    password: Key | None = Field(default=None, description="Its password; null: none is asked for")
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="Database; null: the user's own"
    )
    connect_seconds: float = Field(
        default=5.0, gt=0, le=MOST_SECONDS, description="Most seconds to connect"
    )
    query_seconds: float = Field(
        default=30.0,
        gt=0,
        le=MOST_SECONDS,
        description="Most seconds of a query with its retries",
    )


class ChromaSettings(Section):
    """The Chroma that holds vectors."""

    shorthand: ClassVar[str] = "url"

    url: ServerAddress | None = Field(
        default=None,
        description="Address of `chroma run`, as in http://HOST:8000; null: a folder under home",
    )
    headers: Headers = Field(default={}, description="Headers that every request carries")
    seconds: float = Field(
        default=30.0, gt=0, le=MOST_SECONDS, description="Most seconds of one request"
    )


class IngestSettings(Section):
    """How documents are read."""

    chunk_tokens: int = Field(
        default=200,
        ge=16,
        le=100_000,
        description="Most tokens of a chunk",
    )
    most_megabytes: float = Field(
        default=64.0, gt=0, le=100_000, description="Larger files are left out, with a warning"
    )
    exclude: Annotated[tuple[str, ...], AfterValidator(distinct)] = Field(
        default=(), description="Patterns of paths to leave out, as in a .gitignore"
    )
    extract: Literal["nothing", "rules", "model"] = Field(
        default="rules",
        description="What goes into the graph: nothing; what rules find (headings, links, tables,"
        " code, mentions); or also the triplets that the model reads from every chunk, slowly",
    )


class SearchSettings(Section):
    """How ingested documents are found."""

    vector_weight: float = Field(
        default=1.0, ge=0, le=1000, description="Weight of the search by meaning; 0: without it"
    )
    fulltext_weight: float = Field(
        default=1.0, ge=0, le=1000, description="Weight of the search by words; 0: without it"
    )
    graph_weight: float = Field(
        default=20.0,
        ge=0,
        le=1000,
        description="Weight of the walk on the graph, which begins at what the others found; 0: "
        "without it",
    )
    rerank: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        description="Cross-encoder that orders the best hits anew: a folder, or a name that "
        "sentence-transformers knows; null: none",
    )


class MemorySettings(Section):
    """What is remembered of past runs and conversations."""

    half_life_days: float = Field(
        default=30.0, gt=0, le=36_500, description="Days after which a memory counts half"
    )
    most: int = Field(
        default=10_000, ge=1, le=100_000_000, description="Most memories; the weakest go first"
    )
    remember_runs: bool = Field(
        default=True, description="Remember every answered question with its answer"
    )
