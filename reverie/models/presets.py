"""What is known of model servers before they are asked; the facts are in ``presets.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from reverie.models.profile import ModelProfile

_Fields = Mapping[str, Any]
"""Fields of a ModelProfile."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mark(_Data):
    """A path of a server (``//`` begins at its root) and a key of the JSON object it answers."""

    path: str
    key: str


class Marks(_Data):
    """By what a server is recognised. Any one of them suffices."""

    hosts: tuple[str, ...] = ()
    owned_by: tuple[str, ...] = ()
    """As /models says it of each model."""
    paths: tuple[Mark, ...] = ()


class Note(_Data):
    """Something to know about a server, and where that is written."""

    text: str
    source: str


class ModelRule(_Data):
    """What is known of the models whose name ``pattern`` is found in."""

    pattern: str
    profile: dict[str, Any]

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        re.compile(pattern)
        return pattern

    @field_validator("profile")
    @classmethod
    def _fits(cls, profile: dict[str, Any]) -> dict[str, Any]:
        return _checked(profile)


class Preset(_Data):
    """One kind of server."""

    name: str
    title: str
    address: str
    """Where it listens unless it is told otherwise."""
    needs_key: bool = False
    recognise: Marks = Marks()
    version: Mark | None = None
    profile: dict[str, Any] = Field(default_factory=dict)
    models: tuple[ModelRule, ...] = ()
    notes: tuple[Note, ...] = ()

    @field_validator("profile")
    @classmethod
    def _fits(cls, profile: dict[str, Any]) -> dict[str, Any]:
        return _checked(profile)

    def profile_for(self, model: str) -> ModelProfile:
        """What may be assumed of ``model`` on such a server."""
        rule = next((r for r in self.models if re.search(r.pattern, model)), None)
        fields = {**self.profile, **(rule.profile if rule else {})}
        return ModelProfile(name=model, **fields)


def presets() -> tuple[Preset, ...]:
    """All of them."""
    return _PRESETS


def find_preset(name: str) -> Preset | None:
    """The preset of that name, as in ``ollama``."""
    return next((preset for preset in presets() if preset.name == name.lower()), None)


def split_preset(name: str) -> tuple[Preset, str] | None:
    """``ollama:qwen3:8b`` as the preset and the model; None when no preset is named.

    The model is empty when only the preset is named.
    """
    head, _, model = name.partition(":")
    preset = find_preset(head)
    return (preset, model) if preset else None


def recognise(
    models: Any = None, answers: Mapping[str, Any] | None = None, *, address: str = ""
) -> Preset | None:
    """Whose server it is: by its host, the document of /models, or what its own paths answered.

    ``answers`` are the JSON documents of the paths that answered at all; ``paths_to_ask`` names
    those that are of use.
    """
    host = urlsplit(address).hostname or ""
    owners = _owners(models)
    for preset in presets():
        if host in preset.recognise.hosts or owners & set(preset.recognise.owned_by):
            return preset
    for preset in presets():
        if any(_answers(mark, answers or {}) for mark in preset.recognise.paths):
            return preset
    return None


def paths_to_ask() -> tuple[str, ...]:
    """The paths by whose answers ``recognise`` tells servers apart."""
    return tuple(dict.fromkeys(m.path for p in presets() for m in p.recognise.paths))


def starting_profile(model: str, preset: Preset | None) -> ModelProfile:
    """What a server that was never probed may be taken for: its preset, or the cautious default."""
    return preset.profile_for(model) if preset else ModelProfile(name=model)


def _checked(profile: dict[str, Any]) -> dict[str, Any]:
    ModelProfile.model_validate({"name": "any", **profile})
    return profile


def _owners(models: Any) -> set[str]:
    listed = models.get("data") if isinstance(models, Mapping) else None
    entries = listed if isinstance(listed, list) else []
    return {str(entry.get("owned_by")) for entry in entries if isinstance(entry, Mapping)}


def _answers(mark: Mark, answers: Mapping[str, Any]) -> bool:
    answer = answers.get(mark.path)
    return isinstance(answer, Mapping) and mark.key in answer


def _read() -> tuple[Preset, ...]:
    document = yaml.safe_load(files("reverie.models").joinpath("presets.yaml").read_text("utf-8"))
    return tuple(Preset(name=name, **fields) for name, fields in document.items())


# When the module is imported: an event loop must not wait for a file.
_PRESETS = _read()
