"""From a model's name in the settings to a chat model."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from reverie.errors import ConfigError
from reverie.models.embedded.checkpoint import Phase, Report, prepare, require_local
from reverie.models.served import is_served
from reverie.settings import BackendSettings
from reverie.settings.credentials import server_of

if TYPE_CHECKING:
    from reverie.models.backend import PassedOver
    from reverie.models.chat_model import ChatModel
    from reverie.models.embedded.engine import Engine
    from reverie.settings import Settings

PACKAGED = "smollm2"

# Two reasoners of one process share an engine, and so a batch, not two copies of the weights.
_engines: WeakValueDictionary[tuple[object, ...], Engine] = WeakValueDictionary()
_loading = threading.Lock()


def load_chat_model(
    name: str, settings: Settings, report: Report | None = None, *, preview: bool | None = None
) -> ChatModel:
    """The chat model called ``name``, with what stands behind it: the preview backend first, then
    the model, then ``settings.backends`` in order. Blocks.

    ``preview`` says whether to ask the preview backend; None: as
    ``runtime.enable_gpt51_codex_preview`` says. Without ``preview.api_key`` it is never asked; when
    ``preview`` is True, every reply says so. A model with nothing behind it is loaded at once;
    otherwise each is loaded when it is needed.

    Raises ConfigError for a name that is no model, ModelUnavailable when the model cannot be
    fetched, loaded or reached, ModelRejected when its server refuses.
    """
    chain = chain_of(name, settings, preview=preview)
    for backend in chain:
        _require_known(backend.name)
    absent: tuple[PassedOver, ...] = ()
    if preview and not _key_of(_preview(settings)):
        why = "preview.api_key is not set (REVERIE_PREVIEW_API_KEY)"
        absent = ({"name": settings.preview.name, "why": why},)
    if len(chain) == 1 and not absent:
        return load_backend(chain[0], settings, report)

    from reverie.models.backend import Backend
    from reverie.models.circuit import CircuitBreaker
    from reverie.models.fallback import FallbackChatModel

    patience = settings.server
    backends = tuple(
        Backend(
            backend.name,
            functools.partial(load_backend, backend, settings, report),
            CircuitBreaker(failures=patience.failures, cooldown_seconds=patience.cooldown_seconds),
        )
        for backend in chain
    )
    return FallbackChatModel(backends=backends, absent=absent)


def load_backend(
    backend: BackendSettings, settings: Settings, report: Report | None = None
) -> ChatModel:
    """One model by itself: the packaged one, a folder, or a server's. Blocks.

    Raises as ``load_chat_model`` does.
    """
    if is_served(backend.name):
        from reverie.models.served import served_chat_model

        return served_chat_model(backend, settings, report)
    return _embedded(backend, settings, report)


def chain_of(
    name: str, settings: Settings, *, preview: bool | None = None
) -> tuple[BackendSettings, ...]:
    """The backends that ``load_chat_model`` asks, in order, each name once."""
    wanted = settings.runtime.enable_gpt51_codex_preview if preview is None else preview
    hosted = _preview(settings)
    chain = [hosted] if wanted and _key_of(hosted) else []
    chain += [_asked(name, settings), *settings.backends]
    first = {backend.name: backend for backend in reversed(chain)}
    return tuple(first[each] for each in dict.fromkeys(backend.name for backend in chain))


def _preview(settings: Settings) -> BackendSettings:
    return BackendSettings(name=settings.preview.name, api_key=settings.preview.api_key)


def _key_of(backend: BackendSettings) -> str:
    return backend.api_key.get_secret_value() if backend.api_key else ""


def _asked(name: str, settings: Settings) -> BackendSettings:
    """How the model called ``name`` is reached. Keys and headers go to the server that they were
    configured for, and to no other.
    """
    model = settings.model
    own = model.model_copy(update={"name": name})
    server = server_of(name)
    if name == model.name or (server and server == server_of(model.name)):
        known = [own]
    else:
        own = own.model_copy(update={"api_key": None, "headers": {}})
        known = []
    for other in (*known, *settings.backends):
        if server and server_of(other.name) == server and (_key_of(other) or other.headers):
            return own.model_copy(update={"api_key": other.api_key, "headers": other.headers})
    return own


def _embedded(backend: BackendSettings, settings: Settings, report: Report | None) -> ChatModel:
    folder = _folder(backend.name, settings, report)
    from reverie.models.embedded.chat import EmbeddedChatModel
    from reverie.models.embedded.engine import Engine, EngineOptions

    options = EngineOptions(
        threads=settings.model.threads,
        dtype=settings.model.dtype,
        max_batch=settings.model.max_batch,
        window=backend.window,
        device=settings.model.device,
    )
    key = (folder, options)
    with _loading:
        engine = _engines.get(key)
        if engine is None or engine.closed:
            if report is not None:
                report(Phase(f"Loading the model {backend.name}"))
            engine = _engines[key] = Engine.load(folder, options)
    return EmbeddedChatModel(engine=engine, model_name=backend.name)


def _folder(name: str, settings: Settings, report: Report | None) -> Path:
    if name == PACKAGED:
        return prepare(settings.models_folder, report)
    _require_known(name)
    require_local()
    return Path(name).expanduser().resolve()


def _require_known(name: str) -> None:
    """Raise ConfigError unless ``name`` is a model. Whether a server has it, the server says."""
    if name != PACKAGED and not is_served(name) and not Path(name).expanduser().is_dir():
        raise ConfigError(
            f"there is no model called {name!r}",
            hint=f"use {PACKAGED}, a folder with config.json, safetensors and tokenizer.json, a "
            "server's address (http://HOST:PORT/v1), or PRESET:MODEL as in ollama:qwen3",
        )
