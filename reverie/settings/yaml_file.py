"""Reading the YAML file, with the line of every key."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path

import yaml

from reverie.errors import ConfigError
from reverie.settings.layers import Layer

MOST_BYTES = 1_000_000
_HINT = "configs/reverie.yaml in the repository shows every key with its default."


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice; YAML forbids it, PyYAML keeps the last."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def from_file(path: Path) -> Layer:
    """Read a YAML file of settings.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8 text, not YAML or not a mapping.
    """
    text = _read(path)
    loader = _Loader("")
    try:
        loader = _Loader(text)  # the reader checks the characters already here
        node = loader.get_single_node()
        content = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"file {path}{where}: {error.problem or error.context}", hint=_HINT
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"file {path} line {line}: the character U+{ord(text[error.position]):04X} is not"
            " allowed",
            hint="Is this a text file? " + _HINT,
        ) from None
    except (ValueError, RecursionError) as error:  # an impossible date; nested without end
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"file {path}: {problem}", hint=_HINT) from None
    finally:
        loader.dispose()
    if content is None:
        return Layer()
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"file {path}: must be a mapping of keys, not a {type(content).__name__}", hint=_HINT
        )
    return _layer(path, node, content)


def _layer(path: Path, node: yaml.Node | None, content: Mapping[object, object]) -> Layer:
    layer = Layer()
    for key, value in content.items():
        layer.add(str(key), value, f"file {path}")
    lines = _lines(node)
    for key in layer.origins:
        line = lines.get(key) or lines.get(key.partition(".")[0])
        if line:  # a key that a merge (<<) brought in has none
            layer.origins[key] += f" line {line}"
    return layer


def _lines(node: yaml.Node | None) -> dict[str, int]:
    """The line of every key of the first two levels, by dotted key."""
    lines: dict[str, int] = {}
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    for key, value in pairs:
        name = str(key.value)
        lines[name] = key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            for inner, _ in value.value:
                lines[f"{name}.{inner.value}"] = inner.start_mark.line + 1
    return lines


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"the configuration file {path} does not exist",
            hint="Check the path, or leave it out to use the defaults.",
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path} is a folder, not a configuration file", hint="Name a YAML file in it."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(
            f"the configuration file {path} cannot be read: {why}",
            hint="Check its permissions, or name another file with --config or REVERIE_CONFIG.",
        ) from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(
            f"file {path}: larger than {MOST_BYTES:,} bytes", hint="Is this a settings file?"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"file {path}: not UTF-8 text (byte {error.start + 1})",
            hint="Save it as UTF-8 text. " + _HINT,
        ) from None
