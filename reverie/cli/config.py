"""``reverie config``: the effective settings and where each came from."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from reverie.settings import Loaded


def config(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print the effective settings and where each of them came from.

    Defaults < YAML file < environment (REVERIE_...) < command line.

    Example: REVERIE_BUDGET_TOKENS=4000 reverie config
    """
    from reverie.settings import load_settings

    loaded = load_settings(file)
    values = _values(loaded)
    if as_json:
        print(json.dumps(_document(loaded, values), indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _print_table(loaded, values)
    else:
        _print_text(loaded, values)


def _values(loaded: Loaded) -> dict[str, object]:
    """The values by dotted key, as JSON; pydantic masks secrets."""
    sections = loaded.settings.model_dump(mode="json")
    values: dict[str, object] = {}
    for key in loaded.origins:
        section, _, name = key.partition(".")
        values[key] = sections[section][name] if name else sections[section]
    return values


def _document(loaded: Loaded, values: dict[str, object]) -> dict[str, object]:
    return {
        "file": str(loaded.file) if loaded.file else None,
        "settings": {
            key: {"value": value, "origin": loaded.origins[key]} for key, value in values.items()
        },
    }


def _text(value: object) -> str:
    """A value in one line. Secrets are masked already."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return ", ".join(_backend(v) if isinstance(v, dict) else str(v) for v in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {inner}" for name, inner in value.items()) or "none"
    return str(value)


def _backend(backend: dict[str, object]) -> str:
    """A backend's name, with what else is set of it in parentheses."""
    more = [f"{key} {_text(v)}" for key, v in backend.items() if key != "name" and v]
    return f"{backend['name']} ({', '.join(more)})" if more else str(backend["name"])


def _print_table(loaded: Loaded, values: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("key", "value", "origin", box=None, header_style="bold", pad_edge=False)
    for key, value in values.items():
        origin = loaded.origins[key]
        style = "dim" if origin == "default" else "green"
        table.add_row(Text(key), Text(_text(value)), Text(origin, style))
    Console().print(table)


def _print_text(loaded: Loaded, values: dict[str, object]) -> None:
    rows = [(key, _text(value), loaded.origins[key]) for key, value in values.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, origin in rows:
        print(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}")
