"""The kinds of values that settings have: names of models, folders, headers, bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

ExpertName = Literal["spatial", "temporal", "causal", "abstract"]
DType = Literal["auto", "bfloat16", "float32"]
Device = Literal["cpu", "cuda"]
VllmDType = Literal["auto", "bfloat16", "float16", "float32"]

PRESETS = ("ollama", "llamacpp", "sglang", "lmstudio", "vllm", "openai")
"""What a model's name may begin with instead of an address, as in ``ollama:qwen3``."""

# Bounds on amounts: larger ones are typing mistakes, and would overflow timers and SQLite's
# 64-bit integers far from the place where they were set.
MOST_TOKENS = 1_000_000_000
MOST_SECONDS = 604_800.0  # one week


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
    if address.query:  # where keys hide, too
        raise ValueError("must not hold a query (what follows a question mark)")
    return name


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must not name anything twice")
    return values


def patterns(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"holds no valid regular expression: {error}") from error
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


def _server(address: str, schemes: tuple[str, ...], example: str) -> str:
    try:
        parts = urlsplit(address)
        named = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"is not a valid address: {error}") from error
    if not named:
        raise ValueError(f"must be the address of a server, as in {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password; they have settings of their own")
    return address


def _http(address: str) -> str:
    return _server(address, ("http", "https"), "http://127.0.0.1:8000").rstrip("/")


def _neo4j(address: str) -> str:
    schemes = tuple(scheme + tls for scheme in ("neo4j", "bolt") for tls in ("", "+s", "+ssc"))
    return _server(address, schemes, "neo4j://127.0.0.1:7687")


def _headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("must have names of letters, digits and hyphens")
        if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
            raise ValueError(f"must hold printable ASCII characters only; {name} holds others")
    return headers


def _key(key: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(key.get_secret_value()):
        raise ValueError("must hold printable ASCII characters only, and no spaces")
    return key


# RFC 9110, sections 5.1 and 5.5. Anything else fails late, or smuggles a header in.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?|")
_KEY = re.compile(r"[!-~]*")

ModelName = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_model_name)]
Folder = Annotated[Path, BeforeValidator(_path_text), AfterValidator(_absolute)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Key = Annotated[SecretStr, AfterValidator(_key)]
Headers = Annotated[dict[str, SecretStr], AfterValidator(_headers)]
Proxy = Annotated[str, AfterValidator(_proxy)]
ServerAddress = Annotated[str, AfterValidator(_http)]
Neo4jAddress = Annotated[str, AfterValidator(_neo4j)]
