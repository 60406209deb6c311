"""JSON schemas that an answer may be asked to obey."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reverie.errors import ConfigError

_DATA = frozenset({"const", "default", "enum", "examples"})
"""Keywords whose values are documents, not schemas."""


def require_schema(schema: Mapping[str, Any]) -> None:
    """Raise ConfigError unless ``schema`` is a JSON schema of draft 2020-12 that stands by itself.

    A reference has to lead to its own parts: nothing is fetched from anywhere.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        plain = json.loads(json.dumps(schema, allow_nan=False))
        Draft202012Validator.check_schema(plain)
        wrong = next((ref for ref in _references(plain) if not _leads_somewhere(ref, plain)), None)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "the schema"
        raise _unusable(f"{where}: {error.message[:200]}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise _unusable(f"it is no JSON document: {error}") from error
    if wrong is not None:
        raise _unusable(f"{wrong!r} does not lead to a part of it")


def check_document(document: Any, schema: Mapping[str, Any]) -> None:
    """Raise ValueError that says where ``document`` does not obey ``schema``, formats such as
    ``date`` included.
    """
    from jsonschema import Draft202012Validator, FormatChecker
    from referencing import Registry

    from reverie.models.structured import obeying

    obeying(document, schema)
    # Once more for the formats; an empty registry, so that nothing is fetched.
    registry: Registry[Any] = Registry()
    validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
    for error in validator.iter_errors(document):
        if error.validator == "format":
            where = "/".join(map(str, error.absolute_path)) or "the document"
            raise ValueError(f"{where}: {error.message[:300]}")


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in {"$ref", "$dynamicRef"} and isinstance(value, str):
                yield value
            elif name not in _DATA:
                yield from _references(value)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def _leads_somewhere(reference: str, schema: Mapping[str, Any]) -> bool:
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    base = resource.id() or ""
    registry: Registry[Any] = Registry().with_resource(base, resource)
    try:
        registry.resolver(base).lookup(reference)
    except (Unresolvable, LookupError, ValueError):
        return False
    return True


def _unusable(why: str) -> ConfigError:
    return ConfigError(
        f"the schema of the answer cannot be used: {why}",
        hint="give a JSON schema of draft 2020-12 in which every $ref leads to its own parts",
    )
