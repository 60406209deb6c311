"""The JSON schema that ``--schema`` names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reverie.errors import ConfigError


def read_schema(path: Path) -> dict[str, Any]:
    """The schema in the file. Raises ConfigError for one that cannot be read or used."""
    from reverie.graphs.schema import require_schema

    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"--schema {path} cannot be read: {error.strerror}", hint="name a file with JSON"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"--schema {path} is no JSON: {error}", hint='as in {"type": "object", ...}'
        ) from error
    if not isinstance(schema, dict):
        raise ConfigError(
            f"--schema {path} holds no JSON object", hint='a schema is one: {"type": "object", ...}'
        )
    require_schema(schema)
    return schema
