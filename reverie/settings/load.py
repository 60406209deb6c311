"""Putting the settings together: defaults < YAML file < environment < command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from reverie.errors import ConfigError
from reverie.settings import keys, problems
from reverie.settings.credentials import left_out
from reverie.settings.layers import Layer, from_environment, from_overrides
from reverie.settings.schema import Settings, default_home
from reverie.settings.yaml_file import from_file

DEFAULT_ORIGIN = "default"
LOCAL_FILE = "reverie.yaml"
HOME_FILE = "config.yaml"


@dataclass(frozen=True)
class Loaded:
    """The effective settings and where each of them came from."""

    settings: Settings
    origins: dict[str, str]
    """By dotted key: ``default``, ``file PATH line N``, a variable's name, or an option's."""
    file: Path | None
    """The YAML file that was read, if any."""


def load_settings(
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
) -> Loaded:
    """Put the effective settings together.

    Args:
        file: The YAML file; otherwise ``REVERIE_CONFIG``, ``./reverie.yaml`` or ``config.yaml``
            under home, the first that is there.
        overrides: Values by dotted key (``{"model.name": "smollm2"}``) that win over all else.
            An :class:`~reverie.settings.Option` carries its own origin.
        env: The environment; by default the process's.

    Raises:
        ConfigError: a file, key or value is wrong. Names all that is wrong at once.
    """
    environment = os.environ if env is None else env
    variables = from_environment(environment)
    options = from_overrides(overrides or {})
    path = _chosen_file(file, environment, _home(variables, options))
    layers = [from_file(path) if path else Layer(), variables, options]

    values: dict[str, object] = {}
    origins = dict.fromkeys(keys.fields(), DEFAULT_ORIGIN)
    found = []
    sections = {key.partition(".")[0] for key in keys.fields()}
    for layer in layers:
        found += [problems.unknown_variable(name) for name in layer.unknown]
        for key, value in layer.values.items():
            if key in keys.fields() or key in sections:
                values[key] = value
                origins[key] = layer.origins[key]
            else:
                found.append(problems.unknown_key(key, layer.origins[key]))
    for key, server in left_out(layers).items():
        del values[key]
        origins[key] += f", left out: it is for {server}"
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        # "from None": the chained error would show values, secrets among them, in a traceback.
        raise problems.combined(found + problems.invalid_values(error, origins)) from None
    if found:
        raise problems.combined(found)
    return Loaded(settings, origins, path)


def _chosen_file(file: Path | None, environment: Mapping[str, str], home: Path) -> Path | None:
    if file is not None:
        return file.expanduser()
    named = environment.get(keys.CONFIG_VARIABLE, "").strip()
    if named:
        path = Path(named).expanduser()
        if not path.exists():
            raise ConfigError(
                f"the configuration file {path} ({keys.CONFIG_VARIABLE}) does not exist",
                hint=f"Correct or unset {keys.CONFIG_VARIABLE}.",
            )
        return path
    for path in (Path(LOCAL_FILE), home / HOME_FILE):
        # lexists: a dangling link or an unreadable file is worth an error, not silence.
        if os.path.lexists(path):
            return path
    return None


def _home(*layers: Layer) -> Path:
    """Home as far as it is known before the file, which may lie in it, is read."""
    given = [layer.values["home"] for layer in layers if layer.values.get("home")]
    try:
        return Path(str(given[-1])).expanduser() if given else default_home()
    except RuntimeError:  # ~nobody; reported when the value is validated
        return default_home()


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    sections: dict[str, dict[str, object]] = {}
    whole: dict[str, object] = {}
    for key in values:
        section, _, name = key.partition(".")
        if name:
            sections.setdefault(section, {})[name] = values[key]
        else:
            whole[section] = values[key]
    # A section given as something else than a mapping wins, to be reported.
    return {**sections, **whole}
