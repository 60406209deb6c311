"""From the settings of a backend to a chat model on its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reverie.errors import ConfigError, ModelRejected
from reverie.models.presets import find_preset, presets, split_preset
from reverie.models.profiles import normalised
from reverie.models.wire.endpoint import plain_address

if TYPE_CHECKING:
    from pydantic import SecretStr

    from reverie.models.chat import ServedChatModel
    from reverie.models.embedded.checkpoint import Report
    from reverie.models.presets import Preset
    from reverie.models.wire.endpoint import Endpoint
    from reverie.settings import BackendSettings, Settings


def served_place(name: str) -> tuple[str, str, Preset | None]:
    """Address, model (empty: the server's first) and preset of ``http://HOST/v1``,
    ``http://HOST/v1#MODEL``, ``PRESET`` or ``PRESET:MODEL``.

    Raises ConfigError for any other name.
    """
    if name.startswith(("http://", "https://")):
        address, _, model = name.partition("#")
        return plain_address(address), model, None
    found = split_preset(name)
    if found is None:
        raise ConfigError(
            f"{name!r} is neither the address of a server nor one of the known servers",
            hint=f"known servers: {', '.join(preset.name for preset in presets())}",
        )
    preset, model = found
    return normalised(preset.address), model, preset


def is_served(name: str) -> bool:
    """Whether a model's name stands for a server."""
    if name.startswith(("http://", "https://")):
        return True
    head, colon, _ = name.partition(":")
    return bool(colon or "/" not in name) and find_preset(head) is not None


def endpoint_of(backend: BackendSettings, settings: Settings) -> Endpoint:
    """How the server of ``backend`` is reached."""
    from reverie.models.wire.endpoint import Endpoint

    address, _, preset = served_place(backend.name)
    key = _secret(backend.api_key)
    _require_key(preset, key)
    patience = settings.server
    return Endpoint(
        address=address,
        key=key,
        headers={name: value.get_secret_value() for name, value in backend.headers.items()},
        ca_bundle=backend.ca_bundle,
        proxy=_secret(backend.proxy),
        connect_seconds=patience.connect_seconds,
        idle_seconds=patience.idle_seconds,
        deadline_seconds=patience.deadline_seconds,
        retries=patience.retries,
        connections=patience.connections,
    )


def served_chat_model(
    backend: BackendSettings, settings: Settings, report: Report | None = None
) -> ServedChatModel:
    """The chat model of ``backend``, whose server has been asked what it serves. Blocks.

    Raises ModelUnavailable when the server does not answer, ModelRejected when it refuses or wants
    a key that is not set.
    """
    from reverie.models.chat import ServedChatModel
    from reverie.models.embedded.checkpoint import Phase

    endpoint, (address, name, _) = endpoint_of(backend, settings), served_place(backend.name)
    if report is not None:
        report(Phase(f"Asking {address} what it serves"))
    model = ServedChatModel(
        address=address,
        model=name,
        api_key=backend.api_key,
        headers=backend.headers,
        ca_bundle=endpoint.ca_bundle,
        proxy=endpoint.proxy or None,
        home=settings.home,
        window=backend.window,
        timeout=endpoint.deadline_seconds,
        idle_timeout=endpoint.idle_seconds,
        connect_timeout=endpoint.connect_seconds,
        max_retries=endpoint.retries,
        max_connections=endpoint.connections,
    )
    try:
        model.run_blocking(model.prepare())
    except BaseException:
        model.close()
        raise
    return model


def _require_key(preset: Preset | None, key: str) -> None:
    if preset is not None and preset.needs_key and not key:
        raise ModelRejected(
            f"{preset.title} wants a key, and none is set",
            hint="set model.api_key or REVERIE_MODEL_API_KEY (for a backend, its api_key); an "
            "ambient OPENAI_API_KEY is never used",
        )


def _secret(value: SecretStr | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else value.get_secret_value()
