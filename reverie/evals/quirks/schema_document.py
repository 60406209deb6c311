"""A small document that obeys a JSON schema."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from reverie.evals.quirks.pattern import matching

_DEEP = 6
"""Beyond this depth, only what is required is made, so that recursive schemas end."""


def document(
    schema: Mapping[str, Any],
    rng: random.Random,
    word: Callable[[random.Random], str],
    *,
    patterns: bool = True,
) -> Any:
    """Made up with ``rng``; strings without further rules are of ``word``'s.

    ``patterns=False``: patterns of strings are overlooked.
    """
    return _Maker(schema, rng, word, patterns=patterns).make(schema, 0)


class _Maker:
    def __init__(
        self,
        root: Mapping[str, Any],
        rng: random.Random,
        word: Callable[[random.Random], str],
        *,
        patterns: bool,
    ) -> None:
        self.root = root
        self.rng = rng
        self.word = word
        self.patterns = patterns

    def make(self, schema: Any, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.rng.choice(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                # Deep down the null, if there is one: the way out of a recursive schema.
                options = [self._resolved(option) for option in schema[key]]
                nulls = [option for option in options if option.get("type") == "null"]
                others = [option for option in options if option.get("type") != "null"]
                return self.make((nulls or others if depth > _DEEP else others or nulls)[0], depth)
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        makers: dict[str, Callable[[Mapping[str, Any], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda *_: self.rng.random() < 0.5,
            "null": lambda *_: None,
        }
        return makers[kind](schema, depth)

    def _resolved(self, given: Any) -> Mapping[str, Any]:
        """Without references, and with what ``allOf`` adds."""
        if not isinstance(given, Mapping):  # true: anything
            return {"type": "string"}
        schema: dict[str, Any] = dict(given)
        while "$ref" in schema:
            found: Any = self.root
            for name in schema["$ref"].removeprefix("#").strip("/").split("/"):
                found = found[name] if name else found
            schema = {**found, **{k: v for k, v in schema.items() if k != "$ref"}}
        for part in schema.get("allOf", ()):
            part = self._resolved(part)  # noqa: PLW2901  # the same part, read
            both = {**schema.get("properties", {}), **part.get("properties", {})}
            required = [*schema.get("required", ()), *part.get("required", ())]
            schema = {**part, **schema}
            if both:
                schema |= {"properties": both, "required": required}
        return schema

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        names = [name for name in properties if depth <= _DEEP or name in required]
        names += [name for name in required if name not in properties]
        return {name: self.make(properties.get(name, {}), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        wanted = least if depth > _DEEP else max(least, self.rng.randint(1, 2))
        count = min(wanted, schema.get("maxItems", wanted))
        first = [self.make(item, depth + 1) for item in schema.get("prefixItems", ())]
        rest = schema.get("items", {})
        return first + [self.make(rest, depth + 1) for _ in range(count - len(first))]

    def _string(self, schema: Mapping[str, Any], depth: int) -> str:
        if self.patterns and "pattern" in schema:
            return matching(schema["pattern"], self.rng)
        text = self.word(self.rng)
        while len(text) < schema.get("minLength", 0):
            text += " " + self.word(self.rng)
        return text[: schema.get("maxLength")]

    def _integer(self, schema: Mapping[str, Any], depth: int) -> int:
        least, most = self._bounds(schema, 1)
        step = schema.get("multipleOf", 1)
        return int(self.rng.randint(math.ceil(least / step), math.floor(most / step)) * step)

    def _number(self, schema: Mapping[str, Any], depth: int) -> float:
        least, most = self._bounds(schema, 0.001)
        if "multipleOf" in schema:
            step = schema["multipleOf"]
            return float(math.ceil(least / step) * step)
        # Two decimals, unless they would leave the bounds.
        exact = self.rng.uniform(least, most)
        short = round(exact, 2)
        return short if least <= short <= most else exact

    @staticmethod
    def _bounds(schema: Mapping[str, Any], open_by: float) -> tuple[float, float]:
        """Least and largest, each at a distance of ``open_by`` from an exclusive bound."""
        least = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
        most = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
        least += open_by if "exclusiveMinimum" in schema else 0
        most -= open_by if "exclusiveMaximum" in schema else 0
        if math.isinf(least):
            least = 0 if most >= 0 else most - 100
        return least, least + 100 if math.isinf(most) else most
