"""The typed settings: one frozen section per part of Reverie.

Every field has a description, a default and bounds; ``configs/reverie.yaml`` shows them all.
Constructing :class:`Settings` reads nothing but its arguments: files and environment variables are
:func:`reverie.settings.load_settings`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from platformdirs import user_data_path
from pydantic import AfterValidator, Field, field_serializer, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from reverie.settings.knowledge import (
    ChromaSettings,
    IngestSettings,
    MemorySettings,
    Neo4jSettings,
    SearchSettings,
)
from reverie.settings.section import Section, listed
from reverie.settings.values import (
    MOST_SECONDS,
    MOST_TOKENS,
    Device,
    DType,
    ExpertName,
    Folder,
    Headers,
    Key,
    ModelName,
    Name,
    Proxy,
    VllmDType,
    distinct,
    patterns,
)

_USER = re.compile(r"//[^/]*@")


def default_home() -> Path:
    """The platform's data folder for Reverie (on Linux ``~/.local/share/reverie``)."""
    return user_data_path("reverie", appauthor=False)


class BackendSettings(Section):
    """A model, and what reaching its server needs."""

    shorthand: ClassVar[str] = "name"

    name: ModelName = Field(
        default="smollm2",
        description="The packaged model, a folder with a model, a server's address "
        "(http://HOST:PORT/v1, or with #MODEL behind it), or PRESET:MODEL as in ollama:qwen3",
    )
    api_key: Key | None = Field(default=None, description="Key for a server that wants one")
    headers: Headers = Field(
        default={}, description="Headers that every request to the server carries"
    )
    ca_bundle: Folder | None = Field(
        default=None, description="PEM file of certificates to trust beside the system's"
    )
    proxy: Proxy | None = Field(
        default=None,
        repr=False,
        description="Address of a proxy; null: none, whatever HTTP_PROXY says",
    )
    window: int | None = Field(
        default=None, ge=64, le=100_000_000, description="Context window in tokens; null: asked for"
    )
    price_in: float | None = Field(
        default=None, ge=0, description="Price of a million prompt tokens; null: none"
    )
    price_out: float | None = Field(
        default=None, ge=0, description="Price of a million written tokens; null: none"
    )

    @field_serializer("proxy", when_used="json-unless-none")
    def _without_password(self, proxy: str) -> str:
        """As it may be shown; ``proxy`` itself keeps the password."""
        return _USER.sub("//**********@", proxy)


class ModelSettings(BackendSettings):
    """The language model: the backend that is asked first."""

    cache: Folder | None = Field(
        default=None, description="Folder for downloaded models; null: models/ under home"
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="CPU threads; 0: one per physical core"
    )
    dtype: DType = Field(default="auto", description="Number format of the weights in memory")
    device: Device = Field(
        default="cpu", description="Where the embedded engine computes: cpu or cuda"
    )
    max_batch: int = Field(
        default=8, ge=1, le=512, description="Most requests computed in one batch"
    )


class EmbedderSettings(BackendSettings):
    """What turns texts into vectors."""

    name: ModelName = Field(
        default="minilm",
        description="minilm, the packaged model, or a server's address (http://HOST:PORT/v1#MODEL)",
    )


class RuntimeSettings(Section):
    """Which backends may be used."""

    enable_gpt51_codex_preview: bool = Field(
        default=True,
        description="Ask the preview backend first; only when preview.api_key is set",
    )


class PreviewSettings(Section):
    """The hosted preview backend. Nothing is sent to it without a key in ``api_key``."""

    api_key: Key | None = Field(
        default=None, description="Its key; OPENAI_API_KEY is never taken for it"
    )
    name: ModelName = Field(
        default="openai:gpt-5.1-codex", description="The model and where it is served"
    )


class ServerSettings(Section):
    """How patient Reverie is with model servers."""

    connect_seconds: float = Field(
        default=5.0, gt=0, le=MOST_SECONDS, description="Most seconds to connect"
    )
    idle_seconds: float = Field(
        default=60.0, gt=0, le=MOST_SECONDS, description="Longest silence of a server in a stream"
    )
    deadline_seconds: float = Field(
        default=600.0, gt=0, le=MOST_SECONDS, description="Longest call, repeated attempts included"
    )
    retries: int = Field(
        default=3, ge=0, le=100, description="Most repetitions of a call that failed in passing"
    )
    connections: int = Field(
        default=256, ge=1, le=100_000, description="Most connections to one server at a time"
    )
    failures: int = Field(
        default=3, ge=1, le=1000, description="Failures in a row after which a backend is left out"
    )
    cooldown_seconds: float = Field(
        default=30.0,
        gt=0,
        le=MOST_SECONDS,
        description="How long, before one call tries it again",
    )


class VllmSettings(Section):
    """The vLLM that ``reverie up`` starts."""

    shorthand: ClassVar[str] = "python"

    python: Folder | None = Field(
        default=None,
        description="Python of an environment with vLLM; null: .venv-vllm, or this environment",
    )
    host: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        default="127.0.0.1", description="Address that it listens on"
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port; 0: any free one; null: the first free from 8811",
    )
    window: int | None = Field(
        default=None,
        ge=64,
        le=100_000_000,
        description="Context window in tokens; null: the model's",
    )
    dtype: VllmDType = Field(default="auto", description="Number format of the weights in memory")
    kv_cache_gb: int = Field(
        default=2, ge=1, le=4096, description="On a CPU: GiB of memory for keys and values"
    )
    tool_parser: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default="hermes", description="How it reads tool calls, by vLLM's name; null: no tools"
    )
    start_seconds: float = Field(
        default=1800.0, gt=0, le=MOST_SECONDS, description="Longest time until it answers"
    )


class BudgetSettings(Section):
    """The limits of one run."""

    shorthand: ClassVar[str] = "tokens"

    tokens: int = Field(
        default=8000, gt=0, le=MOST_TOKENS, description="Most tokens of a run, prompts included"
    )
    seconds: float = Field(
        default=120.0, gt=0, le=MOST_SECONDS, description="Most wall-clock seconds of a run"
    )
    calls: int = Field(default=32, gt=0, le=1_000_000, description="Most model calls of a run")
    money: float | None = Field(
        default=None,
        gt=0,
        description="Most money of a run, in the currency of the models' prices; null: no limit",
    )


class ReasonSettings(Section):
    """How a question is reasoned about."""

    strategy: Name = Field(
        default="auto", description="The strategy to use; auto: chosen from what worked before"
    )
    strategies: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)] = Field(
        default=("direct", "reflect", "chain_of_thought", "tools", "self_consistency", "dream"),
        description="The strategies that auto may choose between",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**32 - 1,
        description="Seed of every random choice; null: a fresh one",
    )
    temperature: float = Field(
        default=0.7, ge=0, le=2, description="Sampling temperature; 0: always the likeliest token"
    )
    answer_tokens: int = Field(default=96, ge=8, le=100_000, description="Most tokens of an answer")
    thought_tokens: int = Field(
        default=160, ge=8, le=1_000_000, description="Most tokens of reasoning before an answer"
    )
    accept_above: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Accept an attempt from this calibrated confidence on; below, try another",
    )
    augment_below: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Ask again with a reasoning template below this confidence of the model's own",
    )
    samples: int = Field(default=5, ge=2, le=64, description="Most samples of self-consistency")
    best_of: int = Field(default=4, ge=2, le=64, description="Candidates of best-of-n")
    agents: int = Field(default=3, ge=2, le=16, description="Agents of a panel")
    consensus: Literal["vote", "discuss"] = Field(
        default="vote", description="How a panel decides: at once, or after reading each other"
    )
    tools: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(
        default=("calculator", "facts"), description="What the tools strategy may call"
    )
    tool_rounds: int = Field(
        default=4, ge=1, le=32, description="Most tool calls in a row; 1: the result is the answer"
    )
    ask_before: Annotated[tuple[Literal["tool", "abstain"], ...], AfterValidator(distinct)] = Field(
        default=(),
        description="When to ask a person: tool (with side effects), abstain",
    )
    prompts: Folder | None = Field(
        default=None, description="Folder with prompts that replace packaged ones of the same name"
    )


class LearnSettings(Section):
    """How outcomes move the choice of strategies."""

    token_price: float = Field(
        default=0.02, ge=0, le=1, description="How much score 1,000 tokens are worth"
    )
    confidence_weight: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Weight of a calibrated confidence where no score is given; 0: never",
    )
    memory: int = Field(
        default=1000,
        ge=10,
        le=10_000_000,
        description="Outcomes after which an old one counts about a third",
    )


class RunsSettings(Section):
    """Where runs are kept, so that they can be resumed."""

    postgres: Key | None = Field(
        default=None,
        description="Address of a PostgreSQL database for checkpoints, as in "
        "postgresql://user:password@host/name; null: a file under home",
    )
    durability: Literal["sync", "exit"] = Field(
        default="sync",
        description="sync: every step is stored before the next; exit: only the end, which cannot "
        "be resumed",
    )
    keep: int = Field(
        default=1000, ge=1, le=10_000_000, description="Finished runs that stay resumable"
    )


class TraceSettings(Section):
    """What every run records of itself."""

    keep: int = Field(
        default=1000, ge=0, le=10_000_000, description="Traces on disk, oldest go first; 0: none"
    )
    prompts: bool = Field(default=True, description="Traces on disk hold prompts and replies")
    redact: Annotated[tuple[str, ...], AfterValidator(patterns)] = Field(
        default=(), description="Regular expressions; what matches is blotted out on disk"
    )
    otel: bool = Field(
        default=False,
        description="Send OpenTelemetry spans, to where OTEL_EXPORTER_OTLP_ENDPOINT says",
    )
    otel_prompts: bool = Field(default=False, description="Spans hold prompts and replies")


class DreamSettings(Section):
    """The parallel branches of the dream strategy."""

    branches: int = Field(default=4, ge=1, le=64, description="Dreams per question")
    experts: Annotated[tuple[ExpertName, ...], Field(min_length=1), AfterValidator(distinct)] = (
        Field(
            default=("spatial", "temporal", "causal", "abstract"),
            description="The lenses to dream through, taken in turn",
        )
    )
    max_tokens: int = Field(default=96, ge=8, le=100_000, description="Most tokens of one dream")
    seconds: float | None = Field(
        default=None,
        gt=0,
        le=MOST_SECONDS,
        description="Most seconds of one dream; null: what the budget has left",
    )
    abstain_below: float = Field(
        default=0.2, ge=0, le=1, description="Abstain when the best dream scores below this"
    )


class GroundSettings(Section):
    """The facts that dreams are grounded in."""

    min_similarity: float = Field(
        default=0.5, ge=-1, le=1, description="Least cosine similarity of a fact to the question"
    )
    max_facts: int = Field(
        default=3, ge=0, le=64, description="Most facts per question; 0 switches grounding off"
    )
    tokens: int = Field(default=200, ge=1, le=100_000, description="Most tokens of all the facts")


class Settings(BaseSettings):
    """Everything that can be set, in sections."""

    model_config = SettingsConfigDict(
        env_prefix="REVERIE_",
        env_nested_delimiter="_",
        env_nested_max_split=1,  # REVERIE_DREAM_MAX_TOKENS is dream.max_tokens
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # what is wrong may be a key
    )

    home: Folder = Field(
        default_factory=default_home,
        description="Folder for everything Reverie stores; null: the platform's data folder",
    )
    model: ModelSettings = ModelSettings()
    backends: tuple[BackendSettings, ...] = Field(
        default=(), description="Models asked in turn when the first does not answer"
    )
    runtime: RuntimeSettings = RuntimeSettings()
    preview: PreviewSettings = PreviewSettings()
    server: ServerSettings = ServerSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    vllm: VllmSettings = VllmSettings()
    budget: BudgetSettings = BudgetSettings()
    reason: ReasonSettings = ReasonSettings()
    learn: LearnSettings = LearnSettings()
    runs: RunsSettings = RunsSettings()
    trace: TraceSettings = TraceSettings()
    dream: DreamSettings = DreamSettings()
    ground: GroundSettings = GroundSettings()
    neo4j: Neo4jSettings = Neo4jSettings()
    chroma: ChromaSettings = ChromaSettings()
    ingest: IngestSettings = IngestSettings()
    search: SearchSettings = SearchSettings()
    memory: MemorySettings = MemorySettings()

    @property
    def models_folder(self) -> Path:
        """Where downloaded models lie: ``model.cache``, or ``models`` under ``home``."""
        return self.model.cache or self.home / "models"

    @field_validator("home", mode="before")
    @classmethod
    def _default_for_null(cls, value: object) -> object:
        return default_home() if value is None else value

    @field_validator("backends", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """Names separated by commas, as a variable gives them, or null for none."""
        if isinstance(value, str):
            return () if value.lower() in ("none", "null") else listed(value)
        return () if value is None else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments only, so that an embedding application decides what is read."""
        return (init_settings,)


def section_types() -> Mapping[str, type[Section]]:
    """The sections by name."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
