"""The typed settings: one frozen section per part of Reverie.

Every field has a description, a default and bounds; ``configs/reverie.yaml`` shows them all.
Constructing :class:`Settings` reads nothing but its arguments: files and environment variables are
:func:`reverie.settings.load_settings`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_origin
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ExpertName = Literal["spatial", "temporal", "causal", "abstract"]
DType = Literal["auto", "bfloat16", "float32"]

# Bounds on amounts: larger ones are typing mistakes, and would overflow timers and SQLite's
# 64-bit integers far from the place where they were set.
MOST_TOKENS = 1_000_000_000
MOST_SECONDS = 604_800.0  # one week


def default_home() -> Path:
    """The platform's data folder for Reverie (on Linux ``~/.local/share/reverie``)."""
    return user_data_path("reverie", appauthor=False)


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # ~name of a user that does not exist
        raise ValueError("has a ~ that names no known user") from error


def _path_text(value: object) -> object:
    if value == "":  # Path("") would silently mean the working directory
        raise ValueError("must not be empty")
    return value


def _model_name(name: str) -> str:
    """Check a model's address for what would otherwise fail late, or leak a password."""
    if "://" not in name:
        return str(_absolute(Path(name))) if name.startswith("~") else name
    try:
        address = urlsplit(name)
        host, port = address.hostname, address.port
    except ValueError as error:  # an unclosed [ of an IPv6 address, a port out of range
        raise ValueError(f"is not a valid address: {error}") from error
    if address.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError("must be the address of a server, as in http://127.0.0.1:8000/v1")
    if address.username is not None or address.password is not None:
        raise ValueError("must not hold a user name or password; use model.api_key")
    return name


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must not name anything twice")
    return values


def _proxy(address: str) -> str:
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https", "socks5", "socks5h")
        named = known and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"is not a valid address: {error}") from error
    if not named:
        raise ValueError("must be an address, as in http://proxy.example:3128")
    return address


ModelName = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_model_name)]
Folder = Annotated[Path, BeforeValidator(_path_text), AfterValidator(_absolute)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shorthand: ClassVar[str] = ""
    """The field that a bare value for the whole section stands for."""

    @classmethod
    def expand(cls, value: object) -> object:
        """Turn a bare value (``model: smollm2``) into a mapping (``model: {name: smollm2}``)."""
        bare = isinstance(value, str | int | float) and not isinstance(value, bool)
        return {cls.shorthand: value} if cls.shorthand and bare else value

    @model_validator(mode="before")
    @classmethod
    def _expand_shorthand(cls, value: Any) -> Any:
        return cls.expand(value)

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: Any, info: ValidationInfo) -> Any:
        """Read text from variables and options as YAML would; refuse what is never meant."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:  # pydantic would take it for 1
            # ValueError: the type that pydantic turns into a finding.
            raise ValueError("must not be true or false")
        if not isinstance(value, str):
            return value
        if any(ord(character) < 32 for character in value):
            raise ValueError("must not hold control characters")
        if value.lower() in ("none", "null"):
            return None
        if get_origin(field.annotation) is tuple:
            return [part.strip() for part in value.split(",") if part.strip()]
        return value


class BackendSettings(Section):
    """A model, and what reaching its server needs."""

    shorthand: ClassVar[str] = "name"

    name: ModelName = Field(
        default="smollm2",
        description="The packaged model, a folder with a model, a server's address "
        "(http://HOST:PORT/v1, or with #MODEL behind it), or PRESET:MODEL as in ollama:qwen3",
    )
    api_key: SecretStr | None = Field(default=None, description="Key for a server that wants one")
    headers: dict[str, SecretStr] = Field(
        default={}, description="Headers that the server wants beside"
    )
    ca_bundle: Folder | None = Field(
        default=None, description="PEM file of certificates to trust beside the system's"
    )
    proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(
        default=None, description="Address of a proxy; null: none, whatever HTTP_PROXY says"
    )
    window: int | None = Field(
        default=None, ge=64, le=100_000_000, description="Context window in tokens; null: asked for"
    )


class ModelSettings(BackendSettings):
    """The language model: the backend that is asked first."""

    cache: Folder | None = Field(
        default=None, description="Folder for downloaded models; null: models/ under home"
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="CPU threads; 0: one per physical core"
    )
    dtype: DType = Field(default="auto", description="Number format of the weights in memory")
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

    api_key: SecretStr | None = Field(
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


class ReasonSettings(Section):
    """How a question is reasoned about."""

    strategy: Name = Field(
        default="auto", description="The strategy to use; auto: chosen from what worked before"
    )
    strategies: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)] = Field(
        default=("direct", "chain_of_thought", "dream"),
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


class DreamSettings(Section):
    """The parallel branches of the dream strategy."""

    branches: int = Field(default=4, ge=1, le=64, description="Dreams per question")
    experts: Annotated[tuple[ExpertName, ...], Field(min_length=1), AfterValidator(_distinct)] = (
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
    budget: BudgetSettings = BudgetSettings()
    reason: ReasonSettings = ReasonSettings()
    dream: DreamSettings = DreamSettings()
    ground: GroundSettings = GroundSettings()

    @property
    def models_folder(self) -> Path:
        """Where downloaded models lie: ``model.cache``, or ``models`` under ``home``."""
        return self.model.cache or self.home / "models"

    @field_validator("home", mode="before")
    @classmethod
    def _default_for_null(cls, value: object) -> object:
        return default_home() if value is None else value

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
