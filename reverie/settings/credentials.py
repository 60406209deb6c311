"""Whose a key is: what was configured for one server is never sent to another.

A key or header belongs to the server that the settings name where it is written, or before: in a
file, the file's ``model.name``; in a variable, that of the variable or else of the file. When
something that wins over it, such as ``--model``, names another server, it is left out. One that was
written while the settings named no server belongs to whichever is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from reverie.settings.layers import Layer
from reverie.settings.schema import Settings
from reverie.settings.values import PRESETS

_DEFAULT_PORTS = {"http": 80, "https": 443}


def server_of(name: str) -> str:
    """The server that a model's name speaks of, without path and model; empty when it has none."""
    if name.startswith(("http://", "https://")):
        try:
            parts = urlsplit(name)
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
        except ValueError:  # an impossible port; reported when the name is validated
            return ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}:{port}"
    preset = name.partition(":")[0].lower()
    return preset if preset in PRESETS else ""


def left_out(layers: Sequence[Layer]) -> dict[str, str]:
    """The keys, by dotted name, that are for another server than the one that is asked in the end;
    each with the server that it is for. ``layers`` come in the order in which they win.
    """
    found: dict[str, str] = {}
    for section in ("model", "embedder", "preview"):
        asked = server_of(_name(section, layers))
        for key in (f"{section}.api_key", f"{section}.headers"):
            written = [place for place, layer in enumerate(layers) if layer.values.get(key)]
            if not written:
                continue
            owner = server_of(_name(section, layers[: written[-1] + 1]))
            if owner and owner != asked:
                found[key] = owner
    return found


def _name(section: str, layers: Sequence[Layer]) -> str:
    given = [layer.values.get(f"{section}.name") for layer in layers]
    names = [name for name in given if isinstance(name, str)]
    return names[-1] if names else str(getattr(Settings.model_fields[section].default, "name", ""))
