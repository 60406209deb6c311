"""Reading procedures from files: YAML or JSON, one file or all of a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from reverie.errors import ConfigError
from reverie.knowledge.sops.check import Between, Check
from reverie.knowledge.sops.sop import Sop, SopStep

if TYPE_CHECKING:
    import yaml

MOST_BYTES: Final = 256_000
"""Of one file."""
MOST_FILES: Final = 10_000
"""Of one folder."""

_ENDINGS: Final = (".yaml", ".yml", ".json")
_SHOWN: Final = 8
"""Problems that one error lists."""
_HINT: Final = "docs/sops.md shows a procedure with every field"


def read_sops(path: Path) -> list[Sop]:
    """The procedures in a file, which holds one or a list of them, or in a folder's YAML and JSON
    files, by name. Blocks.

    Raises ConfigError naming file, line or field: nothing there, no text, no YAML or JSON, too
    large, unknown keys, values that cannot be, and a name given twice.
    """
    paths = _files(path)
    found: dict[str, tuple[Sop, Path]] = {}
    problems: list[str] = []
    for one in paths:
        try:
            read = read_sop_text(_read(one), str(one), json_only=one.suffix == ".json")
        except ConfigError as error:
            problems.append(error.message)
            continue
        for sop in read:
            if sop.name in found:
                where = found[sop.name][1]
                also = f"in {where}" if where != one else "in the same file"
                problems.append(f"{one}: there is an SOP called {sop.name} {also} already")
            else:
                found[sop.name] = sop, one
    if problems:
        raise _combined(problems)
    return [sop for _, (sop, _) in sorted(found.items())]


def read_sop_text(text: str, where: str, *, json_only: bool = False) -> list[Sop]:
    """The procedures in ``text``; ``where`` is what errors call it. Raises ConfigError."""
    document, node = (_json(text, where), None) if json_only else _yaml(text, where)
    several = isinstance(document, list)
    documents: list[Any] = document if isinstance(document, list) else [document]
    if not documents or documents == [None]:
        raise ConfigError(f"{where}: it is empty", hint=_HINT)
    sops: list[Sop] = []
    problems: list[str] = []
    for place, one in enumerate(documents):
        before: tuple[str | int, ...] = (place,) if several else ()
        if not isinstance(one, Mapping):
            problems.append(
                f"{_at(where, node, before)}: an SOP is a mapping of fields, not "
                f"{'text' if isinstance(one, str) else type(one).__name__}"
            )
            continue
        try:
            sops.append(Sop.model_validate(one))
        except ValidationError as error:
            problems += _problems(error, where, node, before)
    if problems:
        raise _combined(problems)
    return sops


def packaged_sops() -> list[Sop]:
    """The procedures that come with Reverie, by name. Blocks."""
    folder = files("reverie.knowledge.sops").joinpath("packaged")
    read = (
        sop
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
        for sop in read_sop_text(file.read_text(encoding="utf-8"), file.name)
    )
    return sorted(read, key=lambda sop: sop.name)


# -- files ---------------------------------------------------------------------------------------


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in _ENDINGS and p.is_file())
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not found:
        raise ConfigError(f"{path} has no SOPs", hint=f"files of SOPs end in {', '.join(_ENDINGS)}")
    if len(found) > MOST_FILES:
        raise ConfigError(f"{path} has more than {MOST_FILES:,} files of SOPs")
    return found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path} cannot be read: {why}") from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path} is larger than {MOST_BYTES:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text (byte {error.start + 1})") from None


# -- formats -------------------------------------------------------------------------------------


def _json(text: str, where: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for key, value in pairs:
            if key in known:
                raise ValueError(f"the key {key!r} is given twice")
            known[key] = value
        return known

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} line {error.lineno}: {error.msg}", hint=_HINT) from None
    except RecursionError:
        raise ConfigError(f"{where}: it is nested too deeply", hint=_HINT) from None
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", hint=_HINT) from None


def _yaml(text: str, where: str) -> tuple[Any, yaml.Node | None]:
    """The document, and the nodes that know their lines."""
    import yaml

    try:
        loader = _loader()(text)  # the reader checks the characters already here
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where} line {line}: the character U+{ord(text[error.position]):04X} is not allowed",
            hint=_HINT,
        ) from None
    try:
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_said = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{where}{line_said}: {error.problem or error.context}", hint=_HINT
        ) from None
    except (ValueError, RecursionError) as error:  # an impossible date; nested without end
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{where}: {why}", hint=_HINT) from None
    finally:
        loader.dispose()


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader without aliases, which can make a short text a long one, and without keys
        that are given twice.
        """

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types there
                raise yaml.composer.ComposerError(
                    None, None, "aliases (*name) are not taken: write it out", event.start_mark
                )
            return super().compose_node(parent, index)

        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                name = str(key.value)
                if name in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {name!r} is given twice", key.start_mark
                    )
                seen.add(name)
            return super().construct_mapping(node, deep)

    return Loader


# -- what is wrong -------------------------------------------------------------------------------

_RULES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "string_type": "must be text (in YAML, put it in quotes)",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of fields",
    "bool_type": "must be true",
}


def _problems(
    error: ValidationError, where: str, node: yaml.Node | None, before: tuple[str | int, ...]
) -> list[str]:
    said: dict[str, None] = {}
    for detail in error.errors(include_url=False, include_context=False):
        path = detail["loc"]
        place = _at(where, node, (*before, *path))
        field = _written(path)
        if detail["type"] == "extra_forbidden":
            rule = f"there is no field {field!r}{_did_you_mean(path)}"
        elif detail["type"] == "string_pattern_mismatch":
            rule = f"{field} must be small letters, digits, _ and -, beginning with a letter"
        elif detail["type"] == "value_error":
            message = detail["msg"].removeprefix("Value error, ")
            rule = f"{field}: {message}" if field else message
        else:
            message = re.sub(r"^\w+ should", "must", detail["msg"])
            rule = f"{field} {_RULES.get(detail['type'], message)}"
        said[f"{place}: {rule}"] = None
    return list(said)


def _did_you_mean(path: tuple[str | int, ...]) -> str:
    fields = list(_model_at(path).model_fields)
    near = get_close_matches(str(path[-1]), fields, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f"; there are {', '.join(fields)}"


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    """What has fields at the place that the path's last part stands in."""
    if "number" in path[:-1]:
        return Between
    if any(part in path[:-1] for part in ("condition", "check", "preconditions")):
        return Check
    return SopStep if "steps" in path[:-1] else Sop


def _written(path: Iterable[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _at(where: str, node: yaml.Node | None, path: tuple[str | int, ...]) -> str:
    """File and, as far as nodes know it, line."""
    line = None if node is None else _line(node, path)
    return where if line is None else f"{where} line {line}"


def _line(node: yaml.Node, path: tuple[str | int, ...]) -> int:
    import yaml

    line = node.start_mark.line
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if str(k.value) == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line
        # A single check stands for a list of one: its position is not in the file.
    return int(line) + 1


def _combined(problems: list[str]) -> ConfigError:
    shown = "; ".join(problems[:_SHOWN])
    more = len(problems) - _SHOWN
    return ConfigError(f"{shown}; and {more} more" if more > 0 else shown, hint=_HINT)
